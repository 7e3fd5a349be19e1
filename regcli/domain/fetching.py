"""Fetching what references lead to, checked, into a directory; and checking a directory that has it (R-19, R-20, R-23)."""

from __future__ import annotations

import os

from regcli.domain.references import Places, UnsupportedSchemeError, is_artifact, settle_artifact
from regcli.errors import MissingReferenceError, ReferenceChangedError, RegcliError, StorageError, reason_of
from regcli.model import quote, quote_some
from regcli.store import elsewhere, files
from regcli.store.beneath import Beneath, LinkInTheWayError
from regcli.store.elsewhere.place import (
    Expected,
    Hashes,
    check_before,
    checked_chunks,
    hash_present,
    is_proven,
    open_present,
    place_reference,
)
from regcli.store.manifest import REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from regcli.domain.context import Context
    from regcli.store.elsewhere import Opened
    from regcli.store.manifest import Entry

    Problem = tuple[str, str, str]

# Fetching is waiting: more threads than processors are of use.
_THREADS = 8


class Fetched:
    """What was done with the references of a version.

    Attributes:
        files, written, skipped: how many there were, were written, had the right content.
        bytes: bytes written. missing: paths that were left out since their target is gone.
    """

    __slots__ = ("bytes", "files", "missing", "skipped", "written")

    def __init__(self) -> None:
        """Start with zero counts."""
        self.files = 0
        self.written = 0
        self.skipped = 0
        self.bytes = 0
        self.missing: list[str] = []


def settle_references(context: Context, entries: Sequence[Entry], *, allow_missing: bool = False) -> list[Entry]:
    """Replace references to other versions' entries by what they stand for: stored files, or references to elsewhere.

    With `allow_missing` one whose target is gone stays as it is, for `fetch_references` to leave it out.

    Raises:
        MissingReferenceError: a target is gone. ReferenceChangedError: one has other content.
    """
    settled = []
    for entry in entries:
        if is_artifact(entry):
            try:
                settled.append(settle_artifact(context, entry))
            except MissingReferenceError:
                if not allow_missing:
                    raise
                settled.append(entry)
        else:
            settled.append(entry)
    return settled


