"""A bundle: versions with their content and history as one tar, to be taken into another root.

Members, in this order: `regcli-bundle.json` (what is in it), `chains/<n>.jsonl` (the commits of one collection, one per line),
`blobs/<digest>` (manifests and files), `end.json` (counts and checksums, so that a bundle that was cut off is noticed). The tar
is read by its members only: nothing is ever extracted to a path that it names.
"""

from __future__ import annotations

import os
import stat
import tarfile
from contextlib import contextmanager, suppress

from regcli.errors import IntegrityError, MissingPathError, StorageError, UsageError, reason_of
from regcli.model import quote
from regcli.store import files, jsontext
from regcli.store.blobs import is_digest
from regcli.store.chain import MAX_COMMIT
from regcli.store.trust import new_sha256, sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Self

FORMAT = 1
INDEX = "regcli-bundle.json"
END = "end.json"
MAX_TEXT = 1 << 30
MAX_INDEX = 64 << 20
_CHUNK = 1 << 18
# Each takes twenty times the bytes that it has in the text.
_MAX_LISTS = 1 << 20
# Of a member over 8 GiB it says the size.
_MAX_HEADER = 1 << 16


def parse_index(data: bytes, where: str) -> dict[str, Any]:
    """Return a document of a bundle, which is measured before it is parsed.

    Raises:
        IntegrityError: it is too large, or no JSON. UsageError: it is no object.
    """
    if len(data) > MAX_INDEX:
        raise IntegrityError(f"{where} is larger than {MAX_INDEX} bytes")
    if data.count(b"[") > _MAX_LISTS:
        raise IntegrityError(f"{where} has too many lists")
    document = jsontext.loads(data, where)
    if not isinstance(document, dict):
        raise UsageError(f"{where} is no object")
    return document


