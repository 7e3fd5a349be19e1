"""What the shells ask for: `regcli __complete KIND WORD [--root DIR] [-C DIR] [--project P] [--of REF]`.

Prints the names of a kind that begin with WORD, one a line; `--of` is the reference that stands before on the line. On the
fast path: built-in modules only. A shell has no use for errors here, so there are none.
"""

from __future__ import annotations

import os

from regcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.cli.settings import Options


def parse(rest: list[str], options: Options) -> tuple[str, str, str | None]:
    """Return kind, word and `--of`; the other options go into `options`.

    Raises:
        UsageError: the line is not one that the scripts write.
    """
    if len(rest) < 2:
        raise UsageError("__complete takes KIND and WORD")
    of = None
    words = iter(rest[2:])
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            value = next(words, "")
        if name == "--of":
            of = value
        elif name == "-C":
            try:
                os.chdir(value)
            except (OSError, ValueError) as error:
                raise UsageError(f"cannot change to {value}") from error
        elif name in ("--root", "--project"):
            setattr(options, name[2:], value)
    return rest[0], rest[1], of


def encode(names: list[str], encoding: str) -> str:
    """Return the names as lines; one that the shell's encoding does not have is left out, not spoiled."""
    text = "".join(f"{name}\n" for name in names)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return encode([name for name in names if _fits(name, encoding)], encoding)
    return text


def _fits(name: str, encoding: str) -> bool:
    try:
        name.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
