"""A manifest that an attacker wrote into the store, with every hash right: nothing outside the target is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from regcli.errors import RegcliError
from tests.security.forgery import read_log, write_log
from tests.security.hostile import ESCAPES, STRANGE, Planted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

CONTENT = b"content"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with `local/default/zoo:v0`, made once."""
    from regcli.domain.context import Context
    from regcli.domain.log import log_version
    from regcli.domain.log_request import LogRequest
    from regcli.model import TypeName
    from regcli.store.ingest import Source

    base = tmp_path_factory.mktemp("hostile")
    (base / "file").write_bytes(CONTENT)
    request = LogRequest("zoo", TypeName.parse("dataset"))
    request.sources = [Source(str(base / "file"), "file")]
    log_version(Context(root_path=str(base / "root"), user="mallory", uid=1, host="lab"), request)
    return base / "root"


@pytest.fixture
def planted(prepared: Path, root: Path) -> Planted:
    """A copy of the root, for this test's manifest."""
    shutil.copytree(prepared, root)
    return Planted(root)


def everything(*tops: Path) -> dict[str, tuple[int, int]]:
    """Return what is below some directories: path -> (mode, time)."""
    found = {}
    for top in tops:
        for path in [top, *top.rglob("*")]:
            status = path.lstat()
            found[str(path)] = (status.st_mode, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("path", ESCAPES, ids=repr)
def test_a_path_that_leaves_the_target_is_refused(planted: Planted, invoke: Run, work: Path, home: Path, path: str) -> None:
    planted.entries([[path, planted.blob(CONTENT), len(CONTENT), 0]])
    target = work / "deep/target"
    target.mkdir(parents=True)
    before = everything(work, home)
    for command in (("download", "zoo", "-o", target), ("checkout", "zoo", target, "--force")):
        done = invoke(*command)
        assert done.code == 6, done
        assert "\0" not in done.stderr
    assert everything(work, home) == before
    assert not os.path.lexists("/etc/x")


@pytest.mark.parametrize("path", STRANGE, ids=repr)
def test_a_strange_path_stays_what_and_where_it_is(planted: Planted, invoke: Run, work: Path, home: Path, path: str) -> None:
    planted.entries([[path, planted.blob(CONTENT), len(CONTENT), 0]])
    target = work / "deep/target"
    target.mkdir(parents=True)
    before = everything(home)
    done = invoke("download", "zoo", "-o", target)
    assert done.code == 0, done
    assert [str(item.relative_to(target)) for item in target.rglob("*") if item.is_file()] == [path]
    assert (target / path).read_bytes() == CONTENT
    assert [item.name for item in (work / "deep").iterdir()] == ["target"]
    assert everything(home).keys() >= before.keys()
    shown = invoke("files", "zoo")
    assert shown.code == 0
    assert shown.stdout.removesuffix("\n").isprintable() or "\t" in shown.stdout
    assert not set(shown.stdout) & {"\x1b", "\x9b", "\x07", "\r", "\x7f", "\u202e", "\u2028"}
    assert shown.stdout.count("\n") == 1


def test_sync_writes_nothing_that_git_or_regcli_would_obey(planted: Planted, invoke: Run, work: Path) -> None:
    for path in (
        ".git/hooks/post-checkout",
        "a/.GIT/config",
        "GIT~1/config",
        ".git /x",
        ".g\u200cit/config",
        ".regcli/regcli.toml",
        ".regcli.toml",
        "a/.Regcli.toml",
        "deep/regcli.lock",
    ):
        planted.entries([[path, planted.blob(CONTENT), len(CONTENT), 0]])
        (work / "regcli.lock").unlink(missing_ok=True)
        invoke("lock", "zoo", "-o", ".").ok()
        done = invoke("sync")
        assert done.code == 5, (path, done)
        assert [item.name for item in work.iterdir()] == ["regcli.lock"]


MALFORMED: dict[str, Any] = {
    "a file that is a directory too": [["a", "0" * 32, 7, 0], ["a/b", "0" * 32, 7, 0]],
    "one path twice": [["a", "0" * 32, 7, 0], ["a", "0" * 32, 7, 0]],
    "not sorted": [["b", "0" * 32, 7, 0], ["a", "0" * 32, 7, 0]],
    "a negative size": [["a", "0" * 32, -1, 0]],
    "a size of 2^63": [["a", "0" * 32, 1 << 63, 0]],
    "a huge number": [["a", "0" * 32, 10**39, 0]],
    "a size with a fraction": [["a", "0" * 32, 1.5, 0]],
    "true as size": [["a", "0" * 32, True, 0]],
    "a short digest": [["a", "0" * 31, 7, 0]],
    "a long digest": [["a", "0" * 33, 7, 0]],
    "a digest in capitals": [["a", "A" * 32, 7, 0]],
    "a digest with a path": [["a", "../../../../../../etc/passwd0000", 7, 0]],
    "unknown flags": [["a", "0" * 32, 7, 4]],
    "negative flags": [["a", "0" * 32, 7, -1]],
    "too few elements": [["a", "0" * 32, 7]],
    "too many elements": [["a", "0" * 32, 7, 0, {}, 1]],
    "an object as entry": [{"path": "a"}],
    "a number as path": [[1, "0" * 32, 7, 0]],
    "null as path": [[None, "0" * 32, 7, 0]],
    "a lone surrogate": [["a\ud800", "0" * 32, 7, 0]],
    "a reference without URI": [["a", "x", 7, 2]],
    "a reference with a number as URI": [["a", "x", 7, 2, {"ref": 1}]],
    "an extra that is a list": [["a", "0" * 32, 7, 0, []]],
    "nested arrays": [[["a"], "0" * 32, 7, 0]],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_manifest_is_refused(planted: Planted, invoke: Run, work: Path, name: str) -> None:
    planted.entries(MALFORMED[name])
    done = invoke("download", "zoo", "-o", "out")
    assert done.code == 6, done
    assert not (work / "out").exists()
    assert invoke("verify").code == 1


HEADER = b'{"format":1,"algorithm":"XXH128","entries":1}\n'
LINE = b'["a","%s",7,0]\n' % (b"0" * 32)
BYTES = {
    "empty": b"",
    "no newline": HEADER[:-1],
    "no last newline": HEADER + LINE[:-1],
    "byte order mark": b"\xef\xbb\xbf" + HEADER + LINE,
    "UTF-16": (HEADER + LINE).decode().encode("utf-16"),
    "not UTF-8": HEADER + LINE.replace(b'"a"', b'"\xff"'),
    "NUL": HEADER + LINE.replace(b'"a"', b'"a\0"'),
    "a raw control character": HEADER + LINE.replace(b'"a"', b'"a\x1b"'),
    "NaN": HEADER + LINE.replace(b",7,", b",NaN,"),
    "infinity": HEADER + LINE.replace(b",7,", b",1e999,"),
    "a 10 MB number": HEADER + LINE.replace(b",7,", b"," + b"9" * 10_000_000 + b","),
    "one key twice": b'{"format":1,"format":1,"algorithm":"XXH128","entries":1}\n' + LINE,
    "100,000 levels": HEADER + b"[" * 100_000 + b"\n",
    "100,000 levels in the header": b'{"format":' * 100_000 + b"\n",
    "two entries in a line": HEADER + LINE[:-1] + b"," + LINE,
    "an entry over two lines": HEADER + LINE.replace(b",7", b",\n7"),
    "a number of entries that lies": HEADER.replace(b"1}", b"2}") + LINE,
    "a newer format": HEADER.replace(b"1,", b"2,", 1) + LINE,
    "an unknown algorithm": HEADER.replace(b"XXH128", b"CRC32") + LINE,
    "a header that is a list": b"[]\n" + LINE,
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_manifest_are_refused(planted: Planted, invoke: Run, work: Path, name: str) -> None:
    planted.manifest(BYTES[name])
    done = invoke("download", "zoo", "-o", "out")
    assert done.code == 6, done
    assert len(done.stderr) < 2000
    assert not (work / "out").exists()


def test_an_index_that_lies_about_a_size_is_no_lie_of_the_manifest(planted: Planted, invoke: Run) -> None:
    from regcli.store.content import Content
    from regcli.store.packindex import LOCATION, encode_index

    with Content(str(planted.root)) as content:
        rows = content.index.rows()
    ids = sorted({row[1] for row in rows})
    # Only about the file: reading a manifest that is not where the index says finds the lie.
    lies = [
        (digest, LOCATION.pack(ids.index(pack), length + (length == len(CONTENT)), offset))
        for digest, pack, length, offset in rows
    ]
    (planted.root / "packs/index").mkdir(exist_ok=True)
    for command in (("verify", "zoo"), ("verify", "--quick"), ("verify",)):
        (planted.root / f"packs/index/{'0' * 32}.idx").write_bytes(encode_index(lies, ids))
        done = invoke(*command)
        assert done.code == 0, (command, done)


def test_a_number_without_end_is_called_too_long(planted: Planted, invoke: Run) -> None:
    planted.manifest(HEADER + b'["a","%s",%s,0]\n' % (b"0" * 32, b"9" * 5000))
    done = invoke("download", "zoo", "-o", "out")
    assert done.code == 6
    assert done.stderr.splitlines()[0].endswith(" is corrupt: a number is too long")


def test_lies_about_sizes_are_found(planted: Planted, invoke: Run, work: Path) -> None:
    small, large = planted.blob(CONTENT), planted.blob(b"x" * (2 << 20))
    for digest, size in ((small, 1), (small, 1 << 40), (small, 0), (large, 1), (large, 1 << 40), (large, (2 << 20) + 1)):
        planted.entries([["a", digest, size, 0]])
        for mode in ("auto", "hardlink", "symlink"):
            done = invoke("download", "zoo", "-o", "out", "--link-mode", mode)
            assert done.code == 6, (size, mode, done)
            assert list((work / "out").iterdir()) == []
        for command in (("verify",), ("verify", "zoo"), ("verify", "--quick")):
            found = invoke(*command)
            assert found.code == 1, (size, found)
            assert f"says that a has {size} bytes" in found.stdout


def test_a_lie_is_found_about_a_blob_of_which_the_truth_is_told_elsewhere(planted: Planted, invoke: Run) -> None:
    digest = planted.blob(CONTENT)
    planted.entries([["a", digest, len(CONTENT), 0], ["b", digest, 8, 0], ["c", digest, 9, 0], ["d", digest, len(CONTENT), 0]])
    for command in (("verify",), ("verify", "zoo"), ("verify", "--quick")):
        found = invoke(*command)
        assert found.code == 1
        assert [line.split("\t")[1] for line in found.stdout.splitlines()] == ["b", "c"]


def test_a_manifest_that_names_itself_or_nothing_is_no_loop(planted: Planted, invoke: Run, work: Path) -> None:
    planted.entries([["a", "0" * 32, 7, 0]])
    assert invoke("download", "zoo", "-o", "out").code == 6
    # The address of another manifest is just a blob.
    record = next(op for op in read_log(planted.log)[0]["ops"] if op["op"] == "version")["record"]
    path = planted.root / "blobs" / record["manifest"][:2] / record["manifest"]
    planted.entries([["a", record["manifest"], path.stat().st_size, 0]])
    assert invoke("download", "zoo", "-o", "out").code == 0


def test_a_blob_that_is_no_file_is_not_followed(planted: Planted, invoke: Run, work: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * (1 << 20))
    digest = planted.blob(secret.read_bytes())
    planted.entries([["a", digest, 1 << 20, 0]])
    path = planted.root / "blobs" / digest[:2] / digest
    for kind in ("link", "pipe", "directory"):
        path.unlink()
        if kind == "link":
            path.symlink_to(secret)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
        done = invoke("download", "zoo", "-o", "out")
        assert done.code in (6, 8), done
        assert list((work / "out").iterdir()) == []
        assert invoke("verify").code == 1


@pytest.mark.parametrize(
    "uri",
    ["file:///etc/hostname", "file://../../etc/hostname", "http://169.254.169.254/latest", "ftp://x/y", "-oProxyCommand=id",
     "regcli-artifact://../../x/y", "javascript:alert(1)", "file:///dev/zero", "file:///proc/self/environ", "a\nb", "\x1b[31m"],
    ids=repr,
)  # fmt: skip
def test_listing_a_reference_fetches_nothing(planted: Planted, invoke: Run, uri: str) -> None:
    planted.entries([["a", uri or "x", 0, 2, {"ref": uri}]])
    shown = invoke("files", "zoo")
    assert shown.code in (0, 6)
    assert "\x1b" not in shown.stdout + shown.stderr


def test_a_reference_to_a_device_ends(planted: Planted, invoke: Run, work: Path) -> None:
    planted.entries([["a", "file:///dev/zero", 5, 2, {"ref": "file:///dev/zero", "check": "none"}]])
    done = invoke("download", "zoo", "-o", "out")
    assert done.code != 0
    assert done.code != 70
    assert not (work / "out/a").exists()


RECORDS: dict[str, dict[str, Any]] = {
    "an address with a path": {"manifest": "../../../../../../etc/passwd"},
    "an address with a NUL": {"manifest": "\0" * 32},
    "a number as address": {"manifest": 5},
    "null as address": {"manifest": None},
    "a list as address": {"manifest": ["x"]},
    "no digest": {"digest": None},
    "a hash of another kind": {"manifest_sha256": 7},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_with_a_hostile_address_is_refused(planted: Planted, invoke: Run, work: Path, name: str) -> None:
    commits = read_log(planted.log)
    next(op for op in commits[0]["ops"] if op["op"] == "version")["record"].update(RECORDS[name])
    write_log(planted.log, commits)
    for command in (("download", "zoo", "-o", "out"), ("files", "zoo"), ("cat", "zoo", "file")):
        done = invoke(*command)
        assert done.code in (0, 6), done
        if name != "no digest":
            assert done.code == 6
    assert invoke("verify").code in (0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are counted otherwise")
@pytest.mark.parametrize("rows", [b"{},", b"[],", b'"",', b"0,"])
def test_a_manifest_of_millions_of_nothings_is_bounded(planted: Planted, invoke: Run, rows: bytes) -> None:
    """Three million empty values: refused without more memory than a few hundred bytes for each."""
    import resource

    body = rows * 3_000_000
    planted.manifest(HEADER + b"[" + body[:-1] + b"]\n")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20), limits[1]))
    try:
        assert invoke("files", "zoo").code == 6
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_the_library_refuses_what_the_commands_refuse(planted: Planted, tmp_path: Path) -> None:
    from regcli.domain.context import Context
    from regcli.domain.download import DownloadOptions, download

    context = Context(root_path=str(planted.root), user="bob", uid=1, host="lab")
    for path in ESCAPES[:12]:
        planted.entries([[path, planted.blob(CONTENT), len(CONTENT), 0]])
        with pytest.raises(RegcliError):
            download(context, "zoo", str(tmp_path / "out"), DownloadOptions())
        assert not (tmp_path / "out").exists()
    assert json.loads("{}") == {}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
@pytest.mark.parametrize("mode", ["copy", "auto", "hardlink", "symlink"])
def test_a_blob_that_is_larger_than_its_manifest_says_is_not_copied(planted: Planted, work: Path, mode: str) -> None:
    """It may be larger than the disk."""
    content = b"x" * (2 << 20)
    digest = planted.blob(content)
    planted.entries([["a", digest, len(content), 0]])
    os.truncate(planted.root / "blobs" / digest[:2] / digest, 1 << 30)
    script = (
        "import resource, sys\n"
        "from regcli.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20,) * 2)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    argv = [sys.executable, "-c", script, "--root", str(planted.root), "download", "zoo", "-o", "out", "--link-mode", mode]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=work)
    assert done.returncode == 6, done
    assert "regcli verify" in done.stderr, done
    assert list((work / "out").iterdir()) == []


@pytest.mark.parametrize("damage", ["a byte", "half of it", "more of it", "the size in the manifest"])
def test_cat_gives_away_nothing_of_a_damaged_file(planted: Planted, invoke: Run, damage: str) -> None:
    content = b"x" * (2 << 20)
    digest = planted.blob(content)
    path = planted.root / "blobs" / digest[:2] / digest
    planted.entries([["a", digest, len(content) + (damage == "the size in the manifest"), 0]])
    if damage == "a byte":
        path.write_bytes(content[:-1] + b"y")
    elif damage == "half of it":
        os.truncate(path, 1 << 20)
    elif damage == "more of it":
        os.truncate(path, 3 << 20)
    done = invoke("cat", "zoo", "a")
    assert done.code == 6, done
    assert done.stdout == ""
