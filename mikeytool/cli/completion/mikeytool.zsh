#compdef mikeytool
# Completion of mikeytool for zsh, after compinit:
#   eval "$(mikeytool completion zsh)"
# or a file _mikeytool in a folder of $fpath.

_mikeytool() {
    local kind word about tab=$'\t'
    local -a whole begun
    local -a line=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    line[1]=${~words[1]}
    while IFS=$tab read -r kind word about; do
        case $kind in
            word)
                about=${word//:/\\:}${about:+:$about}
                if [[ $word == *[=:/,] ]]; then begun+=("$about"); else whole+=("$about"); fi
                ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done <<< "$(_MIKEYTOOL_COMPLETE=zsh "${line[@]}" 2>/dev/null)"
    _describe -V mikeytool whole -- begun -S ''
}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _mikeytool "$@"
else
    compdef _mikeytool mikeytool
fi
