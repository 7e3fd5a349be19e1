"""Every expected failure, with its exit code and the sentence that helps.

`cli/app.py` is the only place that turns these into text. Exit codes are documented in the README and never renumbered.
"""

from __future__ import annotations


class RegcliError(Exception):
    """Any expected failure of regcli; `hint` says what to do next."""

    exit_code = 70
    kind = "internal"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def reason_of(error: OSError) -> str:
    """Return what the operating system says of a failure, for the end of a sentence."""
    return (error.strerror or str(error) or type(error).__name__).lower()


class UsageError(RegcliError):
    """The command was used wrongly, or its input is not acceptable."""

    exit_code = 2
    kind = "usage"


class InvalidNameError(UsageError):
    """A name breaks the rules for names of its kind."""

    kind = "invalid-name"


class InvalidReferenceError(UsageError):
    """A reference cannot be parsed, or names two things at once."""

    kind = "invalid-reference"


class NotFoundError(RegcliError):
    """No such root, registry, collection, version, alias or file."""

    exit_code = 3
    kind = "not-found"


class MissingPathError(NotFoundError):
    """A file or directory of this machine that was named is not there."""

    kind = "missing-path"


class RenamedError(NotFoundError):
    """The thing exists under another name now."""

    kind = "renamed"


class ConflictError(RegcliError):
    """The name is taken, or the thing changed since it was read."""

    exit_code = 4
    kind = "conflict"


class TypeMismatchError(ConflictError):
    """An artifact's type is not the one that the collection has for good."""

    kind = "type-mismatch"


class RefusedError(RegcliError):
    """The rules forbid it: a protected alias, a role, a link in the way, a missing signature."""

    exit_code = 5
    kind = "refused"


class TypeNotAcceptedError(RefusedError):
    """The registry does not accept artifacts of this type."""

    kind = "type-not-accepted"


class ProtectedError(RefusedError):
    """A protected alias stands in the way."""

    kind = "protected"


class RoleError(RefusedError):
    """The user's role in the registry does not allow the action."""

    kind = "role"


class SignatureRefusedError(RefusedError):
    """A signature is missing, forged, expired, replayed or by a key that is not trusted."""

    kind = "signature"


class IntegrityError(RegcliError):
    """Stored content or an index is corrupt, missing, or of a newer format."""

    exit_code = 6
    kind = "integrity"


class MissingBlobError(IntegrityError):
    """Content that the store must have is not there."""

    kind = "missing-blob"


class DigestCollisionError(IntegrityError):
    """Two different contents have one XXH3-128 digest; nothing was overwritten."""

    kind = "collision"


class BusyError(RegcliError):
    """A lock or a conditional write was not won within the time limit."""

    exit_code = 7
    kind = "busy"


class StorageError(RegcliError):
    """The disk is full, a read or write failed, or the network did not answer."""

    exit_code = 8
    kind = "storage"


class OutcomeUnknownError(StorageError):
    """The change was published, but could not be made durable; it may or may not survive a power cut."""

    kind = "outcome-unknown"


class SourceChangedError(StorageError):
    """A source file kept changing while it was logged."""

    kind = "source-changed"


class MissingReferenceError(NotFoundError):
    """What a reference leads to, a file or an object kept elsewhere, is gone."""

    kind = "missing-reference"


class ReferenceChangedError(IntegrityError):
    """What a reference leads to is no longer what was logged: other size, ETag or content."""

    kind = "reference-changed"


class MissingLibraryError(UsageError):
    """An optional library is needed for this and not installed."""

    kind = "missing-library"


# Errors of the library that scripts for the W&B SDK look for here, as `wandb.errors.CommError`.
_OF_THE_LIBRARY = frozenset(
    ["ArtifactFinalizedError", "ArtifactNotLoggedError", "ArtifactStatusError", "CommError", "Error", "WaitTimeoutError"]
)


def __getattr__(name: str) -> object:
    """Hand out the library's error classes too (PEP 562); they are imported when they are first asked for."""
    if name in _OF_THE_LIBRARY:
        from importlib import import_module

        return getattr(import_module("regcli.api.errors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
