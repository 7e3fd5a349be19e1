"""Makes the completion script for fish from the command tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.cli.completion_tables import PASSED_ON, fill, global_options, own_options, positions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from regcli.cli.command_tree import Node, Option

_FISH = r"""# fish completion for regcli. @HEADER@

# The sub-commands of command $argv[1], each with its help.
function __regcli_commands
    switch $argv[1]
@COMMANDS@
    end
end

# The options of command $argv[1], each with its help.
function __regcli_options
    switch $argv[1]
@OPTIONS@
    end
    printf '%s\t%s\n' @GLOBALS@
end

# What the value of option $argv[2] of command $argv[1] is; nothing for a flag.
function __regcli_value
    switch "$argv[1] $argv[2]"
@VALUES@
        case '*'
            switch $argv[2]
@GLOBAL_VALUES@
            end
    end
end

# What argument number $argv[2] of command $argv[1] is.
function __regcli_argument
    switch "$argv[1] $argv[2]"
@ARGUMENTS@
    end
end

# Offer what kind $argv[1] stands for; $argv[2] is the reference given before, the rest is passed on.
function __regcli_offer
    set -l typed (commandline -ct)
    set -l before ''
    if string match -qr '^--[^=]+=' -- $typed
        set before (string replace -r '=.*' '=' -- $typed)
        set typed (string replace -r '^[^=]*=' '' -- $typed)
    end
    switch $argv[1]
        case '' nothing
        case 'words *'
            printf "$before%s\n" (string split ' ' -- $argv[1])[2..]
        case file
            for path in (__fish_complete_path $typed)
                printf '%s%s\n' $before $path
            end
        case dir
            for path in (__fish_complete_directories $typed '')
                printf '%s%s\n' $before $path
            end
        case '*'
            set -l of
            test -n "$argv[2]"; and set of --of $argv[2]
            set -l program (string replace -r '^~/' "$HOME/" -- (commandline -opc)[1])
            for name in ($program __complete $argv[1] (string unescape -- $typed; or echo $typed) $argv[3..] $of 2>/dev/null)
                printf '%s%s\n' $before $name
            end
    end
end

function __regcli_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l command ''
    set -l reference ''
    set -l kind ''
    set -l passed
    set -l number 1
    set -l options 1
    set -l skip 0
    for index in (seq 2 (count $words))
        set -l word $words[$index]
        if test $skip = 1
            set skip 0
        else if test $options = 1; and test "$word" = --
            set options 0
        else if test $options = 1; and string match -q -- '--*=*' $word
            contains -- (string split -m1 = -- $word)[1] @PASSED@; and set -a passed $word
        else if test $options = 1; and string match -q -- '-?*' $word
            set -l value (__regcli_value $command $word)
            if test -n "$value"
                set skip 1
                if test $index = (count $words)
                    set kind $value
                else if contains -- $word @PASSED@
                    set -a passed $word (string replace -r '^~/' "$HOME/" -- $words[(math $index + 1)])
                end
            end
        else if contains -- $word (__regcli_commands "$command" | string replace -r '\t.*' '')
            set command (string trim -- "$command $word")
        else
            test $number = 1; and set reference $word
            set number (math $number + 1)
        end
    end
    if test -n "$kind"
        __regcli_offer $kind "$reference" $passed
    else if test $options = 1; and string match -q -- '--*=*' $typed
        __regcli_offer (__regcli_value "$command" (string split -m1 = -- $typed)[1]; or echo nothing) "$reference" $passed
    else if test $options = 1; and string match -q -- '-*' $typed
        __regcli_options "$command"
    else
        set -l names (__regcli_commands "$command")
        if test (count $names) -gt 0
            printf '%s\n' $names
        else
            set -l value (__regcli_argument "$command" $number)
            __regcli_offer "$value" "$reference" $passed
        end
    end
end

complete -c regcli -f -k -a '(__regcli_complete)'
"""


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{_fish_quoted(name)} {_fish_quoted(text)}" for name, text in pairs)


def fish_script(tree: Node) -> str:
    """Return the script for fish."""
    nodes = list(tree.walk())

    def described(options: Iterable[Option]) -> str:
        return _fish_pairs((spelling, option.help) for option in options for spelling in option.spellings)

    def listing(name: str, pairs: str) -> str:
        return f"        case {_fish_quoted(name)}\n            printf '%s\\t%s\\n' {pairs}"

    def cases(rows: Iterable[tuple[str, str]], indent: int = 8) -> str:
        space = " " * indent
        return "\n".join(f"{space}case {pattern}\n{space}    echo {_fish_quoted(text)}" for pattern, text in rows)

    values = [
        (" ".join(_fish_quoted(f"{node.name} {spelling}") for spelling in option.spellings), option.kind)
        for node in nodes
        for option in own_options(node)
        if option.kind is not None
    ]
    arguments = [(_fish_quoted(f"{node.name} {pattern}"), kind) for node in nodes for pattern, kind in positions(node)]
    return fill(
        _FISH,
        COMMANDS="\n".join(
            listing(node.name, _fish_pairs((child.word, child.summary) for child in node.children))
            for node in nodes
            if node.children
        ),
        OPTIONS="\n".join(listing(node.name, described(own_options(node))) for node in nodes if own_options(node)),
        GLOBALS=described(global_options(tree)),
        VALUES=cases(values),
        GLOBAL_VALUES=cases(
            ((" ".join(map(_fish_quoted, o.spellings)), o.kind) for o in global_options(tree) if o.kind is not None), 16
        ),
        ARGUMENTS=cases(arguments),
        PASSED=" ".join(PASSED_ON),
    )
