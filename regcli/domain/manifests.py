"""The manifest of a version: read, checked against what its commit says, and filtered."""

from __future__ import annotations

from regcli.errors import IntegrityError
from regcli.model import quote
from regcli.store.blobs import is_digest
from regcli.store.manifest import REFERENCE, decode_manifest, plain_digests
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.manifest import Decoder, Entry


def read_manifest(context: Context, record: dict[str, Any], decoder: Decoder | None = None) -> list[Entry]:
    """Return the entries of a version, sorted by path; a `decoder` is for those who read many versions that are much alike.

    Raises:
        IntegrityError: the manifest is missing, damaged, or not the one that the commit names.
    """
    data = _read(context, record)
    where = f"manifest {record['manifest']}"
    return decode_manifest(data, where)[1] if decoder is None else decoder.decode(data, where)


def has_manifest(context: Context, record: dict[str, Any]) -> bool:
    """Tell whether the manifest of a version can be read."""
    try:
        _read(context, record)
    except IntegrityError:
        return False
    return True


def is_stored(context: Context, record: dict[str, Any]) -> bool:
    """Tell whether the manifest of a version can be read and all blobs that it names are there; nothing else is read."""
    try:
        data = _read(context, record)
        digests = plain_digests(data)
        if digests is None:
            entries = decode_manifest(data, f"manifest {record['manifest']}")[1]
            digests = {bytes.fromhex(entry[1]) for entry in entries if entry[3] != REFERENCE}
    except IntegrityError:
        return False
    return len(context.root.content.have_binary(digests)) == len(digests)


def _read(context: Context, record: dict[str, Any]) -> bytes:
    address = record["manifest"]
    if not isinstance(address, str) or not is_digest(address):
        shown = quote(str(address)[:40])
        raise IntegrityError(f"a version's record is corrupt: {shown} is no manifest", hint="run `regcli verify`")
    data = context.root.content.read(address)
    if sha256_hex(data) != record["manifest_sha256"]:
        raise IntegrityError(
            f"manifest {address} is not the one that the history names: its SHA-256 differs", hint="run `regcli verify`"
        )
    return data
