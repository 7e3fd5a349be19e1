"""What a git hook checks before others see a commit: the versions that locks name, and large files that are stored nowhere."""

from __future__ import annotations

from regcli.domain.lockfile import parse_lock
from regcli.domain.locking import find_pinned, hold_to_signature
from regcli.domain.verification import check_signed_content, verify_records
from regcli.errors import RegcliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.resolving import Version


class LockProblem:
    """What is wrong with a lock or a version that it names.

    Attributes:
        where: the lock's path in the repository. reference: of the pin, or None. message: a sentence.
    """

    __slots__ = ("message", "reference", "where")

    def __init__(self, where: str, reference: str | None, message: str) -> None:
        """Describe the problem."""
        self.where = where
        self.reference = reference
        self.message = message

    def document(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {"path": self.where, "reference": self.reference, "message": self.message}


def verify_locks(context: Context, locks: Iterable[tuple[str, bytes]], *, quick: bool = False) -> list[LockProblem]:
    """Check that every version that locks name exists, and its content; returns all that is wrong.

    A signed alias is checked as `sync` would: a trusted signer once set it to the version, and vouched for these bytes.

    Args:
        context: who asks, and where.
        locks: path in the repository and bytes of each lock.
        quick: only that the content is there with the right size.
    """
    problems = []
    users: dict[str, tuple[str, str]] = {}
    records: dict[str, dict[str, Any]] = {}
    sealed: dict[str, Version] = {}
    for where, data in locks:
        try:
            pins = parse_lock(data, where)
        except RegcliError as error:
            problems.append(LockProblem(where, None, error.message))
            continue
        for pin in pins:
            try:
                version = find_pinned(context, pin)
                hold_to_signature(context, version, pin)
            except RegcliError as error:
                problems.append(LockProblem(where, pin.reference, error.message))
                continue
            records[version.ref] = version.record
            users.setdefault(version.ref, (where, pin.reference))
            if version.seal is not None:
                sealed[version.ref] = version
    if records:
        report = verify_records(context, records, quick=quick)
        for problem in report.problems:
            sealed.pop(problem.ref or "", None)
            # Damage of the store that is no single version's is told with the damaged file.
            place, reference = users.get(problem.ref or "", (problem.path, None))
            problems.append(LockProblem(place, reference, problem.message))
    for ref, version in sealed.items():
        try:
            check_signed_content(context, version)
        except RegcliError as error:
            problems.append(LockProblem(*users[ref], error.message))
    return problems


def find_unstored(context: Context, digests: Iterable[str]) -> set[str]:
    """Return those file digests that the root does not have; all of them where there is no root."""
    wanted = set(digests)
    try:
        return wanted - context.root.content.have(wanted)
    except RegcliError:
        return wanted
