# Completion of nanda in fish. Made by `nanda completion fish`; to use it in each new shell:
#     nanda completion fish > ~/.config/fish/completions/nanda.fish
set -g __nanda_table '@TABLE@'

function __nanda_add -a context word before # print the words of a context, each after $before
    for row in (string match -- "$context"\t'*' (string split \n -- $__nanda_table))
        set -l columns (string split \t -- $row)
        test "$columns[1]" = "$context"; or continue
        set -g __nanda_found 1
        switch $columns[2]
            case :general
                __nanda_add '*' $word $before
            case :none
            case :paths
                for path in $word*
                    test -d $path; and set path $path/
                    string match -q -- '-*' $word; or printf '%s%s\n' $before $path
                end
            case '-*'
                string match -q -- '-*' $word; and printf '%s%s\t%s\n' $before $columns[2] $columns[3]
            case '*'
                printf '%s%s\t%s\n' $before $columns[2] $columns[3]
        end
    end
end

function __nanda
    set -l rows (string split \n -- $__nanda_table)
    set -l line (commandline -cp | string replace -r '^\s*\S+\s+' '')
    set -l typed (commandline -ct | string replace -r '^["\']' '')
    set -l word (string match -r '\S*$' -- $typed)
    # A path within quotes may have spaces; a line within quotes has several words.
    set -l first (string match -r '^\S*' -- $typed)
    if test "$first" != "$typed"; and not string match -q -- line\t$first\t'*' $rows
        set word $typed
    end
    set -l before (string sub -l (math (string length -- "$line") - (string length -- "$word")) -- "$line")
    set -l key line
    set -l second
    set -l previous
    for each in (string match -ra '[^\s"\']+' -- $before)
        switch $key:$each
            case 'line:/*' line:mcp line:completion
                set key $each
            case 'line:*' '*:-*'
            case '*'
                set -q second[1]; or set second $each
        end
        test "$previous:$each" = save:to; and set each -o
        set previous $each
    end
    set -q second[1]; and string match -q -- "$key $second"\t'*' $rows; and set key "$key $second"
    set -l kept (string sub -l (math (string length -- "$typed") - (string length -- "$word")) -- "$typed")
    if string match -q -- '--*=*' $word
        set previous (string split -m 1 = -- $word)[1]
        set kept $kept$previous=
        set word (string split -m 1 = -- $word)[2]
    end
    test "$previous" = -o; and set key -o
    set -g __nanda_found
    if string match -q -- '--*' $previous
        __nanda_add "$key $previous" "$word" "$kept"
        set -q __nanda_found[1]; or __nanda_add "* $previous" "$word" "$kept"
    end
    set -q __nanda_found[1]; or __nanda_add $key "$word" "$kept"
end

complete -c nanda -f -a '(__nanda)'
