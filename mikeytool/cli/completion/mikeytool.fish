# Completion of mikeytool for fish 3.1 or later:
#   mikeytool completion fish | source

function __mikeytool_complete
    set -l line (commandline --cut-at-cursor --tokenize --current-process)
    set -l current (commandline --cut-at-cursor --current-token)
    set -l path (string replace --all --regex '^[\'"]|\\\\(?=.)' '' -- "$current")
    for found in (_MIKEYTOOL_COMPLETE=fish $line "$current" 2>/dev/null)
        set -l part (string split --max 2 \t -- $found)
        switch $part[1]
            case word
                printf '%s\t%s\n' $part[2] $part[3]
            case file
                __fish_complete_path "$path"
            case dir
                __fish_complete_directories "$path"
        end
    end
end

complete --command mikeytool --no-files --keep-order --arguments '(__mikeytool_complete)'
