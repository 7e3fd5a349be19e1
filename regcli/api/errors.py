"""The errors of the library: the documented classes, and how the program's own become them.

Every error that the library raises for an expected failure is also a `RegcliError` of the class that the command line
would report, so both `except ValueError` and `except regcli.errors.NotFoundError` work. Source: `semantics.md` E-01 to E-06.
"""

from __future__ import annotations

from regcli.domain.values import NotJsonError, NotTextError
from regcli.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RegcliError,
    SourceChangedError,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Error(RegcliError):
    """Base of the documented errors that are not Python's own."""

    kind = "error"


class CommError(Error):
    """The store refused, or does not have what was asked for: what the original's server would have answered."""

    kind = "refused"


class WaitTimeoutError(Error):
    """`wait(timeout=…)` took longer than it may."""

    kind = "timeout"


class ArtifactStatusError(AttributeError):
    """Base of the two below; an AttributeError, so that `hasattr(draft, "version")` is False."""

    def __init__(self, message: str = "", *, name: str = "", obj: Any = None) -> None:
        """Say what was used on which artifact."""
        super().__init__(message, name=name, obj=obj)

    def __reduce__(self) -> tuple[Any, ...]:
        """Come back from another process with the same text; the artifact stays behind."""
        return type(self), (getattr(self, "_fullname", str(self)),)


class ArtifactNotLoggedError(ArtifactStatusError):
    """Something that only a logged artifact has was asked of a draft."""

    def __init__(self, fullname: str, obj: Any = None) -> None:
        """Name the attribute or method, as in `Artifact.version`."""
        self._fullname = fullname
        name = fullname.rpartition(".")[2]
        super().__init__(
            f"{fullname!r} used prior to logging artifact or while in offline mode. "
            "Call Artifact.wait() before accessing logged artifact properties.",
            name=name,
            obj=obj,
        )


class ArtifactFinalizedError(ArtifactStatusError):
    """The content of an artifact that is finalized or logged was to be changed."""

    def __init__(self, fullname: str, obj: Any = None) -> None:
        """Name the method, as in `Artifact.add_file`."""
        self._fullname = fullname
        name = fullname.rpartition(".")[2]
        super().__init__(f"{fullname!r} used on logged artifact. Can't modify finalized artifact.", name=name, obj=obj)


class _MissingFileError(FileNotFoundError, ValueError):
    """A file among others is missing: the original raises the first, and every other refusal of them is the second."""


def _documented_class(error: RegcliError) -> type[Exception]:
    if isinstance(error, (NotJsonError, NotTextError)):
        return TypeError
    if error.kind in ("dangling-link", "missing-path"):
        return _MissingFileError
    if error.kind == "missing-reference":
        return FileNotFoundError
    if isinstance(error, UsageError) or error.kind in ("type-mismatch", "reference-changed"):
        return ValueError
    if isinstance(error, SourceChangedError):
        return ValueError
    return CommError


_classes: dict[tuple[type[Exception], type[RegcliError]], type[RegcliError]] = {}


def _combined(documented: type[Exception], kind: type[RegcliError]) -> type[RegcliError]:
    """Return a class that is both; named after the documented one, since that is what users know."""
    made = _classes.get((documented, kind))
    if made is None:
        made = _classes[documented, kind] = _combine(documented, kind)
    return made


def _combine(documented: type[Exception], kind: type[RegcliError]) -> type[RegcliError]:

    def reduce(self: RegcliError) -> tuple[Any, ...]:
        return _rebuild, (documented, kind, self.message, self.hint)

    def text(self: RegcliError) -> str:
        return self.message

    if issubclass(kind, documented):
        return kind
    bases = (documented, kind) if issubclass(documented, RegcliError) else (kind, documented)
    name = documented.__name__ if documented is CommError else kind.__name__
    body = {"__doc__": kind.__doc__, "__module__": __name__, "__reduce__": reduce, "__str__": text, "kind": kind.kind}
    made: type[RegcliError] = type(name, bases, body)
    return made


def _rebuild(documented: type[Exception], kind: type[RegcliError], message: str, hint: str | None) -> RegcliError:
    made = _combined(documented, kind)
    error = made.__new__(made)
    # Past the constructor of `kind`, which may take other arguments.
    RegcliError.__init__(error, message, hint=hint)
    return error


def documented(error: RegcliError, kind: type[Exception] | None = None) -> RegcliError:
    """Return the error that the documentation promises for one of the program's; `kind` where a method says otherwise."""
    wanted = kind if kind is not None else _documented_class(error)
    if isinstance(error, wanted):
        return error
    made = _rebuild(wanted, type(error), error.message, error.hint)
    if error.hint:
        made.add_note(f"hint: {error.hint}")
    return made


def translated(function: Callable[P, R]) -> Callable[P, R]:
    """Make a public function raise documented errors."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RegcliError as error:
            better = documented(error)
            if better is error:
                raise
            raise better from error

    # What functools.wraps does, without the cost of importing it.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(call, name, getattr(function, name, None))
    vars(call)["__wrapped__"] = function
    return call


__all__ = [
    "ArtifactFinalizedError", "ArtifactNotLoggedError", "ArtifactStatusError", "CommError", "ConflictError", "Error",
    "IntegrityError", "NotFoundError", "RegcliError", "UsageError", "WaitTimeoutError", "documented", "translated",
]  # fmt: skip
