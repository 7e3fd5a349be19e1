"""Documents that mean to exhaust memory, the stack or patience: refused at once, in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from regcli.store import jsontext, packs
from regcli.store.packindex import LOCATION, encode_index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

JSON = {
    "empty": b"",
    "a NUL": b"\0",
    "one brace": b"{",
    "a list": b"[]",
    "null": b"null",
    "100,000 lists": b"[" * 100_000,
    "100,000 closed lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a 10 MB number": b'{"seq":' + b"9" * 10_000_000 + b"}",
    "a 10 MB exponent": b'{"seq":1e' + b"9" * 10_000_000 + b"}",
    "infinity": b'{"format":1e999}',
    "NaN": b'{"format":NaN,"seq":-Infinity}',
    "one key twice": b'{"format":1,"format":1}',
    "a lone surrogate": b'{"format":"\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "bad UTF-8": b'{"a":"\xff\xfe"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "a 15 MB string": b'{"a":"' + b"x" * 15_000_000 + b'"}',
    "millions of objects": b"[" + b"{}," * 3_000_000 + b"{}]",
    "millions of lists": b"[" + b"[]," * 3_000_000 + b"[]]",
    "millions of keys": b"{" + b",".join(b'"%d":0' % number for number in range(500_000)) + b"}",
    "escapes": b'{"a":"' + b"\\u0000" * 1_000_000 + b'"}',
    "text after it": b"{} {}",
}
TOML = {
    "100,000 lists": b"format = 1\na = " + b"[" * 100_000,
    "100,000 tables": b"format = 1\n" + b"a." * 20_000 + b"a = 1\n",
    "a header of 20,000 parts": b"format = 1\n[" + b"a." * 20_000 + b"a]\n",
    "a 10 MB number": b"format = 1\na = " + b"9" * 10_000_000 + b"\n",
    "a 10 MB hexadecimal number": b"format = 1\na = 0x" + b"f" * 10_000_000 + b"\n",
    "a number as format": b"format = 99999999999999999999999999\n",
    "infinity": b"format = inf\n",
    "one key twice": b"format = 1\nformat = 1\n",
    "bad UTF-8": b"format = 1\na = '\xff'\n",
    "NUL": b"format = 1\na = '\0'\n",
    "a byte order mark": b"\xef\xbb\xbfformat = 1\n",
    "a date of no calendar": b"format = 1\na = 9999-99-99\n",
}
ODD = {"a 10 MB hexadecimal number"}


@pytest.fixture
def log(invoke: Run, root: Path, zoo: Path) -> Path:
    """The log of a collection with one version."""
    invoke("log", zoo, "-n", "zoo", "-t", "dataset").ok()
    return root / "projects/local/default/collections/zoo/log"


def put(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("name", JSON)
def test_a_commit(invoke: Run, log: Path, name: str) -> None:
    put(log / "0000000002.json", JSON[name])
    for command in (("resolve", "zoo"), ("alias", "add", "zoo:v0", "x"), ("history", "zoo")):
        done = invoke(*command)
        assert done.code == 6, (command, done.stderr[:300])
        assert len(done.stderr) < 1000
    assert invoke("verify").code == 1


@pytest.mark.parametrize("name", JSON)
def test_a_head_is_only_derived(invoke: Run, log: Path, name: str) -> None:
    import xxhash

    body = JSON[name]
    for data in (body, b'{"checksum":"%s",%s' % (xxhash.xxh3_128_hexdigest(body[1:]).encode(), body[1:])):
        put(log.parent / "head.json", data)
        assert invoke("resolve", "zoo").ok().lines == ["local/default/zoo:v0"]


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"1.5,"])
def test_a_checksum_is_no_reason_to_parse_a_bomb(invoke: Run, log: Path, root: Path, unit: bytes) -> None:
    """Heads and the catalog are derived: what takes a hundred times its size is read from the log instead."""
    import xxhash

    def seal(body: bytes) -> bytes:
        return b'{"checksum":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body)

    bomb = b"[" + unit * (40_000_000 // len(unit)) + b"1]"
    assert jsontext.unseal(seal(b'"x":%s}' % bomb)) is None
    found = invoke("search", "--where", "size > 1").ok().lines
    place = next((root / "cache/catalog").iterdir())
    data = place.read_bytes()
    end = 12 + int.from_bytes(data[8:12], "little")
    header, body = json.loads(data[12:end]), data[end:]
    header["columns"]["size"] = [len(body), len(bomb)]
    body += bomb * ((1 << 30) // jsontext.weight(bomb) + 1)
    del header["checksum"]
    header["body"] = xxhash.xxh3_128_hexdigest(body)
    sealed = seal(json.dumps(header, separators=(",", ":")).encode()[1:])
    place.write_bytes(data[:8] + len(sealed).to_bytes(4, "little") + sealed + body)
    assert invoke("search", "--where", "size > 1").ok().lines == found
    assert place.stat().st_size < 1 << 20


@pytest.mark.parametrize("name", ["100,000 lists", "a 10 MB number", "bad UTF-8", "a NUL", "empty", "UTF-16"])
@pytest.mark.parametrize("place", ["settings", "registries/model/settings"])
def test_settings(invoke: Run, log: Path, root: Path, place: str, name: str) -> None:
    (root / place).mkdir(exist_ok=True, parents=True)
    put(root / place / "0000000001.json", JSON[name])
    done = invoke("link", "zoo", "model/zoo")
    assert done.code == 6, done
    assert invoke("verify").code == 1


@pytest.mark.parametrize("size", [1 << 30, 1 << 40])
def test_a_huge_file_is_not_read(invoke: Run, log: Path, root: Path, size: int) -> None:
    """Sparse files of a gigabyte and more: their size alone is enough."""
    for path, code in ((log / "0000000002.json", 6), (log.parent / "head.json", 0), (root / "regcli.toml", 6)):
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        with path.open("wb") as stream:
            stream.truncate(size)
        assert invoke("resolve", "zoo").code == code
        path.unlink()
        if before is not None:
            path.write_bytes(before)


@pytest.mark.parametrize("name", TOML)
def test_a_lock(invoke: Run, log: Path, work: Path, name: str) -> None:
    (work / "regcli.lock").write_bytes(TOML[name])
    done = invoke("sync")
    # What is odd but TOML has no pins, so that there is nothing to bring.
    assert done.code in (2, 6) or (done.code == 0 and name in ODD), done.stderr[:300]
    assert len(done.stderr) < 1000
    assert [path.name for path in work.iterdir() if path.name != "zoo.csv"] == ["regcli.lock"]


@pytest.mark.parametrize("name", TOML)
def test_settings_by_hand(invoke: Run, log: Path, work: Path, name: str) -> None:
    (work / "registry.toml").write_bytes(TOML[name])
    done = invoke("registry", "apply", "registry.toml")
    assert done.code == 2, done.stderr[:300]
    assert len(done.stderr) < 1000


@pytest.mark.parametrize("name", TOML)
def test_settings_of_the_project(invoke: Run, log: Path, work: Path, name: str) -> None:
    (work / ".regcli.toml").write_bytes(TOML[name])
    done = invoke("resolve", "zoo")
    assert done.code in (2, 6), done.stderr[:300]
    assert len(done.stderr) < 1000


@pytest.mark.parametrize(
    "name", ["100,000 lists", "a 10 MB number", "NaN", "infinity", "bad UTF-8", "UTF-16", "100,000 objects"]
)
def test_metadata(invoke: Run, log: Path, work: Path, name: str) -> None:
    (work / "meta.json").write_bytes(JSON[name])
    done = invoke("log", "zoo.csv", "-n", "zoo", "--new-version", "--meta-file", "meta.json")
    assert done.code == 2, done.stderr[:300]
    assert invoke("resolve", "zoo").ok().lines == ["local/default/zoo:v0"]


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"format = 9" * 5000, b"[" * 60_000, b"\xff\xfe", b'format = "\xe2\x80\xae"']
)
def test_the_marker_of_a_root(invoke: Run, log: Path, root: Path, data: bytes) -> None:
    put(root / "regcli.toml", data)
    done = invoke("resolve", "zoo")
    assert done.code == 6, done
    assert "\u202e" not in done.stderr


@pytest.mark.parametrize("key", ["id", "owner", "entity"])
@pytest.mark.parametrize("value", ["../../../x", "\x1b[31m", "\u202e", "a/b", "", "x" * 32, "/" * 32])
def test_values_of_the_marker(invoke: Run, log: Path, root: Path, home: Path, key: str, value: str) -> None:
    lines = (root / "regcli.toml").read_text().splitlines()
    put(
        root / "regcli.toml",
        "\n".join(f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in lines).encode(),
    )
    for command in (("resolve", "zoo"), ("ls",), ("verify",), ("member", "ls", "model")):
        done = invoke(*command)
        assert done.code in (0, 1, 2, 3, 6), done
        assert not set(done.stdout + done.stderr) & {"\x1b", "\u202e"}


@pytest.mark.parametrize(
    "data", [b"{", b'{"a"', b'{"a":', b'{"a":1,', b"[1,", b'"x', b"{1:2}", b"{'a':1}", b'{"a":tru}', b"\\"]
)
def test_a_process_that_has_not_imported_json_finds_it_out_too(run: Run, log: Path, data: bytes) -> None:
    put(log / "0000000002.json", data)
    done = run("resolve", "zoo")
    assert done.code == 6, done
    assert "is corrupt" in done.stderr


# More than the process may have.
LONG = 350 << 20


def _pack(kind: str, header: bytes, digest: bytes) -> tuple[bytes, int, bytes]:
    """Return the beginning of a hostile pack, how much of nothing follows, and its end."""
    count = 1 << 17
    if kind == "many long records":
        return header + packs.RECORD.pack(packs.RECORD_MAGIC, 8 * count, b"")[:8] * 2 * count, 0, b""
    if kind == "many short records":
        return header + packs.RECORD.pack(packs.RECORD_MAGIC, packs.SMALL - 1, b"")[:8] * 2 * count, 0, b""
    if kind == "a long record":
        return header + packs.RECORD.pack(packs.RECORD_MAGIC, LONG, digest), LONG, b""
    if kind == "a terabyte of nothing":
        return header, 1 << 40, b""
    if kind == "a long record with an index":
        # Not the manifest's, which is read as a whole and may be a gigabyte.
        digest = digest[::-1]
        rows = [(digest, LOCATION.pack(0, LONG, packs.HEADER.size + packs.RECORD.size))]
        hole, beginning = LONG, header + packs.RECORD.pack(packs.RECORD_MAGIC, LONG, digest)
    else:
        rows = [
            (digest[:8] + number.to_bytes(8, "big"), LOCATION.pack(0, 30 << 20, packs.HEADER.size + packs.RECORD.size))
            for number in range(5000)
        ]
        hole, beginning = 30 << 20, header + packs.RECORD.pack(packs.RECORD_MAGIC, 30 << 20, digest)
    index = encode_index(rows, [header[16:]])
    return beginning, hole, index + packs.footer_for(len(beginning) + hole, len(index), header)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts otherwise elsewhere")
@pytest.mark.parametrize(
    "kind",
    [
        "many long records",
        "many short records",
        "a long record",
        "a terabyte of nothing",
        "a long record with an index",
        "one record many times",
    ],
)
def test_a_pack(log: Path, root: Path, home: Path, tmp_path: Path, kind: str) -> None:
    path = next((root / "packs").glob("*.pack"))
    record = next(op["record"] for op in json.loads((log / "0000000001.json").read_bytes())["ops"] if "record" in op)
    beginning, hole, end = _pack(kind, path.read_bytes()[: packs.HEADER.size], bytes.fromhex(record["manifest"]))
    put(path, beginning)
    with path.open("r+b") as stream:
        stream.truncate(len(beginning) + hole)
        stream.seek(0, os.SEEK_END)
        stream.write(end)
    script = (
        "import resource, sys\n"
        "from regcli.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for command, code in ((["download", "zoo", "-o", str(tmp_path / "out")], 6), (["verify"], 1)):
        argv = [sys.executable, "-c", script, "--root", str(root), *command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stderr[-500:]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts otherwise elsewhere")
def test_memory_stays_bounded(log: Path, root: Path, home: Path, tmp_path: Path) -> None:
    """All JSON documents one after the other, in a process that never needs more than 300 MB."""
    for number, data in enumerate(JSON.values()):
        (tmp_path / f"bomb-{number}").write_bytes(data)
    script = (
        "import resource, shutil, sys\n"
        "from pathlib import Path\n"
        "from regcli.store.jsontext import loads\n"
        "from regcli.store.files import read_document\n"
        "from regcli.store.chain import MAX_COMMIT\n"
        "from regcli.errors import IntegrityError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20),) * 2)\n"
        "for path in sorted(Path(sys.argv[1]).glob('bomb-*')):\n"
        "    try: loads(read_document(str(path), MAX_COMMIT), 'it')\n"
        "    except IntegrityError: pass\n"
        # Not ru_maxrss: that begins with what the process that started this one had.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM:'))\n"
        "print('all', int(peak.split()[1]) < 300 << 10)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all True\n"), done.stderr[-500:]
