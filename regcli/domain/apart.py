"""What keeps a version's files and the root apart: neither is a version written into the root, nor the root logged.

A path inside a root would be a way around every rule: what a download writes there is read as a commit or a setting, and
what `checkout` removes there is the only copy.
"""

from __future__ import annotations

import os

from regcli.errors import RefusedError, UsageError
from regcli.model import fold, quote
from regcli.store.layout import is_part_of_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def require_outside(root: str, path: str) -> None:
    """Refuse a file or directory that is the root or one of its parts; links are followed to find out.

    Other files may lie beside the root's own, where somebody works in the directory that is the root.

    Raises:
        UsageError: it is.
    """
    inside = _below(os.path.realpath(root), os.path.realpath(path))
    if inside is not None and (not inside or is_part_of_root(inside.split("/")[0])):
        raise UsageError(f"{quote(path)} lies in the root itself", hint="choose another place")


def require_apart(root: str, directory: str, paths: Iterable[str]) -> None:
    """Refuse a directory for a version's files where one of them would come to lie in the root.

    Args:
        root: the directory of the root.
        directory: where the files go.
        paths: where each goes, below it, with `/`.

    Raises:
        UsageError: the directory has no name, or is the root or a part of it.
        RefusedError: the root is below it, and a file has a path that leads there.
    """
    if not directory:
        raise UsageError("the name of the directory is empty", hint="`.` is the current one")
    require_outside(root, directory)
    inside = _below(os.path.realpath(directory), os.path.realpath(root))
    if inside is None:
        return
    inside = fold(inside)
    for path in paths:
        folded = fold(path)
        if folded == inside or folded.startswith(inside + "/"):
            raise RefusedError(
                f"the file {quote(path)} of the version would be written into the root itself",
                hint="choose another directory, with no root in it",
            )


def _below(top: str, path: str) -> str | None:
    """Return a real path relative to a directory that contains it (empty: it is the directory), with `/`, else None."""
    if path == top:
        return ""
    prefix = top if top.endswith(os.sep) else top + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None
