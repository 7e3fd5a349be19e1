"""What somebody can do who makes a bundle: any document, any member, any bytes, with checksums that fit."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import xxhash

from regcli.store.manifest import manifest_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INDEX = "regcli-bundle.json"
END = "end.json"


class Bundle:
    """The members of a bundle, to be edited.

    Attributes:
        index: the document of `regcli-bundle.json`. chains: name -> commits. blobs: digest -> bytes.
    """

    def __init__(self, path: Path) -> None:
        self.chains: dict[str, list[dict[str, Any]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.index: dict[str, Any] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                assert stream is not None
                data = stream.read()
                if member.name == INDEX:
                    self.index = json.loads(data)
                elif member.name.startswith("chains/"):
                    self.chains[member.name] = [json.loads(line) for line in data.splitlines()]
                elif member.name.startswith("blobs/"):
                    self.blobs[member.name[6:]] = data

    def documents(self) -> list[Any]:
        """Return the index and the commits: what there is to edit."""
        return [self.index, *(commit for commits in self.chains.values() for commit in commits)]

    def ops(self, name: str) -> list[dict[str, Any]]:
        """Return the operations of one kind, of all chains."""
        return [op for commits in self.chains.values() for commit in commits for op in commit["ops"] if op["op"] == name]

    def texts(self) -> dict[str, bytes]:
        """Return the members that are documents."""
        texts = {INDEX: json.dumps(self.index).encode()}
        for name, commits in self.chains.items():
            texts[name] = b"".join(json.dumps(commit).encode() + b"\n" for commit in commits)
        return texts

    def write(self, path: Path, texts: dict[str, bytes] | None = None, end: bytes | None = None) -> Path:
        """Write it, `texts` in the place of documents of these names, and an end that fits unless there is another."""
        members = {**self.texts(), **(texts or {})}
        checksums = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
        members.update({f"blobs/{digest}": data for digest, data in self.blobs.items()})
        members[END] = json.dumps({"blobs": len(self.blobs), "sha256": checksums}).encode() if end is None else end
        with tarfile.open(path, "w") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    def blob(self, data: bytes) -> str:
        """Take bytes in under their digest."""
        digest: str = xxhash.xxh3_128_hexdigest(data)
        self.blobs[digest] = data
        return digest

    def manifest(self, data: bytes, **more: Any) -> None:
        """Make these bytes the manifest of the first version, and of the link to it: blob, record and hashes all fit."""
        found = {"manifest": self.blob(data), "manifest_sha256": hashlib.sha256(data).hexdigest(), **more}
        for op in (*self.ops("version")[:1], *self.ops("link")[:1]):
            op["record"].update(found)

    def entries(self, rows: Sequence[Any]) -> None:
        """Make these rows the manifest of the first version, whose digest, size and number of files fit as far as can be."""
        header = {"format": 1, "algorithm": "XXH128", "entries": len(rows)}
        lines = [json.dumps(value, separators=(",", ":")) for value in (header, *rows)]
        more: dict[str, Any] = {"algorithm": "XXH128", "file_count": len(rows)}
        try:
            more["digest"] = manifest_digest([(*row, None) if len(row) == 4 else tuple(row) for row in rows])
            more["size"] = max(0, int(sum(row[2] for row in rows)))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            more["size"] = 0
        self.manifest("".join(f"{line}\n" for line in lines).encode(), **more)
