# Completion of nanda in bash. Made by `nanda completion bash`; to use it in each new shell:
#     nanda completion bash > ~/.local/share/bash-completion/completions/nanda
_nanda_table='@TABLE@'

_nanda_add() {  # CONTEXT: add the words of a context that begin with $word
    local context candidate about path
    while IFS=$'\t' read -r context candidate about; do
        [[ $context == "$1" ]] || continue
        found=1
        case $candidate in
            :general) _nanda_add '*' ;;
            :none) ;;
            :paths)
                [[ $word != -* ]] || continue
                while IFS= read -r path; do
                    paths=1
                    [[ -d ${path/#\~/$HOME} ]] && path+=/
                    COMPREPLY+=("$path")
                done < <(compgen -f -- "$word") ;;
            -*) [[ $word == -* && $candidate == "$word"* ]] && COMPREPLY+=("$candidate") ;;
            "$word"*) COMPREPLY+=("$candidate") ;;
        esac
    done <<< "$_nanda_table"
}

_nanda() {
    local typed=$2 line=${COMP_LINE:0:COMP_POINT} word before key=line second= previous= found= paths= each
    line=${line#"${line%%[![:space:]]*}"}
    line=${line#*[[:space:]]}  # without the name of the program
    word=${line##*[[:space:]]}
    word=${word#[\"\']}
    # A path within quotes may have spaces; a line within quotes has several words.
    [[ $typed == *[[:space:]]* && $'\n'$_nanda_table != *$'\nline\t'"${typed%%[[:space:]]*}"$'\t'* ]] &&
        word=$typed
    before=${line%"$word"}
    local -a words
    read -ra words <<< "${before//[\"\']/ }"
    for each in "${words[@]}"; do
        case $key:$each in
            line:/* | line:mcp | line:completion) key=$each ;;
            line:* | *:-*) ;;
            *) [[ $second ]] || second=$each ;;
        esac
        [[ $previous == save && $each == to ]] && each=-o
        previous=$each
    done
    COMPREPLY=()
    [[ $second && $'\n'$_nanda_table == *$'\n'"$key $second"$'\t'* ]] && key+=" $second"
    [[ $word == --*=* ]] && previous=${word%%=*} word=${word#*=}
    [[ $previous == -o ]] && key=-o
    if [[ $previous == --* ]]; then
        _nanda_add "$key $previous"
        [[ $found ]] || _nanda_add "* $previous"
    fi
    [[ $found ]] || _nanda_add "$key"

    # readline replaces $typed, which may be longer or shorter than the word.
    local i
    for i in "${!COMPREPLY[@]}"; do
        if [[ ${#typed} -ge ${#word} ]]; then
            COMPREPLY[i]=${typed%"$word"}${COMPREPLY[i]}
        else
            COMPREPLY[i]=${COMPREPLY[i]#"${word%"$typed"}"}
        fi
    done
    case $before in
        *\"* | *\'*)  # A second reply keeps readline from closing the quotes. Only a file closes them.
            if [[ ${#COMPREPLY[@]} == 1 && ( ! $paths || ${COMPREPLY[0]} == */ ) ]]; then
                [[ $paths ]] || COMPREPLY[0]+=" "
                COMPREPLY[1]="${COMPREPLY[0]} "
            fi ;;
        *) compopt -o filenames 2> /dev/null ;;
    esac
}
complete -F _nanda nanda agent.py
