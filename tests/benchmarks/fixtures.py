"""Builds large roots quickly, through the domain's own chains: one commit holds all versions of a collection."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from regcli.domain.collections import chain_of
from regcli.domain.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterable

ENTITY, PROJECT = "local", "default"


def make_context(path: str, **more: Any) -> Context:
    """Return a context on a root, made when it is missing."""
    context = Context(root_path=path, user="bench", uid=os.getuid(), host="here", command="bench", **more)
    context.make_root()
    return context


def record(identity: int, index: int, time: str, **more: Any) -> dict[str, Any]:
    """Return a version record as `log` writes it."""
    return {
        "id": f"{identity:016x}{index:016x}",
        "digest": f"{identity * 1_000_003 + index:032x}",
        "algorithm": "XXH128",
        "manifest": f"{identity:016x}{index:016x}",
        "manifest_sha256": "0" * 64,
        "size": 1000 * index + identity,
        "file_count": 3,
        "description": f"version {index} of number {identity}",
        "metadata": {"accuracy": (index * 37 + identity * 11) % 1000 / 1000, "epoch": index, "host": f"node{index % 8}"},
        "metrics": {"loss": 1 / (index + 1), "accuracy": (index * 17 + identity) % 1000 / 1000},
        "tags": [f"group{index % 5}", f"set{identity % 50}"],
        "ttl": "inherit",
        "inputs": [],
        "run": None,
        "created_at": time,
        "created_by": "bench",
        "updated_at": time,
        **more,
    }


def write_source(context: Context, name: str, records: Iterable[dict[str, Any]], type_name: str = "dataset") -> str:
    """Write a source collection in one commit and return its place."""
    place = f"projects/{ENTITY}/{PROJECT}/collections/{name}"
    create = {
        "op": "create", "id": f"{len(name):032x}", "kind": "source", "name": name, "entity": ENTITY, "project": PROJECT,
        "type": type_name, "description": f"the {name}", "tags": ["bench"],
    }  # fmt: skip
    versions = [{"op": "version", "version": index, "record": item} for index, item in enumerate(records)]
    aliases = [{"op": "alias", "alias": "best", "before": None, "after": 0}] if versions else []
    context.transact(chain_of(context, f"{context.root.path}/{place}", None), lambda _: [create, *versions, *aliases])
    return place


def write_links(context: Context, registry: str, name: str, source: str, records: Iterable[dict[str, Any]]) -> str:
    """Write a registry's collection that links all versions of a source, in one commit."""
    place = f"registries/{registry}/collections/{name}"
    create = {
        "op": "create", "id": f"{len(name):032x}", "kind": "link", "name": name, "type": "dataset", "description": "",
        "tags": [],
    }  # fmt: skip
    origin = {"entity": ENTITY, "project": PROJECT, "name": source.rpartition("/")[2], "place": source}
    links = [
        {
            "op": "link",
            "version": index,
            "record": {
                **item,
                "source": {**origin, "version": index},
                "linked_at": item["created_at"],
                "linked_by": "bench",
            },
        }
        for index, item in enumerate(records)
    ]
    context.transact(chain_of(context, f"{context.root.path}/{place}", None), lambda _: [create, *links])
    return place


def cpu(path: str, arguments: list[str]) -> float:
    """Return the CPU seconds of one run of the program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "regcli", "--root", path, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
