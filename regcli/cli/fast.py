"""The fast lane: commands that scripts and shells run all the time, answered without importing Typer.

Only exact shapes are served here. For anything unusual (an option it does not know, an error, a missing root)
`try_fast` returns None and the full program runs with the same arguments, so that messages exist only once.
Nothing but built-in modules and our own light ones is imported; `tests/cli/test_startup.py` counts them.
"""

from __future__ import annotations

import sys

from regcli import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from regcli.cli.settings import Options
    from regcli.domain.context import Context


def try_fast(argv: list[str]) -> int | None:
    """Answer `argv` and return the exit code, or return None to leave it to the full program."""
    if not argv:
        return None
    serve = _LANES.get(argv[0])
    return None if serve is None else serve(argv[1:])


def answer(text: str) -> int | None:
    """Write the whole answer to standard output and return 0; None where the full program must explain a failure.

    Nothing has been written when None is returned, or what was written could not be delivered anyway.
    """
    if sys.stdout is None:
        return None
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError):
        return None
    return 0


def _version(rest: list[str]) -> int | None:
    return None if rest else answer(f"regcli {__version__}\n")


def make_context(options: Options, command: str) -> Context:
    """Return the surroundings of a command that the fast lane serves."""
    from regcli.cli import settings

    return settings.make_context(options, settings.read_settings(options), command)


_FLAGS = ("--json", "--digest", "--source", "--path", "-q", "--quiet", "--no-progress")


def _resolve(rest: list[str]) -> int | None:
    from regcli.cli.settings import Options
    from regcli.errors import RegcliError

    options = Options()
    flags = set()
    reference = None
    words = iter(rest)
    for word in words:
        if word in _FLAGS:
            flags.add(word)
        elif word in ("--root", "--project"):
            value = next(words, None)
            if value is None:
                return None
            setattr(options, word[2:], value)
        elif word.startswith("-") or reference is not None:
            return None
        else:
            reference = word
    if reference is None:
        return None
    try:
        from regcli.cli.interrupts import raise_when_interrupted
        from regcli.domain.resolution import resolution_json, resolution_line
        from regcli.domain.resolving import resolve

        raise_when_interrupted()
        context = make_context(options, "resolve")
        version = resolve(context, reference)
        if "--json" in flags:
            text = resolution_json(context, version)
        else:
            text = resolution_line(
                context, version, digest="--digest" in flags, source="--source" in flags, path="--path" in flags
            )
    except RegcliError:
        # The full program finds the same failure and explains it.
        return None
    # It also says what there is to remark.
    return answer(f"{text}\n") if text.isprintable() and not context.warnings else None


def _complete(rest: list[str]) -> int | None:
    from regcli.cli.complete import encode, parse
    from regcli.cli.settings import Options
    from regcli.errors import RegcliError

    options = Options()
    try:
        kind, word, of = parse(rest, options)
        from regcli.domain.completing import complete

        names = complete(make_context(options, "__complete"), kind, word, of)
    except RegcliError:
        names = []
    answer(encode(names, getattr(sys.stdout, "encoding", None) or "utf-8"))
    return 0


def _completion(rest: list[str]) -> int | None:
    # Shells run this at their start: `source <(regcli completion bash)`.
    from regcli.cli.completion import SCRIPTS, read_script
    from regcli.errors import RegcliError

    if len(rest) != 1 or rest[0] not in SCRIPTS:
        return None
    try:
        return answer(read_script(rest[0]))
    except RegcliError:
        return None


def _serve(command: str) -> Callable[[list[str]], int | None]:
    def serve(rest: list[str]) -> int | None:
        from regcli.cli.lanes import serve

        return serve(command, rest)

    return serve


_LANES: dict[str, Callable[[list[str]], int | None]] = {
    "--version": _version,
    "__complete": _complete,
    "completion": _completion,
    "resolve": _resolve,
    **{command: _serve(command) for command in ("log", "download", "checkout", "verify")},
}
