# Completion of mikeytool for bash 4.4 or later:
#   eval "$(mikeytool completion bash)"

_mikeytool() {
    local kind word about line=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=()
    while IFS=$'\t' read -r kind word about; do
        case $kind in
            word)
                [[ $word == *[[:space:]]* ]] && printf -v word %q "$word"
                COMPREPLY+=("$word")
                ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done <<< "$(_MIKEYTOOL_COMPLETE=bash "${1/#\~/$HOME}" "$line" "$COMP_WORDBREAKS" 2>/dev/null)"
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:/,] ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F _mikeytool mikeytool
