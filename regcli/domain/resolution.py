"""What `resolve` answers: one line, or the promised fields."""

from __future__ import annotations

from regcli.domain.resolving import source_of
from regcli.store.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.resolving import Version


def resolution_line(context: Context, version: Version, *, digest: bool, source: bool, path: bool) -> str:
    """Return the one line that `resolve` prints."""
    if source:
        version = source_of(context, version)
    if digest:
        return version.digest
    if path and version.collection.registry is not None:
        return f"wandb-registry-{version.ref}"
    return version.ref


def resolution_document(context: Context, version: Version) -> dict[str, Any]:
    """Return the promised JSON fields of `resolve`."""
    return {
        "ref": version.ref,
        "version": version.version,
        "digest": version.digest,
        "source": source_of(context, version).ref,
        "seq": version.collection.snapshot.seq,
    }


def resolution_json(context: Context, version: Version) -> str:
    """Return the JSON document of `resolve`, without the cost of importing `json`."""
    return dumps({"schema_version": 1, **resolution_document(context, version)})
