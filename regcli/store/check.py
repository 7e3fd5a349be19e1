"""Finding all damage in the content of a root, and mending what can be mended."""

from __future__ import annotations

import os
import stat

import xxhash

from regcli.errors import IntegrityError, StorageError, reason_of
from regcli.store import blobs, files, packs
from regcli.store.parallel import run_parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from regcli.store.content import Content, Problem

    Row = tuple[bytes, int, int]
    # (path, pack id or b"" for a large blob, records or the one digest)
    Job = tuple[str, bytes, list[Row]]

_JOB = 32 << 20
_LITTER = ".tmp-"


def check_content(
    content: Content,
    *,
    quick: bool,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
    only: set[str] | None,
) -> Iterator[Problem]:
    """Yield every problem as (kind, path, digest or None, message).

    Kinds: `corrupt` (bytes are not what they should be), `missing` (one of `only` is nowhere), `extra` (a file that is not
    the store's). With `quick` nothing is hashed but files that have other names too, which somebody may have written through.
    Derived index files are no problem: they are rebuilt.
    """
    content.index.close()
    content.index.refresh()
    wanted = None if only is None else {bytes.fromhex(digest) for digest in only}
    problems: list[Problem] = []
    jobs: list[Job] = []
    seen: set[bytes] = set()
    _check_packs(content, wanted, problems, jobs, seen)
    _check_files(content, wanted, problems, jobs, seen, quick=quick)
    yield from problems
    if wanted is not None:
        yield from (
            ("missing", blobs.blob_path(content.root, digest.hex()), digest.hex(), f"blob {digest.hex()} is missing")
            for digest in sorted(wanted - seen)
        )
    if quick:
        jobs = [job for job in jobs if not job[1]]
    done = [0, 0]

    def work(job: Job) -> list[Problem]:
        path, identity, rows = job
        found = _check_records(path, rows) if identity else _check_file(path, rows[0][0])
        done[0] += len(rows)
        done[1] += sum(row[1] for row in rows)
        if progress is not None:
            progress(done[0], done[1])
        return found

    # The largest first: no thread is left alone with a large one at the end.
    jobs.sort(key=_job_size, reverse=True)
    for found in run_parallel(work, jobs, threads):
        yield from found
    content.index.merge()


def _job_size(job: Job) -> int:
    return sum(row[1] for row in job[2])


def _check_packs(
    content: Content, wanted: set[bytes] | None, problems: list[Problem], jobs: list[Job], seen: set[bytes]
) -> None:
    directory = content.index.directory
    for name in sorted(files.scan_names(directory)):
        path = f"{directory}/{name}"
        if name == "index" or name.startswith(_LITTER):
            continue
        identity = _pack_identity(name)
        if identity is None:
            problems.append(("extra", path, None, f"{path} is not a file of the store"))
            continue
        rows, wrong = _rows_of(path, identity)
        problems += [("corrupt", path, None, f"pack {path}: {text}") for text in wrong]
        if wanted is not None:
            rows = [row for row in rows if row[0] in wanted]
        seen.update([row[0] for row in rows])
        jobs += [(path, identity, part) for part in _parts(rows)]


def _pack_identity(name: str) -> bytes | None:
    if name.endswith(packs.SUFFIX) and blobs.is_digest(name[: -len(packs.SUFFIX)]):
        return bytes.fromhex(name[:32])
    return None


def _rows_of(path: str, identity: bytes) -> tuple[list[Row], list[str]]:
    """Return the records of a pack sorted by offset, and what is wrong with its frame."""
    try:
        descriptor = packs.open_pack(path)
    except FileNotFoundError:
        # A sweep took it away since it was listed. Whatever is still needed of it is in another pack.
        return [], []
    except OSError as error:
        return [], [f"cannot be opened: {reason_of(error)}"]
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return [], ["is not a regular file"]
        wrong: list[str] = []
        try:
            index, end = packs.read_trailer(descriptor, identity)
            rows = sorted(((digest, length, offset) for digest, (_, length, offset) in index.rows()), key=_offset_of)
        except (packs.PackError, IntegrityError) as error:
            return sorted(packs.scan(descriptor), key=_offset_of), [str(error)]
        position = packs.HEADER.size
        for _, length, offset in rows:
            if offset - packs.RECORD.size < position:
                # Nobody wrote such an index by accident, and a few bytes could be named a million times.
                return sorted(packs.scan(descriptor), key=_offset_of), ["the index is damaged: records overlap"]
            if offset - packs.RECORD.size != position:
                wrong.append(f"bytes at {position} belong to no record")
            position = offset + length
        if position != end:
            wrong.append(f"bytes at {position} belong to no record")
    except OSError as error:
        return [], [f"cannot be read: {reason_of(error)}"]
    else:
        return rows, wrong
    finally:
        os.close(descriptor)


