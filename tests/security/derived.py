"""Every kind of file of a root, its user or a project: read as a document, and written back with checksums that fit."""

from __future__ import annotations

import copy
import json
import os
import shutil
import struct
from typing import TYPE_CHECKING, Any

import xxhash

from tests.reliability.harness import Run, inside
from tests.security.forgery import read_log, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Place = tuple[str | int, ...]

WORDS = "projects/local/default"
MANUAL: dict[str, Any] = {"REGCLI_AUTOMATIONS": "manual"}
_HEAD = struct.Struct("<8sIIQII")
_FOOTER = struct.Struct("<QQ8s")
_RECORD = struct.Struct("<4sI16s")


def call(top: Path, *arguments: str | Path) -> Run:
    """Run the program on `root` below `top`, in `work`; nothing is delivered behind its back."""
    return inside(*arguments, root=top / "root", cwd=top / "work", **MANUAL)


def furnish(top: Path) -> None:
    """Make a root with some of everything, what its user keeps of it, and a project that locks a version."""
    from tests.security.conftest import make_key

    work = top / "work"
    work.mkdir(parents=True)

    def do(*arguments: str | Path) -> None:
        call(top, *arguments).ok()

    def write(name: str, content: str) -> Path:
        path = top / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    do("log", write("a.txt", "first"), "-n", "zoo", "-t", "model", "-a", "best", "--tag", "good", "--meta", "x=1",
       "--metric", "loss=0.5", "--ttl", "400d")  # fmt: skip
    do("log", write("b.txt", "second"), "-n", "zoo", "--input", "zoo:v0", "--description", "words", "--metric", "loss=0.25",
       "--run", "plain")  # fmt: skip
    write("tree/large.bin", "x" * (1 << 20))
    write("tree/small.txt", "small")
    do("log", top / "in/tree", "-n", "tree", "-t", "dataset")
    do("log", top / "in/tree", "-n", "many", "-t", "dataset")
    for number in range(9):
        do("log", write("n.txt", str(number)), "-n", "many")
    _multiply(top / "root", "many", 70)
    do("use", "zoo:v1", "--run", "evaluate")
    make_key(top / "key", "alice")
    do("trust", "add", "alice@example.org", top / "key.pub")
    do("link", "zoo:v0", "model/zoo", "-a", "production")
    do("link", "zoo:v1", "model/zoo")
    do("link", "many:v69", "dataset/many")
    do("protect", "model", "production")
    do("protect", "model", "golden", "--require-signature")
    do("alias", "add", "model/zoo:v0", "golden", "--sign-key", top / "key")
    do("member", "add", "model", "bob", "--role", "viewer")
    do("automation", "add", "hook", "--on", "tag-added", "--webhook", "http://127.0.0.1:9/", "--token-env", "TOKEN")
    do("automation", "add", "shared", "--on", "alias-added", "--scope", "model/", "--webhook", "http://127.0.0.1:9/")
    do("automation", "add", "mine", "--on", "alias-added", "--command", "false")
    do("alias", "add", "model/zoo:v1", "next")
    call(top, "automation", "deliver")
    do("automation", "rm", "shared")
    do("tag", "add", "zoo:v1", "told")
    call(top, "automation", "deliver", "--now")
    do("log", top / "in/tree", "-n", "old", "-t", "dataset")
    do("collection", "edit", "old", "--rename", "renamed")
    do("lock", "zoo:v0", "-o", "data")
    (work / ".regcli.toml").write_text('project = "default"\nwait = 5\n')
    do("delete", "many:v3")
    do("download", "tree:v0", "-o", top / "in/got")
    do("search", "zoo")
    _remember(top)
    _run(top)
    shutil.copy(top / "root/registries/model/registry.toml", work / "registry.toml")


