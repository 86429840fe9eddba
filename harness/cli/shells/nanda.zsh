#compdef nanda agent.py
# Completion of nanda in zsh. Made by `nanda completion zsh`; to use it in each new shell, write it
# to a file _nanda in a folder of $fpath, or run eval "$(nanda completion zsh)" after compinit.
_nanda_table='@TABLE@'

_nanda_add() {  # CONTEXT: add the words of a context
    local row candidate about
    local -a candidates shown
    for row in ${(M)${(f)_nanda_table}:#$1$'\t'*}; do
        found=1
        candidate=${${row#*$'\t'}%%$'\t'*}
        about=${row##*$'\t'}
        case $candidate in
            :general) _nanda_add '*' ;;
            :none) ;;
            :paths) [[ $PREFIX == -* ]] || _files ;;
            -*) [[ $PREFIX == -* ]] && candidates+=$candidate shown+="$candidate  $about" ;;
            *) candidates+=$candidate shown+="$candidate  $about" ;;
        esac
    done
    compadd -S ' ' -l -d shown -a candidates
}

_nanda() {
    local key=line second previous found each first=${${words[CURRENT]#[\"\']}%%[[:space:]]*}
    # A line within quotes has several words.
    if [[ ${words[CURRENT]} == [\"\']* && $'\n'$_nanda_table == *$'\nline\t'"$first"* ]]; then
        compset -q
        words=(nanda $words)
        (( CURRENT++ ))
    fi
    for each in ${(Q)words[2,CURRENT-1]}; do
        for each in ${=each}; do
            case $key:$each in
                line:/* | line:mcp | line:completion) key=$each ;;
                line:* | *:-*) ;;
                *) second=${second:-$each} ;;
            esac
            [[ $previous:$each == save:to ]] && each=-o
            previous=$each
        done
    done
    [[ -n $second && $'\n'$_nanda_table == *$'\n'"$key $second"$'\t'* ]] && key+=" $second"
    if [[ $PREFIX == --*=* ]]; then
        previous=${PREFIX%%=*}
        compset -P 1 '*='
    fi
    [[ $previous == -o ]] && key=-o
    if [[ $previous == --* ]]; then
        _nanda_add "$key $previous"
        [[ -n $found ]] || _nanda_add "* $previous"
    fi
    [[ -n $found ]] || _nanda_add $key
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _nanda "$@"; else compdef _nanda nanda agent.py; fi
