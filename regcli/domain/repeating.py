"""What the commits of a bundle become in this root: the operations that repeat them here."""

from __future__ import annotations

from regcli.domain.roles import is_signed
from regcli.model import fold, quote
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.registries import Registry
    from regcli.model import CollectionRef

    Operation = dict[str, Any]
    Commit = dict[str, Any]


def creation(
    entry: dict[str, Any], ref: CollectionRef, first: Commit | None, origin: str, registry: Registry | None
) -> Operation:
    """Return the operation that makes a collection of a bundle here, where `first` is the first of its commits.

    Args:
        entry: what the bundle's index says of it.
        ref: its reference.
        first: for the time and user.
        origin: the id of the root that it comes from.
        registry: the one it lies in, or None for a project's or where that registry is still to be made.
    """
    made: Operation = {
        "op": "create",
        "id": sha256_hex(f"{origin}:{entry['place']}".encode())[:32],
        "kind": entry["kind"],
        "name": str(ref.name),
        "type": entry["type"],
        "description": entry["description"],
        "tags": entry["tags"],
    }
    if first is not None:
        made.update(created_at=first["time"], created_by=first["user"])
    if registry is not None:
        made["registry"] = registry.state["id"]
    elif ref.entity is not None:
        made.update(entity=str(ref.entity), project=str(ref.project))
    return made


def operations(
    registry: Registry | None,
    where: str,
    state: dict[str, Any],
    ops: list[Operation],
    places: dict[str, str],
    known: dict[int, str],
    remarks: list[str],
    *,
    whole: bool,
) -> list[Operation]:
    """Return the operations of a commit as they apply to a collection in this state.

    Args:
        registry: the one it lies in, or None.
        where: its reference, for remarks.
        state: of the collection here.
        ops: of the bundle's commit.
        places: directory of a collection in the bundle's root -> here.
        known: ids of the versions that are here already.
        remarks: takes what is left as it is here.
        whole: whether the bundle has all versions of the collection.
    """
    kept: list[Operation] = []
    following = state["next"]
    for op in ops:
        name = op["op"]
        if name in ("create", "remove"):
            continue
        if name == "reserve":
            # Of some versions only, the numbers of those decide.
            if whole and op["version"] > following:
                kept.append(op)
                following = op["version"]
            continue
        if name in ("version", "link"):
            if op["version"] in known:
                continue
            if op["version"] > following:
                kept.append({"op": "reserve", "version": op["version"]})
            kept.append({**op, "record": _moved(op["record"], places)})
            following = op["version"] + 1
        elif name == "unlink" and (signed := _signed_alias(registry, state, op["version"])) is not None:
            version = f"{where}:v{op['version']}"
            remarks.append(f"{quote(version)} holds the signed alias {quote(signed)} and was left linked")
        elif name == "alias":
            kept.extend(_alias(registry, where, state, op, known, remarks, whole=whole))
        elif whole or op["version"] not in known:
            kept.append(op)
    return kept


def _signed_alias(registry: Registry | None, state: dict[str, Any], index: int) -> str | None:
    """Return an alias of a version that must be signed here, which no bundle may take away."""
    return next(
        (
            shown
            for shown, holder in state["aliases"].values()
            if holder == index and registry is not None and is_signed(registry.state, shown)
        ),
        None,
    )


def _moved(record: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """Return a record whose places are those of this root."""
    moved = {**record, "inputs": [{**item, "place": places.get(item["place"], item["place"])} for item in record["inputs"]]}
    source = record.get("source")
    if source is not None:
        moved["source"] = {**source, "place": places.get(source["place"], source["place"])}
    return moved


def _alias(
    registry: Registry | None,
    where: str,
    state: dict[str, Any],
    op: Operation,
    known: dict[int, str],
    remarks: list[str],
    *,
    whole: bool,
) -> list[Operation]:
    """Return an alias operation as it applies here; an alias that this root has put elsewhere itself stays there."""
    held = state["aliases"].get(fold(op["alias"]))
    if registry is not None and is_signed(registry.state, op["alias"]):
        remarks.append(f"alias {quote(op['alias'])} of {quote(where)} needs a signature here and was left out")
        return []
    after = op["after"]
    if not whole and (after in known or (held is not None and after is not None)):
        if held is None or held[1] != after:
            remarks.append(f"alias {quote(op['alias'])} of {quote(where)} was left as it is here")
        return []
    before = held[1] if held is not None else None
    return [] if before == after else [{"op": "alias", "alias": op["alias"], "before": before, "after": after}]