def _run(top: Path) -> None:
    """Let a script have a run with metrics, a version and a part of one."""
    import regcli

    settings = {name: os.environ.pop(name, None) for name in ("REGCLI_ROOT", "HOME")}
    os.environ.update(REGCLI_ROOT=str(top / "root"), HOME=f"{top}/root.home-{os.geteuid()}", **MANUAL)
    try:
        regcli.teardown()
        with regcli.init(name="train", config={"lr": 0.1}, tags=["t"], group="whole") as run:
            for step in range(3):
                run.log({"loss": 1 / (step + 1), "note": "text"})
            part = regcli.Artifact("parted", "dataset", metadata={"part": 1})
            with part.new_file("part.txt") as stream:
                stream.write("part")
            run.upsert_artifact(part, distributed_id="night")
            run.log_artifact(_small(regcli))
        regcli.teardown()
    finally:
        for name in MANUAL:
            del os.environ[name]
        for name, value in settings.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _multiply(root: Path, name: str, versions: int) -> None:
    """Add versions of the same content to a collection, so many that old records lie in pages."""
    from regcli.domain.collections import chain_of
    from regcli.domain.context import Context

    context = Context(root_path=str(root), user="alice", uid=os.geteuid(), host="here", command="test")
    chain = chain_of(context, f"{root}/{WORDS}/collections/{name}", None)
    state = chain.read()
    record = {key: value for key, value in (state.records.get(0) or {}).items() if key != "state"}
    rows = [(index, {**record, "id": f"{index:032x}"}) for index in range(state.state["next"], versions)]
    context.transact(chain, lambda _: [{"op": "version", "version": index, "record": row} for index, row in rows])


def _remember(top: Path) -> None:
    """Keep in the stat cache what would be kept there a few seconds later."""
    from regcli.store.statcache import StatCache, Summary

    identity = read_toml((top / "root/regcli.toml").read_bytes())["id"]
    section = StatCache(f"{top}/root.home-{os.geteuid()}/.cache/regcli/stat/{identity}").section(f"{top}/in/tree")
    for path in sorted((top / "in/tree").iterdir()):
        section.add(path.stat(), xxhash.xxh3_128_digest(path.read_bytes()))
    section.save(2, now=lambda: 1 << 62)
    section.save_summary(Summary(bytes(16), bytes(16), 2, 1 << 20))


def _small(regcli: Any) -> Any:
    artifact = regcli.Artifact("fromrun", "model")
    with artifact.new_file("m.txt") as stream:
        stream.write("m")
    return artifact


def _xxh(data: bytes) -> bytes:
    return xxhash.xxh3_128_hexdigest(data).encode()


def seal(document: dict[str, Any]) -> bytes:
    """Return a derived document with the checksum that fits."""
    body = json.dumps(document, separators=(",", ":"))[1:].encode()
    return b'{"checksum":"%s",%s' % (_xxh(body), body)


