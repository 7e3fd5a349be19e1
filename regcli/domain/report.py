"""What a check found: the problems, and how much was looked at."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Problem:
    """One thing that is wrong.

    Attributes:
        kind: `missing`, `modified`, `extra`, `corrupt`, `index`, `history` or `unreferenced`.
        path: the file. ref: the version it is about, or None. message: a sentence.
    """

    __slots__ = ("digest", "kind", "message", "path", "ref")

    def __init__(self, kind: str, path: str, message: str, ref: str | None = None, digest: str | None = None) -> None:
        """Describe the problem."""
        self.kind = kind
        self.path = path
        self.ref = ref
        self.message = message
        self.digest = digest

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {"kind": self.kind, "path": self.path, "ref": self.ref, "message": self.message}


class Report:
    """What was checked, and every problem that was found."""

    __slots__ = ("bytes", "files", "problems", "repaired", "versions")

    def __init__(self) -> None:
        """Start empty."""
        self.files = 0
        self.bytes = 0
        self.versions = 0
        self.problems: list[Problem] = []
        self.repaired: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "ok": self.ok,
            "checked": {"files": self.files, "bytes": self.bytes, "versions": self.versions},
            "problems": [problem.document() for problem in self.problems],
            "repaired": self.repaired,
        }
