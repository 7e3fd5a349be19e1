"""The file `regcli.lock`: which versions a project uses, and where they go. Read, checked, written.

TOML, one table per pin, sorted by reference, one value a line, so that two branches conflict only where they pinned
different versions of one thing. The file comes with other people's repositories: nothing in it is trusted.
"""

from __future__ import annotations

import os
import time

from regcli.errors import BusyError, ConflictError, IntegrityError, UsageError
from regcli.model import DIGEST_HEX, has_endless_key, is_unprintable, quote, version_index
from regcli.store import files
from regcli.store.manifest import InvalidPathError, normalize_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

LOCK_NAME = "regcli.lock"
FORMAT = 1
MAX_LOCK = 16 << 20
MAX_DIRECTORY = 4096
_HEX = frozenset("0123456789abcdef")
_MARKERS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_NOTE = "# Made by `regcli lock`; keep it in version control. `regcli sync` brings exactly these versions.\n"
# Whoever may write into these decides what git or regcli do next.
_GUARDED = frozenset((".git", "git~1", ".regcli", ".regcli.toml", LOCK_NAME))


class LockFileError(UsageError):
    """`regcli.lock` is not one that this program can use."""

    kind = "lock-file"


class MergeConflictError(ConflictError):
    """`regcli.lock` has conflict markers that a merge left."""

    kind = "merge-conflict"


class Pin:
    """One entry of the lock.

    Attributes:
        reference: canonical, with its selector, such as `model/zoo:production`.
        version: `vN`, what the reference meant. digest: of its manifest. size: bytes of its files.
        directory: where it goes, relative to the lock, with `/`.
        signed: whether the reference is an alias that was signed when it was locked; then it has to be ever after, whatever
            the root says.
        extra: fields of a later program, kept as they are.
    """

    __slots__ = ("digest", "directory", "extra", "reference", "signed", "size", "version")

    def __init__(
        self,
        reference: str,
        version: str,
        digest: str,
        size: int,
        directory: str,
        extra: dict[str, Any] | None = None,
        *,
        signed: bool = False,
    ) -> None:
        """Take the values as they are."""
        self.reference = reference
        self.version = version
        self.digest = digest
        self.size = size
        self.directory = directory
        self.signed = signed
        self.extra = extra or {}

    def document(self) -> dict[str, Any]:
        """Return the JSON fields, in the order of the file."""
        return {
            "reference": self.reference,
            "version": self.version,
            "digest": self.digest,
            "size": self.size,
            "directory": self.directory,
            "signed": self.signed,
            **self.extra,
        }


def _reference_of(pin: Pin) -> str:
    return pin.reference


def lock_path(base: str) -> str:
    """Return the path of the lock of a directory."""
    return os.path.join(base, LOCK_NAME)