def unseal(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(data)
    del document["checksum"]
    return document


class Kind:
    """One kind of file.

    Attributes:
        pattern: below the top directory. read: from bytes to a document. write: back, with checksums that fit.
        settle: called with the top directory, the path and the new bytes where more than the file must change.
        commands: first words of those that read it; () for all.
    """

    def __init__(
        self,
        pattern: str,
        read: Callable[[bytes], Any] = json.loads,
        write: Callable[[Any], bytes] = lambda document: json.dumps(document).encode() + b"\n",
        settle: Callable[[Path, Path, bytes], None] | None = None,
        commands: tuple[str, ...] = (),
    ) -> None:
        self.commands = commands
        self.pattern = pattern
        self.read = read
        self.write = write
        self.settle = settle

    def paths(self, top: Path) -> list[Path]:
        found = sorted(top.glob(self.pattern))
        assert found, self.pattern
        return found

    def put(self, top: Path, path: Path, document: Any) -> None:
        """Write a document in the place of a file of this kind."""
        data = self.write(document)
        if self.settle is not None:
            self.settle(top, path, data)
        else:
            path.chmod(0o644)
            path.write_bytes(data)


def _read_catalog(data: bytes) -> Any:
    end = 12 + int.from_bytes(data[8:12], "little")
    header, body = unseal(data[12:end]), data[end:]
    columns = {}
    for name, (offset, length) in header["columns"].items():
        raw = body[offset : offset + length]
        columns[name] = raw.decode() if name == "text" else json.loads(raw)
    return {"header": header, "columns": columns}


def _write_catalog(document: Any) -> bytes:
    header = copy.deepcopy(document["header"])
    body = b""
    columns = document["columns"]
    for name, value in columns.items() if isinstance(columns, dict) else ():
        raw = (
            value.encode("utf-8", "surrogatepass")
            if name == "text" and isinstance(value, str)
            else json.dumps(value, separators=(",", ":")).encode()
        )
        if isinstance(header.get("columns"), dict) and isinstance(header["columns"].get(name), list):
            table = header["columns"][name]
            if table == document["honest"].get(name):
                table[:] = [len(body), len(raw)]
        body += raw
    if header.get("body") == document["seal"]:
        header["body"] = _xxh(body).decode()
    sealed = seal(header)
    return b"".join((b"regclct1", len(sealed).to_bytes(4, "little"), sealed, body))


def _catalog(data: bytes) -> Any:
    document = _read_catalog(data)
    # What is no longer as it was is what somebody wants to see written as it is.
    document["honest"] = copy.deepcopy(document["header"]["columns"])
    document["seal"] = document["header"]["body"]
    return document


def _number(value: Any, bits: int) -> int:
    return (value if isinstance(value, int) else 0) & ((1 << bits) - 1)


def _bytes(value: Any, size: int) -> bytes:
    data = (
        bytes.fromhex(value)
        if isinstance(value, str) and not set(value) - set("0123456789abcdef") and len(value) % 2 == 0
        else b""
    )
    return data[:size].ljust(size, b"\0")


def read_index(data: bytes) -> Any:
    magic, version, bits, count, packs, zero = _HEAD.unpack_from(data)
    at = _HEAD.size
    ids = [data[at + 16 * n : at + 16 * n + 16].hex() for n in range(packs)]
    at += 16 * packs
    ends = list(struct.unpack_from(f"<{1 << bits}I", data, at))
    at += 12 << bits
    at += 16
    digests = [data[at + 16 * n : at + 16 * n + 16].hex() for n in range(count)]
    at += 16 * count
    rows = [list(struct.unpack_from("<IIQ", data, at + 16 * n)) for n in range(count)]
    return {"magic": magic.hex(), "version": version, "bits": bits, "count": count, "packs": packs, "zero": zero, "ids": ids,
            "ends": ends, "digests": digests, "rows": rows}  # fmt: skip


def write_index(document: Any) -> bytes:
    ids = [_bytes(item, 16) for item in _list(document, "ids")]
    digests = [_bytes(item, 16) for item in _list(document, "digests")]
    rows = [
        struct.pack("<IIQ", *(_number(v, b) for v, b in zip((*_items(row), 0, 0, 0), (32, 32, 64), strict=False)))
        for row in _list(document, "rows")
    ]
    ends = [_number(end, 32) for end in _list(document, "ends")]
    checks = []
    start = 0
    for end in ends:
        bucket = b"".join(digests[start : min(end, 10000)]) + b"".join(rows[start : min(end, 10000)])
        checks.append(xxhash.xxh3_64_intdigest(bucket))
        start = min(end, 10000)
    head = b"".join((
        _HEAD.pack(_bytes(document.get("magic"), 8), *(_number(document.get(key), bits) for key, bits in
                   (("version", 32), ("bits", 32), ("count", 64), ("packs", 32), ("zero", 32)))),
        *ids,
        struct.pack(f"<{len(ends)}I", *ends),
        struct.pack(f"<{len(checks)}Q", *checks),
    ))  # fmt: skip
    return b"".join((head, xxhash.xxh3_128_digest(head), *digests, *rows))


def _list(document: Any, key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def read_pack(data: bytes) -> Any:
    offset, length, magic = _FOOTER.unpack_from(data, len(data) - 40)
    return {
        "magic": data[:8].hex(), "version": int.from_bytes(data[8:12], "little"), "zero": int.from_bytes(data[12:16], "little"),
        "id": data[16:32].hex(), "records": data[32:offset].hex(), "index": read_index(data[offset : offset + length]),
        "offset": offset, "length": length, "end": magic.hex(),
    }  # fmt: skip


def write_pack(document: Any) -> bytes:
    records = document.get("records")
    data = (
        bytes.fromhex(records)
        if isinstance(records, str) and len(records) % 2 == 0 and not set(records) - set("0123456789abcdef")
        else b""
    )
    index = document.get("index")
    header = b"".join((
        _bytes(document.get("magic"), 8), _number(document.get("version"), 32).to_bytes(4, "little"),
        _number(document.get("zero"), 32).to_bytes(4, "little"), _bytes(document.get("id"), 16),
    ))  # fmt: skip
    footer = _FOOTER.pack(
        _number(document.get("offset"), 64), _number(document.get("length"), 64), _bytes(document.get("end"), 8)
    )
    encoded = write_index(index if isinstance(index, dict) else {})
    return b"".join((header, data, encoded, footer, xxhash.xxh3_128_digest(footer + header)))


def read_cache(data: bytes) -> Any:
    magic, version, width, _ = struct.unpack_from("<8sII16s", data)
    size = 40 + width
    rows = [[*struct.unpack_from("<QQQqq", data, at), data[at + 40 : at + size].hex()] for at in range(32, len(data), size)]
    return {"magic": magic.hex(), "version": version, "width": width, "rows": rows}


def write_cache(document: Any) -> bytes:
    width = _number(document.get("width"), 32)
    rows = []
    for row in _list(document, "rows"):
        values = [_number(value, 63) for value in (*_items(row)[:5], 0, 0, 0, 0, 0)[:5]]
        rows.append(struct.pack("<QQQqq", *values) + _bytes(_items(row)[5] if len(_items(row)) > 5 else "", min(width, 64)))
    body = b"".join(rows)
    head = struct.pack(
        "<8sII16s", _bytes(document.get("magic"), 8), _number(document.get("version"), 32), width, xxhash.xxh3_128_digest(body)
    )
    return head + body


def read_summary(data: bytes) -> Any:
    magic, version, _, listing, digest, files, size = struct.unpack("<8sI16s16s16sQQ", data)
    return {
        "magic": magic.hex(),
        "version": version,
        "listing": listing.hex(),
        "digest": digest.hex(),
        "files": files,
        "bytes": size,
    }


def write_summary(document: Any) -> bytes:
    body = b"".join((
        _bytes(document.get("listing"), 16), _bytes(document.get("digest"), 16),
        struct.pack("<QQ", _number(document.get("files"), 64), _number(document.get("bytes"), 64)),
    ))  # fmt: skip
    return (
        struct.pack(
            "<8sI16s", _bytes(document.get("magic"), 8), _number(document.get("version"), 32), xxhash.xxh3_128_digest(body)
        )
        + body
    )


def read_lines(data: bytes) -> Any:
    return [json.loads(line) for line in data.splitlines()]


def write_lines(document: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in document)


def read_toml(data: bytes) -> Any:
    import tomllib

    return tomllib.loads(data.decode())


def write_toml(document: Any) -> bytes:
    import tomli_w

    try:
        return tomli_w.dumps(_no_nulls(document)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, AttributeError, RecursionError):
        return b"".join(f"{key} = {json.dumps(value)}\n".encode() for key, value in document.items())


def _no_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_nulls(item) for key, item in value.items() if item is not None}
    return [_no_nulls(item) for item in value if item is not None] if isinstance(value, list) else value


def write_marker(document: Any) -> bytes:
    """Return `regcli.toml` with the checksum that fits."""
    lines = []
    for key, value in document.items():
        if key != "checksum":
            text = "true" if value is True else "false" if value is False else value if isinstance(value, int) else f'"{value}"'
            lines.append(f"{key} = {text}\n")
    body = "".join(lines).encode("utf-8", "replace")
    return body + b'checksum = "%s"\n' % _xxh(body)


def _settle_page(top: Path, path: Path, data: bytes) -> None:
    """Give a page the name that its checksum asks for, and let the head list it."""
    del top
    name = f"{path.name[:22]}{data[13:29].decode()}.json"
    head = path.parent.parent / "head.json"
    document = unseal(head.read_bytes())
    for page in document["records"]["pages"]:
        if page[2] == path.name:
            page[2] = name
    head.write_bytes(seal(document))
    path.unlink()
    (path.parent / name).write_bytes(data)


def _settle_log(top: Path, path: Path, data: bytes) -> None:
    """Write one commit and all after it, so that every hash fits."""
    del top
    commits = read_log(path.parent)
    commits[int(path.stem) - 1] = json.loads(data)
    log = path.parent
    write_log(log, commits)


HOME = "root.home-*"
CONTENT = ("show", "download", "verify", "gc", "log", "export", "du", "sync")
RUNS = ("use", "verify", "history", "lineage", "show", "compare", "search")
TOLD = ("automation", "verify", "doctor", "tag", "alias")
SEEN = ("resolve", "show", "alias", "verify", "trust", "download", "history", "ls")
KINDS = {
    "head of a source": Kind(f"root/{WORDS}/collections/zoo/head.json", unseal, seal),
    "head of links": Kind("root/registries/model/collections/zoo/head.json", unseal, seal),
    "head of settings": Kind("root/registries/model/head.json", unseal, seal),
    "head of the root": Kind("root/head.json", unseal, seal),
    "head of a run": Kind(f"root/{WORDS}/runs/train/head.json", unseal, seal, commands=RUNS),
    "head of parts": Kind(f"root/{WORDS}/parts/*/*/head.json", unseal, seal, commands=("gc", "verify", "history")),
    "page": Kind(f"root/{WORDS}/collections/many/pages/*.json", unseal, seal, _settle_page,
                 ("ls", "show", "search", "verify", "delete", "undelete", "history")),
    "settings of the root": Kind("root/settings/*.json", settle=_settle_log),
    "source": Kind(f"root/{WORDS}/collections/zoo/log/*.json", settle=_settle_log),
    "redirect": Kind(f"root/{WORDS}/collections/old/log/*.json", settle=_settle_log),
    "settings": Kind("root/registries/model/settings/*.json", settle=_settle_log),
    "links": Kind("root/registries/model/collections/zoo/log/*.json", settle=_settle_log),
    "run": Kind(f"root/{WORDS}/runs/train/log/*.json", settle=_settle_log, commands=RUNS),
    "plain run": Kind(f"root/{WORDS}/runs/evaluate/log/*.json", settle=_settle_log, commands=RUNS),
    "parts": Kind(f"root/{WORDS}/parts/*/*/log/*.json", settle=_settle_log, commands=("gc", "verify", "history", "export")),
    "metrics": Kind(f"root/{WORDS}/runs/train/metrics.jsonl", read_lines, write_lines, commands=("verify", "use")),
    "catalog": Kind("root/cache/catalog/*", _catalog, _write_catalog, commands=("search", "compare", "ls", "verify")),
    "pack": Kind("root/packs/*.pack", read_pack, write_pack, commands=CONTENT),
    "index of packs": Kind("root/packs/index/*.idx", read_index, write_index, commands=CONTENT),
    "marker of a pointer": Kind("root/backrefs/*/*/*.json", commands=("verify", "delete", "gc", "show", "lineage", "search")),
    "notice": Kind("root/outbox/*.json", commands=TOLD),
    "tries": Kind("root/outbox/*.tries-*", read_lines, write_lines, commands=TOLD),
    "notice that is done": Kind("root/outbox/done/*.json", commands=TOLD),
    "marker of the root": Kind("root/regcli.toml", read_toml, write_marker),
    "settings by hand": Kind("work/registry.toml", read_toml, write_toml, commands=("registry",)),
    "lock": Kind("work/regcli.lock", read_toml, write_toml, commands=("lock", "sync", "gc")),
    "settings of the project": Kind("work/.regcli.toml", read_toml, write_toml, commands=("resolve", "config", "ls", "sync")),
    "stat cache": Kind(f"{HOME}/.cache/regcli/**/*-16", read_cache, write_cache, commands=("log", "download", "verify")),
    "summary": Kind(f"{HOME}/.cache/regcli/**/*-all", read_summary, write_summary, commands=("log", "download", "verify")),
    "notice of one's own": Kind(f"{HOME}/.local/state/regcli/outbox/*/*.json", commands=TOLD),
    "what was seen": Kind(f"{HOME}/.local/state/regcli/seen/*.json", commands=SEEN),
    "released automations": Kind(f"{HOME}/.config/regcli/released.json", commands=TOLD),
    "own automations": Kind(f"{HOME}/.config/regcli/automations.json", commands=TOLD),
}  # fmt: skip
