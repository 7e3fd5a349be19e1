"""For Make: a file that says which version is there, and one that says which files it brought.

Both are rewritten only when they say something new, so that Make rebuilds only then.
"""

from __future__ import annotations

import os

from regcli.model import is_unprintable
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Make takes these for itself: white space, comments, rules, patterns, recipes, file name patterns.
_ESCAPED = frozenset(" #:%;*?[")
# A line with "=" would be an assignment; a variable hides it until Make has seen that the line is a rule.
_EQUALS = "$(regcli.equals)"


def write_stamp(path: str, digest: str) -> bool:
    """Write a version's digest into a file, only when it changed; tells whether it did.

    Raises:
        StorageError: the file cannot be written.
    """
    return _write_changed(path, f"{digest}\n".encode())


def write_depfile(path: str, stamp: str, directory: str, names: Iterable[str]) -> list[str]:
    """Write the rules that tell Make that a download's files are made with its stamp; returns names Make cannot spell.

    A recipe that does nothing lets Make look at each file's own time, so that what depends on a file that the new version
    did not change is not made again.

    Args:
        path: the dependency file.
        stamp: the stamp, as the Makefile names it.
        directory: where the files are, as the Makefile names it.
        names: their paths below it.

    Raises:
        StorageError: the file cannot be written.
    """
    place = directory.rstrip("/") or "/"
    maker = escape_name(stamp, is_target=False)
    lines = []
    skipped = []
    for name in names:
        target = escape_name(
            name if place == "." else os.path.join(place, name).replace("\\" if os.name == "nt" else "\0", "/")
        )
        if target is None or maker is None:
            skipped.append(name)
        else:
            lines.append(f"{target}: {maker} ;\n")
    head = "# Made by `regcli download --depfile`.\nregcli.equals := =\n"
    _write_changed(path, "".join([head, *lines]).encode("utf-8", "surrogateescape"))
    return skipped


def escape_name(name: str, *, is_target: bool = True) -> str | None:
    """Return a file name as a target or prerequisite of a rule, or None where Make has no way to spell it."""
    if any(map(is_unprintable, name)) or name.endswith((")", "\\", "&")) or name.startswith("~"):
        return None
    parts: list[str] = []
    backslashes = 0
    for character in name:
        if character in _ESCAPED and (is_target or character != "%"):
            # Backslashes before an escaped character stand for half as many.
            parts.append("\\" * backslashes + "\\" + character)
        else:
            parts.append({"$": "$$", "=": _EQUALS}.get(character, character))
        backslashes = backslashes + 1 if character == "\\" else 0
    return "".join(parts)


def _write_changed(path: str, data: bytes) -> bool:
    place = os.path.abspath(path)
    try:
        if files.read_document(place) == data:
            return False
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        files.make_directories(os.path.dirname(place))
        files.replace_file(place, data)
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error
    return True
