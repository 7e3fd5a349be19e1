"""Which files are left out: `--exclude` patterns and `.regcliignore` files, in gitignore syntax."""

from __future__ import annotations

from regcli.errors import UsageError
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

IGNORE_FILE = ".regcliignore"
_MAX_FILE = 1 << 20


class Ignore:
    """The patterns that hold in one directory: its own and those of the directories above.

    Attributes:
        base: path of the directory relative to the walk's start, "" or with a final slash.
        above: the patterns of the directories above, or None.
        spec: the compiled patterns.
    """

    __slots__ = ("above", "base", "spec")

    def __init__(self, lines: Sequence[str], base: str = "", above: Ignore | None = None) -> None:
        self.base = base
        self.above = above
        self.spec = _compile(lines, base)

    def verdict(self, path: str) -> bool | None:
        """Return what the patterns say of a path (a directory ends with a slash): out, kept, or nothing.

        The deepest directory that speaks decides, in it the last pattern that matches.
        """
        scope: Ignore | None = self
        while scope is not None:
            said = scope.spec.check_file(path[len(scope.base) :]).include
            if said is not None:
                return bool(said)
            scope = scope.above
        return None


def excludes(always: Ignore | None, scope: Ignore | None, path: str) -> bool:
    """Tell whether a path is left out; what the command says (`always`) counts before what files say."""
    said = always.verdict(path) if always is not None else None
    if said is None and scope is not None:
        said = scope.verdict(path)
    return bool(said)


def _compile(lines: Sequence[str], base: str) -> Any:
    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise UsageError(f"a pattern in {base or '.'} is not in gitignore syntax: {error}") from error


def read_ignore_file(descriptor: int, directory: str) -> list[str]:
    """Return the lines of a directory's ignore file, given the directory's descriptor; none where there is no file."""
    try:
        data = files.read_document(IGNORE_FILE, _MAX_FILE, dir_fd=descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{directory}{IGNORE_FILE} is not UTF-8") from error
