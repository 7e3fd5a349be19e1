"""`regcli log` on the fast lane: the same work as the full command, without a parser that costs more than the work.

Scripts log in loops, and a log of unchanged files takes less time than importing Typer. Only whole words are understood
here (`--name zoo`, `--name=zoo`, `-n zoo`); anything else is left to the full program.
"""

from __future__ import annotations

import sys

from regcli.cli.settings import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.cli.logging import LogOptions

_ONE = {
    "-n": "name", "--name": "name", "-t": "type", "--type": "type", "-d": "description", "--description": "description",
    "--meta-file": "meta_file", "--at": "at", "--run": "run", "--ttl": "ttl", "--base": "base",
}  # fmt: skip
_MANY = {
    "-a": "aliases", "--alias": "aliases", "--tag": "tags", "--meta": "meta", "--metric": "metrics", "--exclude": "exclude",
    "--input": "inputs", "--link": "links", "--remove": "remove",
}  # fmt: skip
_FLAGS = {"--follow-links": "follow", "--rehash": "rehash", "--new-version": "new_version", "--dry-run": "dry_run"}


def parse(words: list[str]) -> tuple[LogOptions, Options] | None:  # noqa: PLR0912 - one branch per kind of word
    """Return the command's options and the global ones, or None where a word is not plainly understood."""
    from regcli.cli.logging import LogOptions

    general = Options()
    options = LogOptions(paths=[], name="")
    many: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            options.paths.append(word)
            continue
        if word in _FLAGS:
            setattr(options, _FLAGS[word], True)
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
            if name in _ONE:
                setattr(options, _ONE[name], given)
            elif name in _MANY:
                many.setdefault(_MANY[name], []).append(given)
            elif name in ("--root", "--project"):
                setattr(general, name[2:], given)
            else:
                return None
    for field, values in many.items():
        setattr(options, field, values)
    return options, general


def log(words: list[str]) -> int | None:
    """Serve `regcli log WORDS…` and return the exit code, or None to leave it to the full program."""
    parsed = parse(words)
    if parsed is None or sys.stdout is None or sys.stderr is None:
        return None
    options, general = parsed
    from regcli.cli.context import Session, speaks_unicode
    from regcli.cli.logging import perform_log

    if not speaks_unicode(sys.stdout) or not speaks_unicode(sys.stderr):
        return None
    session = Session(general)
    session.command = "log"
    try:
        perform_log(session, options)
    except BaseException as error:  # noqa: BLE001 - the full program's funnel explains it
        from regcli.cli.app import report

        code = report(session, ["log", *words], error)
    else:
        code = 0
    session.start_delivery()
    return code
