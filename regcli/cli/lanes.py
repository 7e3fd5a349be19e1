"""Commands that do their work on the fast lane: `log`, `download`, `checkout`, `verify`, without a parser that costs more.

Scripts run them in loops, and a log of unchanged files takes less time than importing Typer. Only whole words are understood
here (`--name zoo`, `--name=zoo`, `-n zoo`); anything else is left to the full program, which does the same with the same
functions.
"""

from __future__ import annotations

import sys

from regcli.cli.settings import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from regcli.cli.context import Session

    Perform = Callable[..., int | None]


class Grammar:
    """The options of one command: word -> the name of what it gives.

    Attributes:
        one: options with a value. many: options with a value that may be repeated. flags: options without one.
        numbers: options with a number, with its bounds.
        choices: the values that an option may have, where not all may.
        least, most: how many positional arguments; no bound where `most` is None.
    """

    __slots__ = ("choices", "flags", "least", "many", "most", "numbers", "one")

    def __init__(
        self,
        *,
        one: Mapping[str, str],
        many: Mapping[str, str],
        flags: Mapping[str, str],
        numbers: Mapping[str, tuple[str, int, int]] | None = None,
        choices: Mapping[str, tuple[str, ...]] | None = None,
        least: int = 0,
        most: int | None = None,
    ) -> None:
        self.one = one
        self.many = many
        self.flags = flags
        self.numbers = numbers or {}
        self.choices = choices or {}
        self.least = least
        self.most = most


_MODES = ("auto", "copy", "reflink", "hardlink", "symlink")
GRAMMARS = {
    "log": Grammar(
        one={
            "-n": "name", "--name": "name", "-t": "type", "--type": "type", "-d": "description", "--description": "description",
            "--meta-file": "meta_file", "--at": "at", "--run": "run", "--ttl": "ttl", "--base": "base",
        },
        many={
            "-a": "aliases", "--alias": "aliases", "--tag": "tags", "--meta": "meta", "--metric": "metrics",
            "--exclude": "exclude", "--input": "inputs", "--link": "links", "--remove": "remove",
        },
        flags={"--follow-links": "follow", "--rehash": "rehash", "--new-version": "new_version", "--dry-run": "dry_run"},
    ),
    "download": Grammar(
        one={
            "-o": "output", "--output": "output", "--path-prefix": "path_prefix", "--link-mode": "link_mode",
            "--stamp": "stamp", "--depfile": "depfile",
        },
        many={"--include": "include", "--exclude": "exclude"},
        flags={"--allow-missing-references": "allow_missing", "--allow-unsigned": "unsigned"},
        numbers={"-j": ("jobs", 1, 64), "--jobs": ("jobs", 1, 64)},
        choices={"link_mode": _MODES},
        least=1, most=1,
    ),
    "checkout": Grammar(
        one={"--link-mode": "link_mode"},
        many={},
        flags={
            "-f": "force", "--force": "force", "--allow-missing-references": "allow_missing", "--allow-unsigned": "unsigned",
        },
        choices={"link_mode": _MODES},
        least=2, most=2,
    ),
    "verify": Grammar(
        one={},
        many={"--from": "sources"},
        flags={"--quick": "quick", "--repair": "mend", "--allow-unsigned": "unsigned"},
        most=2,
    ),
}  # fmt: skip


def parse(words: list[str], grammar: Grammar) -> tuple[list[str], dict[str, Any], Options] | None:
    """Return positional arguments, options by name, and the global ones; None where a word is not plainly understood."""
    general = Options()
    positional: list[str] = []
    values: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            positional.append(word)
        elif word in grammar.flags:
            values[grammar.flags[word]] = True
        elif word == "--json":
            general.json = True
        elif word in ("-q", "--quiet"):
            general.quiet = True
        elif word == "--no-progress":
            general.progress = False
        else:
            name, separator, value = word.partition("=") if word.startswith("--") else (word, "", "")
            given = value if separator else next(rest, None)
            # A value that begins with a dash may be a forgotten value; the full program knows what to say.
            if given is None or (not separator and given.startswith("-")):
                return None
            if name in ("--root", "--project"):
                setattr(general, name[2:], given)
            elif not _take(values, grammar, name, given):
                return None
    if len(positional) < grammar.least or (grammar.most is not None and len(positional) > grammar.most):
        return None
    return positional, values, general


def _take(values: dict[str, Any], grammar: Grammar, name: str, given: str) -> bool:
    """Take an option and its value; False where the full program has to explain what is wrong with it."""
    if name in grammar.one:
        key = grammar.one[name]
        values[key] = given
        return given in grammar.choices.get(key, (given,))
    if name in grammar.many:
        values.setdefault(grammar.many[name], []).append(given)
        return True
    if name in grammar.numbers:
        key, least, most = grammar.numbers[name]
        if given.isascii() and given.isdigit() and len(given) < 10:
            values[key] = int(given)
            return least <= int(given) <= most
    return False


def _log(session: Session, *paths: str, **values: Any) -> None:
    from regcli.cli.logging import LogOptions, perform_log

    perform_log(session, LogOptions(paths=list(paths), name=values.pop("name", ""), **values))


def _performer(command: str) -> Perform:
    if command == "log":
        return _log
    if command == "verify":
        from regcli.cli.verifying import perform_verify

        return perform_verify
    from regcli.cli.downloading import perform_checkout, perform_download

    return perform_download if command == "download" else perform_checkout


def serve(command: str, words: list[str]) -> int | None:
    """Serve a command with the words after its name, and return the exit code, or None to leave it to the full program."""
    parsed = parse(words, GRAMMARS[command])
    if parsed is None or sys.stdout is None or sys.stderr is None:
        return None
    positional, values, general = parsed
    from regcli.cli.context import Session, speaks_unicode
    from regcli.cli.interrupts import end_with, raise_when_interrupted

    if not speaks_unicode(sys.stdout) or not speaks_unicode(sys.stderr):
        return None
    session = Session(general)
    session.command = command
    try:
        perform = _performer(command)
        raise_when_interrupted()
        code = perform(session, *positional, **values) or 0
    except BaseException as error:  # noqa: BLE001 - the full program's funnel explains it
        from regcli.cli.app import report

        code = report(session, [command, *words], error)
    # The answer is out, and Ctrl-C does not unsay it.
    end_with(code)
    session.start_delivery()
    return code