def _offset_of(row: Row) -> int:
    return row[2]


def _parts(rows: list[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    room = _JOB
    for row in rows:
        part.append(row)
        room -= row[1] + packs.RECORD.size
        if room <= 0:
            yield part
            part, room = [], _JOB
    if part:
        yield part


def _check_records(path: str, rows: list[Row]) -> list[Problem]:
    problems: list[Problem] = []
    try:
        descriptor = packs.open_pack(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [("corrupt", path, None, f"pack {path} cannot be opened: {reason_of(error)}")]
    view = memoryview(bytearray(packs.SMALL + packs.RECORD.size))
    digest_of = xxhash.xxh3_128_digest
    header_of = packs.RECORD.pack
    start = filled = 0
    try:
        for digest, length, offset in rows:
            first, size = offset - 24, length + 24
            if size > len(view):
                # No writer packs what is so large, so that it is no buffer's worth: whoever made the pack says how large it is.
                header = packs.read_exactly(descriptor, 24, first)
                if (
                    header != header_of(packs.RECORD_MAGIC, length, digest)
                    or packs.digest_at(descriptor, offset, length) != digest
                ):
                    problems.append(("corrupt", path, digest.hex(), f"blob {digest.hex()} is corrupt in {path}"))
                continue
            if first < start or first + size > start + filled:
                start, filled = first, packs.fill(descriptor, view, first)
            at = first - start
            if (
                filled - at < size
                or view[at : at + 24] != header_of(packs.RECORD_MAGIC, length, digest)
                or digest_of(view[at + 24 : at + size]) != digest
            ):
                problems.append(("corrupt", path, digest.hex(), f"blob {digest.hex()} is corrupt in {path}"))
    except OSError as error:
        problems.append(("corrupt", path, None, f"pack {path} cannot be read: {reason_of(error)}"))
    finally:
        os.close(descriptor)
    return problems


def _check_files(
    content: Content,
    wanted: set[bytes] | None,
    problems: list[Problem],
    jobs: list[Job],
    seen: set[bytes],
    *,
    quick: bool,
) -> None:
    top = f"{content.root}/blobs"
    shards = _list(top, problems)
    for shard in _wanted_names(2, wanted, seen) if shards is None else shards:
        if shard.startswith(_LITTER):
            continue
        names = _list(f"{top}/{shard}", problems) if len(shard) == 2 else []
        if names is None:
            names = _wanted_names(32, wanted, seen, shard)
        elif not names and shards is not None and not os.path.isdir(f"{top}/{shard}"):
            problems.append(("extra", f"{top}/{shard}", None, f"{top}/{shard} is not a file of the store"))
        for name in names:
            path = f"{top}/{shard}/{name}"
            if not (blobs.is_digest(name) and name.startswith(shard)):
                problems.append(("extra", path, None, f"{path} is not a file of the store"))
                continue
            digest = bytes.fromhex(name)
            if wanted is not None and digest not in wanted:
                continue
            try:
                status = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                seen.add(digest)
                problems.append(("corrupt", path, name, f"blob {path} cannot be read: {reason_of(error)}"))
                continue
            seen.add(digest)
            if not stat.S_ISREG(status.st_mode):
                problems.append(("corrupt", path, name, f"{path} is not a regular file"))
            elif not quick or status.st_nlink > 1:
                jobs.append((path, b"", [(digest, status.st_size, 0)]))


def _list(directory: str, problems: list[Problem]) -> list[str] | None:
    """Return the sorted names in a directory; None, after reporting it, where it cannot be read."""
    try:
        return sorted(files.scan_names(directory))
    except (IntegrityError, StorageError) as error:
        problems.append(("corrupt", directory, None, error.message))
        return None


def _wanted_names(length: int, wanted: set[bytes] | None, seen: set[bytes], prefix: str = "") -> list[str]:
    """Return what to look for by name in a directory that cannot be listed: the beginnings of the digests not yet seen."""
    names = {digest.hex()[:length] for digest in wanted - seen} if wanted is not None else set()
    return sorted(name for name in names if name.startswith(prefix))


def _check_file(path: str, digest: bytes) -> list[Problem]:
    name = digest.hex()
    try:
        descriptor = os.open(path, files.READ)
        try:
            found, _ = blobs.hash_file(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [("corrupt", path, name, f"blob {path} cannot be read: {reason_of(error)}")]
    return [] if found == digest else [("corrupt", path, name, f"blob {name} is corrupt in {path}")]


# Mending


def write_blob_file(content: Content, digest: str, write: Callable[[int], bool]) -> bool:
    """Make `blobs/…/<digest>` from what `write` puts into an open file; a damaged one is replaced. False when it says no."""
    path = blobs.blob_path(content.root, digest)
    directory = os.path.dirname(path)
    try:
        files.make_within(content.root, directory)
        place = files.open_within(content.root, directory)
        name, temporary = os.path.basename(path), files.temporary_name()
        try:
            descriptor = os.open(temporary, files.CREATE & ~os.O_WRONLY | os.O_RDWR, 0o600, dir_fd=place)
            try:
                if not write(descriptor):
                    return False
                os.fchmod(descriptor, 0o444)
                files.fsync_file(descriptor)
            finally:
                os.close(descriptor)
            is_taken = not files.link_exclusive(temporary, name, src_dir_fd=place, dst_dir_fd=place)
            if is_taken and _check_file(path, bytes.fromhex(digest)):
                files.remove_obstacle(path, content.root)
                os.replace(temporary, name, src_dir_fd=place, dst_dir_fd=place)
            files.fsync_names(place)
        finally:
            files.unlink_quietly(temporary, dir_fd=place)
            os.close(place)
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error
    return True


def restore_blob(content: Content, digest: str, source_path: str) -> bool:
    """Put back a damaged or missing blob from a file; False when the file has other content.

    Packs in which the blob is damaged are written anew without it; the damaged ones go to the trash.
    """
    source = blobs.open_source(source_path)
    try:

        def write(target: int) -> bool:
            found, _ = blobs.copy_hashing(source, target, os.fstat(source).st_size)
            return found.hex() == digest

        if not write_blob_file(content, digest, write):
            return False
    finally:
        os.close(source)
    binary = bytes.fromhex(digest)
    content.index.close()
    for identity, length, offset in content.index.find(binary):
        if _check_records(content.index.pack_path(identity), [(binary, length, offset)]):
            mend_pack(content, identity)
    return True


def mend(content: Content) -> list[str]:
    """Write packs with a damaged frame or records anew; return the paths of those that were replaced.

    A pack stays as it is while a damaged record's content is stored nowhere else: there may still be something to save.
    """
    content.index.close()
    content.index.refresh()
    mended = []
    for identity in sorted(content.index.pack_ids()):
        path = content.index.pack_path(identity)
        rows, wrong = _rows_of(path, identity)
        if (wrong or _check_records(path, rows)) and mend_pack(content, identity):
            mended.append(path)
    return mended


def mend_pack(content: Content, identity: bytes) -> bool:
    """Replace a pack by one with its intact records; False when one of the others is stored nowhere else."""
    from regcli.store.sweep import replace_pack

    path = content.index.pack_path(identity)
    rows, _ = _rows_of(path, identity)
    bad = {bytes.fromhex(problem[2]) for problem in _check_records(path, rows) if problem[2] is not None}
    for digest in bad:
        if not _is_elsewhere(content, digest, identity):
            return False
    replace_pack(content, identity, [row for row in rows if row[0] not in bad])
    return True


def _is_elsewhere(content: Content, digest: bytes, identity: bytes) -> bool:
    path = blobs.blob_path(content.root, digest.hex())
    if os.path.exists(path) and not _check_file(path, digest):
        return True
    return any(
        other != identity and not _check_records(content.index.pack_path(other), [(digest, length, offset)])
        for other, length, offset in content.index.find(digest)
    )


def extract_blobs(content: Content, digests: Iterable[str]) -> None:
    """Give blobs that are in packs a file of their own, so that it can be linked to; best effort."""
    for digest in digests:
        if os.path.exists(blobs.blob_path(content.root, digest)):
            continue
        try:
            data = content.read(digest)
            write_blob_file(content, digest, _writer_of(data))
        except StorageError:
            # A read-only or full root: a copy does instead.
            return
        except (IntegrityError, LookupError):
            continue


def _writer_of(data: bytes) -> Callable[[int], bool]:
    def write(target: int) -> bool:
        files.write_all(target, data)
        return True

    return write