class BundleWriter:
    """Writes a bundle as one run of bytes, never going back, so that it can go into a pipe.

    Args:
        write: takes the next bytes; raises what is to be raised where it cannot.
    """

    __slots__ = ("_checksums", "_count", "_size", "_write")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._checksums: dict[str, str] = {}
        self._count = 0
        self._size = 0

    def add_text(self, name: str, data: bytes) -> None:
        """Add the index or a chain."""
        self._checksums[name] = sha256_hex(data)
        self._add(name, len(data), iter((data,)))

    def add_blob(self, digest: str, size: int, chunks: Iterable[bytes]) -> None:
        """Add the bytes of one blob."""
        self._count += 1
        self._add(f"blobs/{digest}", size, iter(chunks))

    def finish(self) -> None:
        """Add what tells a bundle that is whole from one that was cut off."""
        self.add_text(END, jsontext.dumps({"blobs": self._count, "sha256": self._checksums}).encode() + b"\n")
        end = 2 * tarfile.BLOCKSIZE
        self._put(b"\0" * (end + -(self._size + end) % tarfile.RECORDSIZE))

    def _add(self, name: str, size: int, chunks: Iterator[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = 0o444
        self._put(member.tobuf(tarfile.PAX_FORMAT))
        written = 0
        for chunk in chunks:
            self._put(chunk)
            written += len(chunk)
        if written != size:
            raise IntegrityError(f"{name} has {written} bytes instead of {size}")
        self._put(b"\0" * (-written % tarfile.BLOCKSIZE))

    def _put(self, data: bytes) -> None:
        self._write(data)
        self._size += len(data)


@contextmanager
def bundle_file(path: str) -> Iterator[BundleWriter]:
    """Give a writer of a bundle that lies beside its place, and gets its name when it is whole.

    Args:
        path: where the bundle goes; a file that is there is replaced.
    """
    path = os.path.abspath(path)
    temporary = files.temporary_path(os.path.dirname(path))

    def write(data: bytes) -> None:
        try:
            stream.write(data)
        except OSError as error:
            raise files.explain(error, f"cannot write {path}") from error

    try:
        stream = open(temporary, "xb")  # noqa: SIM115 - closed below, where what fails can be told from what is written
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error
    try:
        yield BundleWriter(write)
        try:
            stream.flush()
            files.fsync_file(stream.fileno())
            os.replace(temporary, path)
            files.fsync_directory(os.path.dirname(path))
        except OSError as error:
            raise files.explain(error, f"cannot write {path}") from error
    finally:
        # What could not be written before cannot be now; that was said already.
        with suppress(OSError):
            stream.close()
        files.unlink_quietly(temporary)


class _Member(tarfile.TarInfo):
    """A member whose further headers are short: they are read as a whole, and a hole in a file costs nobody anything."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        is_plain = self.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if not is_plain and self.size > _MAX_HEADER:
            raise tarfile.ReadError("a header is too long")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return found

    def _refuse_sparse(self, *_: object) -> None:
        raise tarfile.ReadError("a member is no plain file")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class BundleReader:
    """Reads a bundle, which anybody may have made.

    Args:
        path: the file. A pipe is copied first, since everything is checked before anything is taken in.
        stream: a descriptor to read instead; `path` is then only what messages call it.

    Attributes:
        path: the file. index: the document of `regcli-bundle.json`. blobs: digest -> (offset, size).
    """

    __slots__ = ("_descriptor", "_texts", "blobs", "index", "path")

    def __init__(self, path: str, stream: int | None = None) -> None:
        self.path = path
        self.blobs: dict[str, tuple[int, int]] = {}
        self._texts: dict[str, tuple[int, int]] = {}
        self._descriptor = _open(path, stream)
        try:
            self._scan()
            self.index: dict[str, Any] = self._document(INDEX)
            self._check()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _scan(self) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            with (
                open(self._descriptor, "rb", closefd=False) as stream,
                tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member) as tar,
            ):
                for member in tar:
                    place = (member.offset_data, member.size)
                    if not member.isreg() or member.issparse() or member.size < 0:
                        raise UsageError(f"{quote(self.path)} is not a bundle: a member is no plain file")
                    self._take(member.name, place)
                    if sum(place) > size:
                        break
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            if INDEX in self._texts:
                raise self._cut_off() from None
            raise UsageError(f"{quote(self.path)} is not a bundle, or was cut off: {error}") from None
        except OSError as error:
            raise files.explain(error, f"cannot read {self.path}") from error
        if INDEX not in self._texts:
            raise UsageError(f"{quote(self.path)} is not a bundle, or was cut off", hint="make it with `regcli export`")
        if END not in self._texts or sum(self._texts[END]) > size:
            raise self._cut_off()

    def _cut_off(self) -> IntegrityError:
        return IntegrityError(f"{quote(self.path)} was cut off: its end is missing", hint="copy or export it again")

    def _take(self, name: str, place: tuple[int, int]) -> None:
        known: dict[str, tuple[int, int]] = self._texts
        key = name
        if name.startswith("blobs/") and is_digest(name[6:]):
            known, key = self.blobs, name[6:]
        elif name not in (INDEX, END) and not (name.startswith("chains/") and name.endswith(".jsonl") and len(name) < 64):
            raise UsageError(f"{quote(self.path)} is not a bundle: it has a member {quote(name[:80])}")
        if key in known:
            raise UsageError(f"{quote(self.path)} is not a bundle: {quote(name)} occurs twice")
        known[key] = place

    def _check(self) -> None:
        form = self.index.get("format")
        if isinstance(form, int) and form > FORMAT:
            raise IntegrityError(f"{self.path} has format {form}, which is newer than this program", hint="upgrade regcli")
        end = self._document(END)
        if form != FORMAT or end.get("blobs") != len(self.blobs) or not isinstance(end.get("sha256"), dict):
            raise IntegrityError(f"{quote(self.path)} is damaged: its parts do not add up")
        checksums = end["sha256"]
        for name in self._texts:
            if name != END and checksums.get(name) != self._sha256(name):
                raise IntegrityError(f"{quote(self.path)} is damaged: {name} is not what was written")

    def _document(self, name: str) -> dict[str, Any]:
        offset, size = self._place(name)
        # One byte too many is enough to tell.
        return parse_index(b"".join(self._read(offset, min(size, MAX_INDEX + 1))), f"{quote(self.path)}: {name}")

    def _place(self, name: str) -> tuple[int, int]:
        place = self._texts.get(name)
        if place is None:
            raise IntegrityError(f"{quote(self.path)} is damaged: {quote(name)} is missing")
        if place[1] > MAX_TEXT:
            raise IntegrityError(f"{quote(self.path)}: {name} is larger than {MAX_TEXT} bytes")
        return place

    def _sha256(self, name: str) -> str:
        hasher = new_sha256()
        for chunk in self._read(*self._place(name)):
            hasher.update(chunk)
        found: str = hasher.hexdigest()
        return found

    def read_chain(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the commits of one chain, each of which is read when it is asked for."""
        for number, line in enumerate(self._lines(name), 1):
            commit = jsontext.loads(line, f"{self.path}: {name}, line {number}")
            if not isinstance(commit, dict) or not isinstance(commit.get("ops"), list):
                raise IntegrityError(f"{quote(self.path)}: {name}, line {number} is no commit")
            yield commit

    def _lines(self, name: str) -> Iterator[bytes]:
        rest = b""
        for chunk in self._read(*self._place(name)):
            *lines, last = chunk.split(b"\n")
            for line in lines:
                yield rest + line
                rest = b""
            rest += last
            if len(rest) > MAX_COMMIT:
                raise IntegrityError(f"{quote(self.path)}: {name} has a commit that is larger than {MAX_COMMIT} bytes")
        if rest:
            yield rest

    def stream(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of a blob, unchecked."""
        return self._read(*self.blobs[digest])

    def _read(self, offset: int, size: int) -> Iterator[bytes]:
        end = offset + size
        while offset < end:
            try:
                data = os.pread(self._descriptor, min(_CHUNK, end - offset), offset)
            except OSError as error:
                raise files.explain(error, f"cannot read {self.path}") from error
            if not data:
                raise IntegrityError(f"{quote(self.path)} was cut off")
            offset += len(data)
            yield data

    def damaged_blobs(self) -> Iterator[str]:
        """Yield the digests of blobs whose bytes are not what their name says; reads everything."""
        import xxhash

        for digest in self.blobs:
            state = xxhash.xxh3_128()
            for chunk in self.stream(digest):
                state.update(chunk)
            if state.hexdigest() != digest:
                yield digest


def _open(path: str, stream: int | None) -> int:
    """Return a descriptor of a bundle that can be read anywhere, and twice."""
    if stream is not None:
        return _seekable(stream, path)
    try:
        descriptor = os.open(path, os.O_RDONLY | files.CLOEXEC | files.BINARY)
    except FileNotFoundError:
        raise MissingPathError(f"there is no file {quote(path)}") from None
    except OSError as error:
        raise files.explain(error, f"cannot read {path}") from error
    try:
        return _seekable(descriptor, path)
    finally:
        os.close(descriptor)


def _seekable(descriptor: int, path: str) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise UsageError(
            f"{quote(path)} is a directory, not a bundle",
            hint="`regcli import mlflow DIR` takes in what MLflow keeps (dvc, wandb, pins as well), `regcli log DIR` any files",
        )
    if stat.S_ISREG(mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0:
        return os.dup(descriptor)
    import tempfile

    try:
        with tempfile.TemporaryFile() as copy:
            for chunk in _chunks(descriptor, path):
                copy.write(chunk)
            copy.flush()
            copy.seek(0)
            return os.dup(copy.fileno())
    except OSError as error:
        message = f"cannot keep {path} in {tempfile.tempdir or 'a temporary directory'}: {reason_of(error)}"
        raise StorageError(message, hint="set TMPDIR to a directory with room for the whole bundle") from error


def _chunks(descriptor: int, path: str) -> Iterator[bytes]:
    """Yield what a pipe gives; no more than a block of what does not begin as a bundle does, since it may have no end."""

    def read() -> bytes:
        try:
            return os.read(descriptor, _CHUNK)
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error

    begun = b""
    while len(begun) < tarfile.BLOCKSIZE and (chunk := read()):
        begun += chunk
    yield begun
    if begun.startswith(INDEX.encode() + b"\0"):
        while chunk := read():
            yield chunk
