"""The files of a version: listed, and one of them read."""

from __future__ import annotations

from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import resolve
from regcli.errors import IntegrityError, NotFoundError, UsageError
from regcli.model import quote
from regcli.store.manifest import EXECUTABLE, REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.resolving import Version
    from regcli.store.manifest import Entry

_BLOCK = 1 << 20


def is_reference(entry: Entry) -> bool:
    """Tell whether an entry's content is kept elsewhere."""
    return bool(entry[3] & REFERENCE)


def is_executable(entry: Entry) -> bool:
    """Tell whether an entry is an executable file."""
    return bool(entry[3] & EXECUTABLE)


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry as `files --json` prints it."""
    path, digest, size, flags, extra = entry
    document: dict[str, Any] = {"path": path, "digest": digest, "size": size, "executable": bool(flags & EXECUTABLE)}
    if flags & REFERENCE and extra is not None:
        document["ref"] = extra["ref"]
        document["check"] = extra.get("check", "size")
        if document["check"] in ("xxh128", "md5"):
            from regcli.store.elsewhere import hex_of

            # A manifest keeps the digest of a reference as the original does; one that is a file's is shown as every file's.
            document["digest"] = hex_of(digest) or digest
        for key in ("etag", "version_id"):
            if key in extra:
                document[key] = extra[key]
    if extra is not None and "md5" in extra:
        document["md5"] = extra["md5"]
    if extra is not None and "object" in extra:
        document["object"] = extra["object"]
    return document


def list_files(context: Context, text: str, pattern: str | None = None) -> tuple[Version, list[Entry]]:
    """Return the version and its entries, sorted by path.

    Args:
        context: who asks, and where.
        text: a reference.
        pattern: a gitignore pattern or a directory; only what matches.
    """
    version = resolve(context, text)
    entries = read_manifest(context, version.record)
    if pattern is not None:
        from regcli.domain.download import choose_entries

        entries = choose_entries(entries, include=[pattern])
    return version, entries


def read_file(context: Context, text: str, path: str) -> Iterator[bytes]:
    """Yield the bytes of one file of a version, checked against its digest.

    Raises:
        NotFoundError: the version has no such file; the nearest is named.
    """
    version = resolve(context, text, action="download")
    entries = read_manifest(context, version.record)
    wanted = path.removeprefix("./")
    entry = next((entry for entry in entries if entry[0] == wanted), None)
    if entry is None:
        from regcli.domain.nearest import nearest

        if any(item[0].startswith(f"{wanted.rstrip('/')}/") for item in entries):
            raise UsageError(f"{quote(path)} is a directory in {quote(version.ref)}")
        close = nearest(wanted, [item[0] for item in entries[:20000]])
        hint = f"did you mean {quote(close)}?" if close else f"`regcli files {version.ref}` lists them"
        raise NotFoundError(f"{quote(version.ref)} has no file {quote(path)}", hint=hint)
    if entry[3] & REFERENCE:
        from regcli.domain.fetching import stream_reference

        return stream_reference(context, entry)
    if version.seal is None:
        return stream_proven(context, entry)
    return _read_signed(context, version, entries, entry)


def stream_proven(context: Context, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a stored file; all of them are proven before the first is given away.

    Raises:
        IntegrityError: the blob is damaged, or has another size than the manifest says.
    """
    content = context.root.content
    found = 0
    # Once to prove it, once to give it away: a large file does not fit into memory, and a pipe takes nothing back.
    for chunk in content.stream(entry[1]):
        found += len(chunk)
        if found > entry[2]:
            # However large it is, no more of it is read.
            break
    if found != entry[2]:
        has = "more" if found > entry[2] else str(found)
        raise IntegrityError(
            f"the manifest says that {quote(entry[0])} has {entry[2]} bytes, but its blob has {has}",
            hint="run `regcli verify` to see all damage",
        )
    yield from content.stream(entry[1])


def _read_signed(context: Context, version: Version, entries: list[Entry], entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a file of a signed version; all of them are proven before the first is given away."""
    from regcli.domain.sealing import proofs_of
    from regcli.store.proofs import digest_of, new_hasher

    content = context.root.content
    proofs = proofs_of(context, version, entries)
    if proofs is None:
        return
    # Once to prove it, once to give it away, since a large file does not fit into memory. Somebody may write to the store in
    # between: what was proven is remembered block by block.
    whole = new_hasher()
    proven = []
    for block in _blocks(content.stream(entry[1])):
        whole.update(block)
        proven.append(digest_of(block))
    proofs.require(entry[1], whole.digest(), entry[0])
    for number, block in enumerate(_blocks(content.stream(entry[1]))):
        if number >= len(proven) or digest_of(block) != proven[number]:
            raise proofs.refusal([entry[0]])
        yield block


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in blocks of one size, whatever came with one call."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        while len(rest) >= _BLOCK:
            yield rest[:_BLOCK]
            rest = rest[_BLOCK:]
    if rest:
        yield rest
