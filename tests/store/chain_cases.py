"""A small log for the tests of chains: versions with a value each, and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regcli.store.chain import Chain

if TYPE_CHECKING:
    from pathlib import Path

    from regcli.store.records import Records

ROOT_ID = "7a" * 16
ENVELOPE = {"time": "2026-11-30T08:15:00.000000Z", "user": "alice", "uid": 1000, "host": "lab1", "command": "test"}


def initial() -> dict[str, Any]:
    return {"next": 0, "notes": []}


def reduce(state: dict[str, Any], records: Records, commit: dict[str, Any]) -> None:
    for op in commit["ops"]:
        if op["op"] == "version":
            records.put(op["version"], {"value": op["value"]})
            state["next"] = op["version"] + 1
        elif op["op"] == "change":
            record = records.get(op["version"])
            if record is None:
                raise ValueError(f"there is no version {op['version']}")
            records.put(op["version"], {**record, "value": op["value"]})
        elif op["op"] == "note":
            state["notes"].append(op["text"])
        else:
            raise ValueError(f"unknown operation {op['op']!r}")


def make_chain(root: Path, place: str = "projects/local/default/collections/zoo", root_id: str = ROOT_ID) -> Chain:
    base = root / place if place else root
    base.mkdir(parents=True, exist_ok=True)
    return Chain(str(base), f"{base}/log", root_id, reduce, initial, place)


def add(chain: Chain, *ops: dict[str, Any], head: bool = True) -> int:
    """Append one commit; returns its number."""
    snapshot = chain.read()
    assert chain.append(snapshot, ENVELOPE, list(ops)) is not None
    if head:
        chain.write_head(snapshot)
    return snapshot.seq


def add_versions(chain: Chain, count: int, *, head: bool = True) -> None:
    """Append `count` versions, one commit each, whose value is their number."""
    snapshot = chain.read()
    for _ in range(count):
        index = snapshot.state["next"]
        assert chain.append(snapshot, ENVELOPE, [{"op": "version", "version": index, "value": index}]) is not None
        if head:
            chain.write_head(snapshot)


def note(text: str) -> dict[str, Any]:
    return {"op": "note", "text": text}
