"""What somebody with write access to a whole root can do: rewrite logs so that every hash fits, swap bytes, plant files.

Nothing here uses the program's own writing code: an attacker would not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Commit = dict[str, Any]
GENESIS = "0" * 64


def twins(size: int = 2048, one: bytes = b"good", other: bytes = b"evil") -> tuple[bytes, bytes]:
    """Return two different contents of one size with one XXH3-128.

    In its loop over 64-byte stripes, XXH3 adds low32(lane ^ secret) * high32(lane ^ secret) to one accumulator and the lane
    itself to its neighbour. Where the low half of a lane equals the secret's, the product is 0 whatever the high half is; two
    such lanes, the first of the first two stripes, may then swap their high halves: all sums stay as they were.
    """
    assert size >= 1088
    assert len(one) == len(other) == 4
    content = bytearray(size)
    content[0:4] = bytes.fromhex("b8fe6c39")
    content[64:68] = bytes.fromhex("7c01812c")
    first, second = bytearray(content), bytearray(content)
    first[4:8], first[68:72] = one, other
    second[4:8], second[68:72] = other, one
    return bytes(first), bytes(second)


def read_log(log: Path) -> list[Commit]:
    """Return the commits of a log."""
    return [json.loads(path.read_bytes()) for path in sorted(log.glob("*.json"))]


def write_log(log: Path, commits: Sequence[Commit], *, keep_head: bool = False) -> None:
    """Write a whole log anew, so that every number and hash fits, and remove what is derived from it."""
    for path in log.glob("*.json"):
        path.unlink()
    prev = GENESIS
    for seq, commit in enumerate(commits, 1):
        data = json.dumps({**commit, "seq": seq, "prev": prev}, separators=(",", ":")).encode() + b"\n"
        (log / f"{seq:010d}.json").write_bytes(data)
        prev = hashlib.sha256(data).hexdigest()
    if not keep_head:
        forget_head(log.parent)


def forget_head(base: Path) -> None:
    """Remove the derived files of a log; they are made again from it."""
    (base / "head.json").unlink(missing_ok=True)
    shutil.rmtree(base / "pages", ignore_errors=True)


def rewrite(log: Path, change: Callable[[list[Commit]], list[Commit] | None]) -> None:
    """Let `change` edit the commits of a log (in place, or by returning others)."""
    commits = read_log(log)
    write_log(log, change(commits) or commits)


def append(log: Path, ops: Sequence[Commit], **fields: Any) -> None:
    """Add one commit with these operations to a log, as its last writer would have."""

    def change(commits: list[Commit]) -> list[Commit]:
        return [*commits, {**commits[-1], "txn": "0" * 16, **fields, "ops": list(ops)}]

    rewrite(log, change)


def swap_bytes(root: Path, old: bytes, new: bytes) -> int:
    """Replace bytes wherever the root's packs and blobs have them; returns in how many files."""
    assert len(old) == len(new)
    changed = 0
    for path in [*(root / "packs").glob("*.pack"), *(root / "blobs").glob("*/*")]:
        data = path.read_bytes()
        if old in data:
            path.chmod(0o644)
            path.write_bytes(data.replace(old, new))
            path.chmod(0o444)
            changed += 1
    return changed


def seal_head(base: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the head of a log and give it the checksum that fits."""
    import xxhash

    path = base / "head.json"
    document = json.loads(path.read_bytes())
    del document["checksum"]
    change(document)
    body = json.dumps(document, separators=(",", ":"))[1:].encode()
    path.write_bytes(b'{"checksum":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body))
