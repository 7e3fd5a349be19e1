"""Lineage over many edges: CPU over the start of the program, for a chain of versions and for one input with many consumers.

python -m tests.benchmarks.lineage [EDGES …]
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from regcli.store import backrefs, files
from tests.benchmarks.fixtures import cpu, make_context, record, write_source

CHAIN = "projects/local/default/collections/chain"
FAN = "projects/local/default/collections/fan"


def build(path: str, edges: int) -> None:
    """Write a chain in which every version was made from the one before, and a version that all of another collection use."""
    context = make_context(path)
    files.fsync_file = lambda descriptor: None  # noqa: ARG005 - the fixture need not survive a power cut
    files.fsync_names = lambda descriptor: None  # noqa: ARG005 - the same
    time = context.now()

    def edge(place: str, name: str, version: int, identity: str) -> dict[str, Any]:
        return {
            "ref": f"local/default/{name}:v{version}",
            "place": place,
            "version": version,
            "id": identity,
            "digest": "0" * 32,
        }

    records: list[dict[str, Any]] = []
    for index in range(edges + 1):
        item = record(1, index, time)
        if records:
            item["inputs"] = [edge(CHAIN, "chain", index - 1, records[-1]["id"])]
            backrefs.add_backref(path, records[-1]["id"], backrefs.INPUT, CHAIN, index)
        records.append(item)
    write_source(context, "chain", records)
    origin = record(2, 0, time)
    write_source(context, "origin", [origin])
    users = []
    for index in range(edges):
        item = record(3, index, time)
        item["inputs"] = [edge("projects/local/default/collections/origin", "origin", 0, origin["id"])]
        backrefs.add_backref(path, origin["id"], backrefs.INPUT, FAN, index)
        users.append(item)
    write_source(context, "fan", users)


def main() -> None:
    """Measure each size."""
    for edges in [int(word) for word in sys.argv[1:]] or [100, 1000, 10_000]:
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/root"
            build(path, edges)
            start = min(cpu(path, ["show", "origin", "--json"]) for _ in range(2))
            figures = {
                "chain up": ["lineage", "chain:latest", "--direction", "up", "--json"],
                "chain down": ["lineage", "chain:v0", "--direction", "down", "--json"],
                "fan down": ["lineage", "origin", "--direction", "down", "--format", "tree"],
            }
            shown = "  ".join(
                f"{name} {(min(cpu(path, words) for _ in range(2)) - cpu(path, ['resolve', 'origin'])) * 1000:.0f} ms"
                for name, words in figures.items()
            )
            print(f"{edges} edges: (show {start * 1000:.0f} ms)  {shown}")


if __name__ == "__main__":
    main()
