"""Names, paths and documents that mean harm, and a root that an attacker has prepared with them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import xxhash

from tests.security.forgery import read_log, write_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# What leaves the target, or would where somebody reads it otherwise: refused by whoever reads the manifest.
ESCAPES = (
    "../x", "..", "a/../../x", "a/..", "a/../b", "./../x", "/etc/x", "/", "//x", "///etc/x", "a//b", "a/", "./a", "a/./b",
    ".", "",
    "..\\x", "a\\..\\..\\x", "\\x", "\\\\server\\share\\x", "C:\\x", "C:/x", "c:x", "z:", "a\0b", "\0", "..\0", "a/\0/b",
    "../", "/..",
    "a/b/../../../x", "....//..//x", "..//x", "a/..\\..\\x", "..\\../x", "\\..\\x", "//server/share/x", "\\/x", "/\\x",
    "C:\\..\\x",
)  # fmt: skip
# What stays inside, however strange: written under exactly this name.
STRANGE = (
    "CON", "NUL", "con.txt", "COM1", "LPT1", "CONIN$", "COM\u00b9", "aux.", "a.", "a ", " a", "ab:stream", "PROGRA~1",
    "git~1", ".git",
    ".GIT/config", ".git/hooks/post-checkout", ".regcli/regcli.toml", "-rf", "--help", "~", "~root/x", "$HOME", "$(id)",
    "`id`", "%2e%2e/x",
    "..%2fx", "%00", "a;id", "a|id", "a&id", "*", "?", "[a]", "...", "....", "..a", "a..", ".a", "#", "#?x", "?x#", "file:x",
    "http:",
    "\u2024\u2024/x", "\uff0e\uff0e/x", "..\u2215x", "\u2025/x", "a\u202egnp.exe", "a\u200bb", "a\ufeffb", "\x1b[31mred",
    "a\nb", "a\rb",
    "a\tb", "a\x7fb", "\x9b31m", "\x07", "K", "\u212a", "\u2126", "\u00df", "SS", "\ufb01", "cafe\u0301", "caf\u00e9",
    "\u0130", "\u0131",
    "x" * 255, "\u00e9" * 127, "/".join(["d" * 50] * 60), "\U000e0041", "a\u2028b", "%s%n", "{0}", "x\\y", "'", '"', "''",
)  # fmt: skip


class Planted:
    """A root whose collection `local/default/zoo` an attacker writes to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "projects/local/default/collections/zoo/log"

    def blob(self, data: bytes) -> str:
        """Store bytes under their digest, as a file."""
        digest = xxhash.xxh3_128_hexdigest(data)
        path = self.root / "blobs" / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return digest

    def manifest(self, data: bytes) -> None:
        """Make these bytes the manifest of v0: blob, record and hashes all fit."""
        address = self.blob(data)
        commits = read_log(self.log)
        record = next(op for commit in commits for op in commit["ops"] if op["op"] == "version")["record"]
        record.update(manifest=address, manifest_sha256=hashlib.sha256(data).hexdigest())
        write_log(self.log, commits)

    def entries(self, rows: Sequence[Any], *, algorithm: str = "XXH128") -> None:
        """Make these rows the manifest of v0."""
        header = {"format": 1, "algorithm": algorithm, "entries": len(rows)}
        lines = [json.dumps(value, separators=(",", ":")) for value in (header, *rows)]
        self.manifest("".join(f"{line}\n" for line in lines).encode())