def read_lock(base: str) -> list[Pin] | None:
    """Return the pins of the lock in a directory, sorted by reference; None when there is none.

    Raises:
        MergeConflictError: a merge left conflict markers.
        LockFileError: it is no TOML, or says something that is not allowed.
    """
    path = lock_path(base)
    try:
        data = files.read_document(path, MAX_LOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_lock(data, LOCK_NAME)


def parse_lock(data: bytes, where: str) -> list[Pin]:
    """Return the pins of a lock's bytes; `where` names it in errors. Raises as `read_lock` does."""
    import tomllib

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise LockFileError(f"{where} is not UTF-8") from None
    _refuse_conflict(text, where)
    if has_endless_key(text):
        raise LockFileError(f"{where} is malformed: a key has hundreds of parts")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # ValueError also for a number that is too long, which is not the parser's own error.
        raise LockFileError(f"{where} is not valid TOML: {str(error)[:120]}", hint="mend it, or make it anew") from None
    form = document.get("format")
    if isinstance(form, int) and form > FORMAT:
        raise IntegrityError(f"{where} has format {form}, which is newer than this program", hint="upgrade regcli")
    if form != FORMAT:
        raise LockFileError(f"{where} has no format number", hint=f"its first line is `format = {FORMAT}`")
    rows = document.get("artifact", [])
    if not isinstance(rows, list):
        raise LockFileError(f"{where} is malformed: artifact is not a list of tables")
    pins = [_parse_pin(row, where) for row in rows]
    _refuse_twins(pins, where)
    return sorted(pins, key=_reference_of)


def _refuse_conflict(text: str, where: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        # A line of seven equal signs is no TOML either; a marker may be followed by a branch's name.
        if line.startswith(_MARKERS) and line[7:8] in ("", " ", "\r"):
            raise MergeConflictError(
                f"{where} has a merge conflict in line {number}",
                hint=f"keep the entries of one side (`git checkout --ours {LOCK_NAME}`), then run `regcli lock --update`",
            )


def _parse_pin(row: Any, where: str) -> Pin:
    if not isinstance(row, dict):
        raise LockFileError(f"{where} is malformed: an artifact is not a table")
    fields = dict(row)
    reference = fields.pop("reference", None)
    if not isinstance(reference, str) or not reference or any(map(is_unprintable, reference)):
        raise LockFileError(f"{where} has an artifact without a proper reference")
    at = f"{where}, {quote(reference)}"
    version, digest = fields.pop("version", None), fields.pop("digest", None)
    size, directory = fields.pop("size", None), fields.pop("directory", None)
    if not isinstance(version, str) or version_index(version) is None:
        raise LockFileError(f"{at}: version is not vN")
    if not isinstance(digest, str) or len(digest) != DIGEST_HEX or not _HEX.issuperset(digest):
        raise LockFileError(f"{at}: digest is not {DIGEST_HEX} hexadecimal digits")
    if type(size) is not int or size < 0:
        raise LockFileError(f"{at}: size is not a number of bytes")
    if not isinstance(directory, str):
        raise LockFileError(f"{at}: directory is missing")
    signed = fields.pop("signed", False)
    if type(signed) is not bool:
        raise LockFileError(f"{at}: signed is neither true nor false")
    return Pin(reference, version, digest, size, clean_directory(directory, at), fields, signed=signed)


def _refuse_twins(pins: Iterable[Pin], where: str) -> None:
    seen: set[str] = set()
    for pin in pins:
        if pin.reference in seen:
            raise LockFileError(f"{where} names {quote(pin.reference)} twice", hint="remove one of the entries")
        seen.add(pin.reference)
    places: dict[str, Pin] = {}
    for pin in pins:
        other = places.setdefault(pin.directory.casefold(), pin)
        if other is not pin:
            raise LockFileError(
                f"{where} puts {quote(other.reference)} and {quote(pin.reference)} into one directory, {quote(pin.directory)}",
                hint="give one of them another directory with `regcli lock REF -o DIR`",
            )


def clean_directory(text: str, where: str) -> str:
    """Return a directory of the lock in its canonical form, relative and with `/`; `.` is the lock's own.

    Raises:
        LockFileError: it is absolute, leaves the lock's directory, or leads into git's or regcli's own files.
    """
    if len(text) > MAX_DIRECTORY:
        raise LockFileError(f"{where}: directory {quote(text[:40])}… is longer than a path may be")
    if any(map(is_unprintable, text)):
        raise LockFileError(f"{where}: directory {quote(text)} has control characters")
    if text.strip("./") == "" and ".." not in text and not text.startswith("/"):
        return "."
    try:
        path = normalize_path(text)
    except InvalidPathError:
        raise LockFileError(
            f"{where}: directory {quote(text)} is absolute or leaves the project", hint="name one below, without '..'"
        ) from None
    if is_guarded(path):
        raise LockFileError(f"{where}: directory {quote(text)} leads into files of git or regcli", hint="choose another")
    return path


def is_guarded(path: str) -> bool:
    """Tell whether a path with `/` goes through `.git`, a root or a file of ours, also as case-blind file systems read it."""
    for part in path.replace("\\", "/").split("/"):
        plain = part if part.isascii() else "".join(c for c in part if not is_unprintable(c) and c not in "\u200c\u200d")
        if plain.rstrip(". ").casefold() in _GUARDED or plain.split(":")[0].casefold() in _GUARDED:
            return True
    return False


class Editing:
    """Keeps other processes from changing the lock of a directory inside a `with` block, where the system can.

    The directory itself is locked: the file is replaced by every change, and no other file is left behind.
    """

    __slots__ = ("_base", "_descriptor", "_wait")

    def __init__(self, base: str, wait: float) -> None:
        """Name the directory, and the seconds to wait for others."""
        self._base = base
        self._wait = wait
        self._descriptor = -1

    def __enter__(self) -> None:
        """Wait for others, or raise BusyError."""
        try:
            import fcntl
        except ImportError:
            return
        deadline = time.monotonic() + self._wait
        try:
            self._descriptor = os.open(self._base, os.O_RDONLY | files.CLOEXEC)
            while True:
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise BusyError(
                            f"{LOCK_NAME} is being changed by another process", hint="try again, or wait longer with --wait"
                        ) from None
                    time.sleep(0.01)
                else:
                    return
        except OSError:
            # A file system without locks; a change is still whole or not made.
            return

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _row_of(pin: Pin) -> dict[str, Any]:
    """Return the fields as the file has them: what is not signed does not say so, as in locks of before."""
    return {key: value for key, value in pin.document().items() if key != "signed" or value}


def encode_lock(pins: Iterable[Pin]) -> bytes:
    """Return the bytes of a lock: the same pins give the same bytes."""
    import tomli_w

    tables = [tomli_w.dumps(_row_of(pin)) for pin in sorted(pins, key=_reference_of)]
    head = f"{_NOTE}format = {FORMAT}\n"
    return "".join([head, *(f"\n[[artifact]]\n{table}" for table in tables)]).encode()


def write_lock(base: str, pins: Iterable[Pin]) -> bool:
    """Write the lock of a directory, whole or not at all; False (and an old time) where it says so already.

    Raises:
        LockFileError: it would be too large to be read back. StorageError: it cannot be written.
    """
    path = lock_path(base)
    data = encode_lock(pins)
    if len(data) > MAX_LOCK:
        raise LockFileError(
            f"{LOCK_NAME} would be larger than {MAX_LOCK} bytes", hint="keep several, in directories of their own"
        )
    try:
        if files.read_document(path, MAX_LOCK) == data:
            return False
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        files.replace_file(path, data, durable=True)
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error
    return True
