"""Makes the completion script for bash from the command tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.cli.completion_tables import PASSED_ON, fill, global_options, own_options, positions, quoted, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from regcli.cli.command_tree import Node

_BASH = r"""# bash completion for regcli. @HEADER@
# Works with and without the bash-completion package, from bash 3.2 on.

# The sub-commands of command $1, into reply.
_regcli_commands() {
    case $1 in
@COMMANDS@
        *) reply= ;;
    esac
}

# The options of command $1, into reply.
_regcli_options() {
    case $1 in
@OPTIONS@
        *) reply= ;;
    esac
    reply="$reply @GLOBALS@"
}

# What the value of option $2 of command $1 is, into reply; empty for a flag.
_regcli_value() {
    case "$1 $2" in
@VALUES@
        *)
            case $2 in
@GLOBAL_VALUES@
                *) reply= ;;
            esac
            ;;
    esac
}

# What argument number $2 of command $1 is, into reply.
_regcli_argument() {
    case "$1 $2" in
@ARGUMENTS@
        *) reply= ;;
    esac
}

# The words up to the cursor, into words; bash breaks them at ':' and '=', here they are whole.
_regcli_words() {
    local line=${COMP_LINE:0:COMP_POINT} i word
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i -gt 0 && $line != [[:blank:]]* ]]; then
            ((i < COMP_CWORD)) || word=$line
            words[${#words[@]} - 1]+=$word
        else
            line=${line#"${line%%[![:blank:]]*}"}
            ((i < COMP_CWORD)) || word=$line
            words+=("$word")
        fi
        line=${line#"$word"}
    done
}

# A word as the shell would read it, into reply, and the quote that is still open, into quote; nothing is expanded.
_regcli_plain() {
    local rest=$1 head
    reply='' quote=''
    while [[ -n $rest ]]; do
        case $quote in
            \') head=${rest%%\'*} ;;
            \") head=${rest%%[\"\\]*} ;;
            *) head=${rest%%[\\\"\']*} ;;
        esac
        reply+=$head
        rest=${rest:${#head}}
        case ${rest:0:1} in
            '') ;;
            \\)
                if [[ $quote == \" && ${rest:1:1} != [\"\\\$\`] ]]; then
                    reply+=\\
                fi
                reply+=${rest:1:1}
                rest=${rest:2}
                ;;
            *)
                if [[ -n $quote ]]; then quote=''; else quote=${rest:0:1}; fi
                rest=${rest:1}
                ;;
        esac
    done
}

# Pass on option $1 with the value $2 as it was typed.
_regcli_pass() {
    local quote
    _regcli_plain "$2"
    # `~` alone is expanded: a root is often named by it.
    [[ $2 == \~/* ]] && reply=$HOME/${reply#\~/}
    passed+=("$1" "$reply")
}

# Offer the names of kind $1 that begin with cur.
_regcli_names() {
    local quote typed program=${COMP_WORDS[0]/#\~\//$HOME/} breaks='' last='' i escaped="'\\''"
    [[ -z $reference ]] || _regcli_pass --of "$reference"
    _regcli_plain "$cur"
    typed=$reply
    IFS=$'\n' read -r -d '' -a COMPREPLY < <("$program" __complete "$1" "$typed" ${passed[@]+"${passed[@]}"} 2>/dev/null)
    ((${#COMPREPLY[@]})) || return 0
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *[/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    local IFS=$' \t\n'
    if [[ $quote == \' ]]; then
        for i in "${!COMPREPLY[@]}"; do
            COMPREPLY[i]=${COMPREPLY[i]//\'/$escaped}
        done
    elif [[ $quote == \" ]]; then
        for i in "${!COMPREPLY[@]}"; do
            # Within double quotes nothing keeps `!` from the history.
            case ${COMPREPLY[i]} in *!*) unset "COMPREPLY[$i]"; continue ;; esac
            COMPREPLY[i]=${COMPREPLY[i]//\\/\\\\}
            COMPREPLY[i]=${COMPREPLY[i]//\"/\\\"}
            COMPREPLY[i]=${COMPREPLY[i]//\$/\\\$}
            COMPREPLY[i]=${COMPREPLY[i]//\`/\\\`}
        done
    elif [[ ${COMPREPLY[*]} == *[!A-Za-z0-9_./:@%+,\ -]* || ${COMPREPLY[*]/ /} != "${COMPREPLY[*]}" ]]; then
        for i in "${!COMPREPLY[@]}"; do
            printf -v "COMPREPLY[$i]" %q "${COMPREPLY[i]}"
        done
    fi
    [[ -z $quote ]] || return 0
    # Bash replaces only what follows the last of these; `@` itself too.
    for i in : = @; do
        [[ $COMP_WORDBREAKS != *$i* ]] || breaks+=$i
    done
    while [[ -n $breaks && $typed == *[$breaks]* ]]; do
        last=${typed%%[$breaks]*}
        last=${typed:${#last}:1}
        typed=${typed#*[$breaks]}
        COMPREPLY=("${COMPREPLY[@]#*[$breaks]}")
    done
    [[ $last != @ ]] || COMPREPLY=("${COMPREPLY[@]/#/@}")
}

# Offer what kind $1 stands for.
_regcli_offer() {
    case $1 in
        words\ *) COMPREPLY=($(compgen -W "${1#words }" -- "$cur")) ;;
        file) compopt -o filenames 2>/dev/null; IFS=$'\n' read -r -d '' -a COMPREPLY < <(compgen -f -- "$cur") ;;
        dir) compopt -o filenames 2>/dev/null; IFS=$'\n' read -r -d '' -a COMPREPLY < <(compgen -d -- "$cur") ;;
        '' | nothing) ;;
        *) _regcli_names "$1" ;;
    esac
}

_regcli() {
    local words cur reply='' command='' reference='' kind='' word i number=1 options=1 passed=()
    COMPREPLY=()
    _regcli_words
    local last=$((${#words[@]} - 1))
    cur=${words[last]}
    for ((i = 1; i < last; i++)); do
        word=${words[i]}
        if ((options)) && [[ $word == -- ]]; then
            options=0
        elif ((options)) && [[ $word == --*=* ]]; then
            case ${word%%=*} in @PASSED@) _regcli_plain "${word#*=}"; passed+=("${word%%=*}" "$reply") ;; esac
        elif ((options)) && [[ $word == -?* ]]; then
            _regcli_value "$command" "$word"
            if [[ -n $reply ]]; then
                ((++i < last)) || kind=$reply
                case $word in @PASSED@) ((i >= last)) || _regcli_pass "$word" "${words[i]}" ;; esac
            fi
        else
            _regcli_commands "$command"
            if [[ " $reply " == *" $word "* ]]; then
                command="${command:+$command }$word"
            else
                ((number++ > 1)) || reference=$word
            fi
        fi
    done
    if [[ -n $kind ]]; then
        _regcli_offer "$kind"
    elif ((options)) && [[ $cur == --*=* ]]; then
        _regcli_value "$command" "${cur%%=*}"
        cur=${cur#*=}
        _regcli_offer "$reply"
    elif ((options)) && [[ $cur == -* ]]; then
        _regcli_options "$command"
        COMPREPLY=($(compgen -W "$reply" -- "$cur"))
    else
        _regcli_commands "$command"
        if [[ -n $reply ]]; then
            COMPREPLY=($(compgen -W "$reply" -- "$cur"))
        else
            _regcli_argument "$command" "$number"
            _regcli_offer "$reply"
        fi
    fi
}

complete -o nosort -F _regcli regcli 2>/dev/null || complete -F _regcli regcli
"""


def bash_script(tree: Node) -> str:
    """Return the script for bash."""

    def cases(rows: Iterable[tuple[str, str]], indent: int = 8) -> str:
        return "\n".join(f"{' ' * indent}{pattern}) reply={quoted(text)} ;;" for pattern, text in rows)

    nodes = list(tree.walk())
    values = [
        ("|".join(quoted(f"{node.name} {spelling}") for spelling in option.spellings), option.kind)
        for node in nodes
        for option in own_options(node)
        if option.kind is not None
    ]
    arguments = [
        (f"{quoted(node.name)}' '{pattern}" if pattern == "*" else quoted(f"{node.name} {pattern}"), kind)
        for node in nodes
        for pattern, kind in positions(node)
    ]
    return fill(
        _BASH,
        COMMANDS=cases((quoted(node.name), " ".join(c.word for c in node.children)) for node in nodes if node.children),
        OPTIONS=cases((quoted(node.name), " ".join(spellings(own_options(node)))) for node in nodes if own_options(node)),
        GLOBALS=" ".join(spellings(global_options(tree))),
        VALUES=cases(values),
        GLOBAL_VALUES=cases((("|".join(o.spellings), o.kind) for o in global_options(tree) if o.kind is not None), 16),
        ARGUMENTS=cases(arguments),
        PASSED=" | ".join(PASSED_ON),
    )
