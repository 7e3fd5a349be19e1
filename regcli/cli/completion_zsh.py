"""Makes the completion script for zsh from the command tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.cli.completion_tables import PASSED_ON, fill, quoted

if TYPE_CHECKING:
    from regcli.cli.command_tree import Node, Option

_ZSH = r"""#compdef regcli
# zsh completion for regcli. @HEADER@

# Offer the names of kind $1.
_regcli_names() {
    [[ $PREFIX == -* ]] && return 1
    local -a found passed
    local key value
    for key in @PASSED@; do
        value=${${(Q)opt_args[$key]}:-${regcli_passed[$key]}}
        [[ $value == \~/* ]] && value=$HOME/${value#\~/}
        [[ -n $value ]] && passed+=($key $value)
    done
    [[ $1 == (alias|entry|tag|type|user|version) && -n ${line[1]} ]] && passed+=(--of ${(Q)line[1]})
    found=(${(f)"$(${(Q)~regcli_program} __complete $1 "${(Q)PREFIX}" $passed 2>/dev/null)"})
    # In the order given: the newest version comes first.
    compadd -V regcli -S '' -- ${(M)found:#*[/:]}
    compadd -V regcli -- ${found:#*[/:]}
}

@FUNCTIONS@

_regcli() {
    local curcontext=$curcontext regcli_program=$words[1]
    local -A regcli_passed
    _regcli_command
}

if [[ $funcstack[1] == _regcli ]]; then
    _regcli "$@"
else
    compdef _regcli regcli
fi
"""


def _zsh_text(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, f"\\{character}")
    return text


def _zsh_action(kind: str) -> str:
    if kind.startswith("words "):
        return f"({kind[6:]})"
    return {"file": "_files", "dir": "_files -/", "nothing": ""}.get(kind, f" _regcli_names {kind}")


def _zsh_option(option: Option) -> list[str]:
    rows = []
    together = " ".join(option.spellings)
    for spelling in option.spellings:
        prefix = "*" if option.is_repeatable else f"({together})" if len(option.spellings) > 1 else ""
        join = "" if option.kind is None else "=" if spelling.startswith("--") else "+"
        value = "" if option.kind is None else f":{_zsh_text(option.metavar or '')}:{_zsh_action(option.kind)}"
        rows.append(quoted(f"{prefix}{spelling}{join}[{_zsh_text(option.help)}]{value}"))
    return rows


def _zsh_name(node: Node) -> str:
    return "_".join(["_regcli_command", *node.name.replace("-", "_").split()])


def _zsh_function(node: Node) -> str:
    rows = [row for option in node.options for row in _zsh_option(option)]
    if not node.children:
        for number, argument in enumerate(node.arguments, 1):
            place = "*" if argument.is_repeatable else str(number) if argument.is_required else f"{number}:"
            rows.append(quoted(f"{place}:{_zsh_text(argument.metavar)}:{_zsh_action(argument.kind)}"))
        body = " \\\n        ".join(["_arguments -s -S", *rows])
        return f"{_zsh_name(node)}() {{\n    local line\n    local -A opt_args\n    {body}\n}}"
    rows.extend([quoted("1:command:->command"), quoted("*:: :->rest")])
    names = "\n".join(f"            {quoted(f'{_zsh_word(c.word)}:{_zsh_text(c.summary)}')}" for c in node.children)
    cases = "\n".join(f"                {c.word}) {_zsh_name(c)} ;;" for c in node.children)
    call = " \\\n        ".join(["_arguments -s -S -C -A '-*'", *rows])
    return f"""{_zsh_name(node)}() {{
    local state line key
    local -A opt_args
    {call}
    for key in {" ".join(PASSED_ON)}; do
        [[ -n ${{opt_args[$key]}} ]] && regcli_passed[$key]=${{(Q)opt_args[$key]}}
    done
    case $state in
        command)
            local -a names=(
{names}
            )
            _describe -t commands command names
            ;;
        rest)
            case $line[1] in
{cases}
            esac
            ;;
    esac
}}"""


def _zsh_word(word: str) -> str:
    return word.replace(":", "\\:")


def zsh_script(tree: Node) -> str:
    """Return the script for zsh."""
    return fill(_ZSH, FUNCTIONS="\n\n".join(_zsh_function(node) for node in tree.walk()), PASSED=" ".join(PASSED_ON))