def fetch_references(
    context: Context,
    entries: Sequence[Entry],
    target: str,
    *,
    allow_missing: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fetched:
    """Write the files that references lead to below a directory; other entries are not looked at.

    A file that certainly has the right content is left alone without fetching; one that turns out to have what was fetched
    keeps its times. Bytes get their name only when size, ETag or digest are as recorded; no link is followed.

    Args:
        context: who asks, and where.
        entries: of the version, references to other versions settled (`settle_references`).
        target: the directory; made when missing.
        allow_missing: leave out references whose target is gone, or whose scheme cannot be fetched, with a warning.
        threads: how many files at once.
        progress: told files and bytes so far.

    Raises:
        MissingReferenceError, ReferenceChangedError, UnsupportedSchemeError: of one reference, after all others were fetched;
        the message says how many.
        StorageError: the network or the disk failed; what was written before is whole.
    """
    from regcli.store.parallel import run_parallel

    done = Fetched()
    wanted = [Expected(entry) for entry in entries if entry[3] == REFERENCE]
    if not wanted:
        return done
    try:
        os.makedirs(target, exist_ok=True)
    except OSError as error:
        raise files.explain(error, f"cannot make {target}") from error
    places = Places(context)
    tag = f".tmp-{os.getpid()}-{files.random_hex(8)}"
    numbered = [(f"{tag}-{number:x}", expected) for number, expected in enumerate(wanted, 1)]
    failures: list[RegcliError] = []
    flow = _Flow(done, progress)

    def open_reference(expected: Expected) -> Opened:
        opened = open_elsewhere(places, expected)
        opened.chunks = flow.watch(opened.chunks)
        return opened

    with Beneath(target) as top:

        def work(job: tuple[str, Expected]) -> tuple[Expected, bool, int, RegcliError | None]:
            temporary, expected = job
            with top.fork() as beneath:
                try:
                    return (expected, *place_reference(beneath, expected, open_reference, temporary), None)
                except (MissingReferenceError, ReferenceChangedError, UnsupportedSchemeError) as error:
                    return expected, False, 0, error

        try:
            for expected, is_written, size, failure in run_parallel(work, numbered, threads or _THREADS, flow.stopped):
                _count(done, expected, size, failure, failures, is_written=is_written, allow_missing=allow_missing)
                flow.tell()
        finally:
            places.tell_redirects()
    if failures:
        raise _first_of(failures)
    if done.missing:
        done.missing.sort()
        context.warnings.append(_left_out(done.missing))
    return done


class _Flow:
    """The bytes that come in over several threads: counted, and stopped when nobody wants them any more."""

    __slots__ = ("_done", "_lock", "_progress", "bytes", "stopped")

    def __init__(self, done: Fetched, progress: Callable[[int, int], None] | None) -> None:
        import threading

        self._done = done
        self._progress = progress
        self._lock = threading.Lock()
        self.bytes = 0
        self.stopped: list[bool] = []

    def watch(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass bytes on; after an interruption or another file's failure a large file must not be fetched to its end."""
        for data in chunks:
            if self.stopped:
                raise StorageError("stopped")
            with self._lock:
                self.bytes += len(data)
                self._tell()
            yield data

    def tell(self) -> None:
        """Say how far it is."""
        with self._lock:
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done.files, self.bytes)


def _count(
    done: Fetched,
    expected: Expected,
    size: int,
    failure: RegcliError | None,
    failures: list[RegcliError],
    *,
    is_written: bool,
    allow_missing: bool,
) -> None:
    if failure is not None:
        if allow_missing and isinstance(failure, (MissingReferenceError, UnsupportedSchemeError)):
            done.missing.append(expected.path)
        else:
            failures.append(failure)
        return
    done.files += 1
    if is_written:
        done.written += 1
        done.bytes += size
    else:
        done.skipped += 1


def _first_of(failures: list[RegcliError]) -> RegcliError:
    failures.sort(key=lambda error: error.message)
    first = failures[0]
    if len(failures) == 1:
        return first
    rest = len(failures) - 1
    return type(first)(f"{first.message} (and {rest} more reference{'s' if rest > 1 else ''} failed)", hint=first.hint)


def _left_out(paths: list[str]) -> str:
    return f"left out, since what they refer to is gone or cannot be fetched: {quote_some(paths)}"


def open_elsewhere(places: Places, expected: Expected) -> Opened:
    """Open what a reference leads to.

    Raises:
        MissingReferenceError: it is gone. UnsupportedSchemeError: there is no way to it.
        StorageError: it cannot be reached. MissingLibraryError: obstore is needed.
    """
    uri = expected.uri
    scheme = elsewhere.scheme_of(uri)
    if scheme == "file":
        from regcli.store.elsewhere import local

        return local.open_file(uri)
    from regcli.store.elsewhere.bucket_uri import is_bucket

    if is_bucket(uri):
        return places.buckets.open(uri, expected.version_id)
    if scheme in ("http", "https"):
        return places.web.open(uri)
    if scheme.endswith("-artifact"):
        raise MissingReferenceError(
            f"unable to find {quote(uri)}, which {quote(expected.path)} refers to",
            hint="leave such references out of a download with --allow-missing-references",
        )
    raise UnsupportedSchemeError(
        f"{quote(expected.path)} refers to {quote(uri)}, and regcli cannot fetch the scheme {quote(scheme)}",
        hint="leave it out with --exclude or --allow-missing-references",
    )


def stream_reference(context: Context, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes that a reference leads to, checked as they come: other content is refused at their end at the latest.

    Raises:
        MissingReferenceError, ReferenceChangedError, UnsupportedSchemeError, StorageError, MissingLibraryError.
    """
    if is_artifact(entry):
        entry = settle_artifact(context, entry)
        if entry[3] != REFERENCE:
            from regcli.domain.files import stream_proven

            return stream_proven(context, entry)
    places = Places(context)
    expected = Expected(entry)
    # Opened before the first byte is asked for, so that what is gone is said before anything is written.
    opened = open_elsewhere(places, expected)
    places.tell_redirects()
    check_before(expected, opened)
    return _stream(expected, opened)


def _stream(expected: Expected, opened: Opened) -> Iterator[bytes]:
    with opened:
        yield from checked_chunks(expected, opened, Hashes(md5=expected.check == elsewhere.MD5))


# Looking at a directory


def local_changes(context: Context, entries: Sequence[Entry], target: str) -> list[str]:
    """Return the paths of references where a directory has content that is neither the reference's nor stored anywhere.

    Where what was recorded proves nothing, the reference is fetched once more to compare; one that is gone now cannot
    be compared, and what is there counts as a local change.
    """
    changed: list[str] = []
    if not os.path.isdir(target):
        return changed
    places = Places(context)
    with Beneath(target) as beneath:
        for entry in entries:
            if entry[3] != REFERENCE:
                continue
            expected = Expected(entry)
            try:
                present = open_present(beneath, expected.path)
            except LinkInTheWayError:
                # `materialize` says so, or removes what is in the way.
                continue
            if present is None:
                continue
            try:
                if not is_proven(expected, present) and not _is_known(context, places, expected, present):
                    changed.append(expected.path)
            finally:
                os.close(present)
    return changed


def _is_known(context: Context, places: Places, expected: Expected, present: int) -> bool:
    digest = hash_present(present, md5=False).xxh128
    if context.root.content.have([digest]):
        return True
    hashes = Hashes(md5=expected.check == elsewhere.MD5)
    try:
        with open_elsewhere(places, expected) as opened:
            check_before(expected, opened)
            for _ in checked_chunks(expected, opened, hashes):
                pass
    except RegcliError:
        return False
    return hashes.xxh128 == digest


def compare_references(entries: Sequence[Entry], target: str) -> list[Problem]:
    """Return every difference between a directory and the references of a version as (kind, path, message), sorted by path.

    Kinds: `missing`, `modified`. Content is compared where a digest of it was recorded, else size where it was; nothing is
    fetched.
    """
    with Beneath(target) as beneath:
        found = [_difference(beneath, Expected(entry)) for entry in entries if entry[3] == REFERENCE]
    return sorted([problem for problem in found if problem is not None], key=lambda problem: problem[1])


def _difference(beneath: Beneath, expected: Expected) -> Problem | None:
    shown = quote(expected.path)
    try:
        present = open_present(beneath, expected.path)
    except RegcliError as error:
        return "modified", expected.path, error.message
    if present is None:
        kind = "modified" if os.path.lexists(f"{beneath.path}/{expected.path}") else "missing"
        return (
            kind,
            expected.path,
            f"{shown} is {'no readable regular file' if kind == 'modified' else 'missing'} (a reference)",
        )
    try:
        size = os.fstat(present).st_size
        if expected.size is not None and size != expected.size:
            return "modified", expected.path, f"{shown} has {size} bytes instead of {expected.size} (a reference)"
        if expected.check in (elsewhere.XXH128, elsewhere.MD5):
            hashes = hash_present(present, md5=expected.check == elsewhere.MD5)
            if (hashes.md5 if expected.check == elsewhere.MD5 else hashes.xxh128) != expected.digest:
                return "modified", expected.path, f"{shown} has other content (a reference)"
    except OSError as error:
        return "modified", expected.path, f"{shown} cannot be read: {reason_of(error)}"
    finally:
        os.close(present)
    return None
