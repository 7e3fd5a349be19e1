"""`regcli export` and `regcli import`: everything arrives, nothing is believed, and running it again does no harm."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]

VOLATILE = ("seq", "updated_at")


@pytest.fixture
def origin(invoke: Invoke, work: Path) -> Invoke:
    """A root with three versions, linked, with aliases, tags, a protected alias and an input."""
    invoke("registry", "create", "Golden Datasets", "-d", "the best", "--type", "dataset").ok()
    (work / "big.bin").write_bytes(b"x" * 3_000_000)
    for number in range(3):
        (work / "f.txt").write_text(str(number))
        invoke("log", "f.txt", "big.bin", "-n", "raw", "-t", "dataset", "--meta", f"n={number}", "-a", f"a{number}").ok()
        invoke("link", "raw", "Golden Datasets/x").ok()
    invoke("log", "f.txt", "-n", "clean", "-t", "dataset", "--input", "raw:v1").ok()
    invoke("alias", "add", "Golden Datasets/x:v1", "production", "-m", "why").ok()
    invoke("protect", "Golden Datasets", "production").ok()
    invoke("tag", "add", "raw:v1", "tagged").ok()
    invoke("tag", "add", "Golden Datasets/x", "collection tag").ok()
    return invoke


def _shown(invoke: Invoke, reference: str, *at: str) -> dict[str, Any]:
    document = invoke("show", reference, "--json", *at).ok().json
    return {key: value for key, value in document.items() if key not in VOLATILE}


def test_a_whole_registry_arrives_with_all_that_belongs_to_it(origin: Invoke, work: Path) -> None:
    there = ("--root", str(work / "there"))
    exported = origin("export", "Golden Datasets/", "clean", "-o", "all.tar", "--json").ok().json
    assert exported["collections"] == 3
    imported = origin("import", "all.tar", "--json", *there).ok().json
    assert imported["versions"] == 7
    for reference in ("Golden Datasets/x:v0", "Golden Datasets/x:production", "raw:v1", "raw:v2", "clean"):
        assert _shown(origin, reference, *there) == _shown(origin, reference)
    assert origin("protect", "--ls", "Golden Datasets", *there).ok().lines == ["production"]
    assert origin("tag", "ls", "Golden Datasets/x", *there).ok().lines == ["collection tag"]
    assert origin("verify", "--json", *there).ok().json["problems"] == []
    origin("download", "raw:v1", "-o", "out", *there).ok()
    assert (work / "out" / "f.txt").read_text() == "1"
    events = origin("history", "Golden Datasets/x", "--json", *there).ok().json["events"]
    assert any(event["reason"] == "why" and event["imported"]["root"] for event in events)
    assert origin("log", "f.txt", "-n", "raw", "--new-version", *there).ok().stdout == "local/default/raw:v3\n"


def test_importing_twice_changes_nothing(origin: Invoke, work: Path) -> None:
    there = ("--root", str(work / "there"))
    origin("export", "Golden Datasets/", "-o", "all.tar").ok()
    origin("import", "all.tar", *there).ok()
    before = origin("history", "--json", *there).ok().json["events"]
    again = origin("import", "all.tar", "--json", *there).ok().json
    assert (again["versions"], again["blobs"]) == (0, 0)
    assert origin("history", "--json", *there).ok().json["events"] == before


def test_one_version_keeps_its_number_and_its_source(origin: Invoke, work: Path) -> None:
    there = ("--root", str(work / "there"))
    origin("export", "Golden Datasets/x:production", "-o", "one.tar").ok()
    origin("import", "one.tar", *there).ok()
    assert [row["version"] for row in origin("ls", "Golden Datasets/x", "--json", *there).ok().json["versions"]] == ["v1"]
    shown = _shown(origin, "Golden Datasets/x:production", *there)
    assert shown["source"] == "local/default/raw:v1"
    assert (shown["tags"], shown["metadata"]) == (["tagged"], {"n": 1})
    assert origin("verify", "--json", *there).ok().json["ok"]
    origin("export", "Golden Datasets/", "-o", "all.tar").ok()
    refused = origin("import", "all.tar", *there)
    assert refused.code == 4
    assert "v0" in refused.stderr


def test_a_delta_continues_what_was_imported_and_only_that(origin: Invoke, work: Path) -> None:
    there = ("--root", str(work / "there"))
    origin("export", "Golden Datasets/", "-o", "all.tar").ok()
    moment = origin("history", "--json").ok().json["events"][-1]["time"]
    (work / "f.txt").write_text("later")
    origin("log", "f.txt", "-n", "raw").ok()
    origin("link", "raw", "Golden Datasets/x").ok()
    origin("alias", "add", "Golden Datasets/x:latest", "production").ok()
    origin("export", "Golden Datasets/", "--since", moment, "-o", "delta.tar").ok()
    assert (work / "delta.tar").stat().st_size < 1_000_000
    refused = origin("import", "delta.tar", *there)
    assert refused.code in (4, 6)
    origin("import", "all.tar", *there).ok()
    origin("import", "delta.tar", *there).ok()
    assert origin("resolve", "Golden Datasets/x:production", *there).ok().stdout == "Golden Datasets/x:v3\n"
    assert _shown(origin, "Golden Datasets/x:v3", *there) == _shown(origin, "Golden Datasets/x:v3")


def test_a_collection_with_other_versions_is_not_mixed_in(origin: Invoke, work: Path) -> None:
    there = ("--root", str(work / "there"))
    origin("export", "raw", "-o", "raw.tar").ok()
    origin("log", "f.txt", "-n", "raw", "-t", "dataset", *there).ok()
    before = origin("history", "--json", *there).ok().json["events"]
    assert origin("import", "raw.tar", *there).code == 4
    assert origin("history", "--json", *there).ok().json["events"] == before


def _rewrite(source: Path, target: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            changed = change(member.name, stream.read())
            if changed is not None:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))


def test_damaged_and_foreign_bundles_are_refused_and_nothing_is_written(origin: Invoke, work: Path) -> None:
    there = work / "there"
    origin("export", "Golden Datasets/", "-o", "all.tar").ok()
    origin("init", "--root", str(there)).ok()
    before = sorted(str(path) for path in there.rglob("*"))
    whole = work / "all.tar"

    def flip(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data[:-1] + b"?" if name.startswith("blobs/") and len(data) < 1000 else data

    def drop(name: str, data: bytes) -> tuple[str, bytes] | None:
        return None if name.startswith("blobs/") else (name, data)

    def edit(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data.replace(b'"production"', b'"stagingxyz"') if name.startswith("chains/") else data

    def climb(name: str, data: bytes) -> tuple[str, bytes]:
        return ("../../evil" if name == "end.json" else name), data

    for number, change in enumerate((flip, drop, edit, climb)):
        bad = work / f"bad{number}.tar"
        _rewrite(whole, bad, change)
        result = origin("import", bad, "--root", str(there))
        assert result.code in (2, 6), (change, result)
        assert "Traceback" not in result.stderr
    (work / "cut.tar").write_bytes(whole.read_bytes()[:5000])
    (work / "text.tar").write_text("no tar at all")
    for name in ("cut.tar", "text.tar"):
        assert origin("import", name, "--root", str(there)).code in (2, 6)
    assert origin("import", "missing.tar", "--root", str(there)).code == 3
    assert sorted(str(path) for path in there.rglob("*") if "locks" not in str(path)) == [p for p in before if "locks" not in p]


def test_links_and_devices_in_a_bundle_are_refused(origin: Invoke, work: Path) -> None:
    origin("export", "raw", "-o", "raw.tar").ok()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        bad = work / "bad.tar"
        bad.write_bytes((work / "raw.tar").read_bytes())
        with tarfile.open(bad, "a") as tar:
            member = tarfile.TarInfo("blobs/" + "0" * 32)
            member.type = kind
            member.linkname = "/etc/passwd"
            tar.addfile(member)
        assert origin("import", bad, "--root", str(work / "there")).code == 2


def test_a_bundle_cannot_name_things_that_the_rules_forbid(origin: Invoke, work: Path) -> None:
    origin("export", "raw", "-o", "raw.tar").ok()

    def rename(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "regcli-bundle.json":
            document = json.loads(data)
            document["collections"][0]["name"] = "../../../evil"
            data = json.dumps(document).encode()
            renames["sha"] = data
        return name, data

    renames: dict[str, bytes] = {}
    _rewrite(work / "raw.tar", work / "bad.tar", rename)

    def reseal(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "end.json":
            from hashlib import sha256

            document = json.loads(data)
            document["sha256"]["regcli-bundle.json"] = sha256(renames["sha"]).hexdigest()
            data = json.dumps(document).encode()
        return name, data

    _rewrite(work / "bad.tar", work / "worse.tar", reseal)
    assert origin("import", "worse.tar", "--root", str(work / "there")).code == 2


def test_a_bundle_that_was_cut_off_anywhere_is_damaged_and_imports_nothing(invoke: Invoke, work: Path, root: Path) -> None:
    (work / "a.txt").write_text("a" * 2000)
    invoke("log", "a.txt", "-n", "a", "-t", "dataset").ok()
    invoke("export", "a", "-o", "a.tar").ok()
    whole = (work / "a.tar").read_bytes()
    with tarfile.open(work / "a.tar") as tar:
        ends = [member.offset_data + member.size for member in tar]
    other = root.parent / "other"
    # In the middle of members, between them, and inside the last one.
    for length in [ends[0] - 5, ends[0] + 512, ends[1] - 1, ends[1] + 600, ends[-2], ends[-1] - 1]:
        (work / "cut.tar").write_bytes(whole[:length])
        result = invoke("--root", other, "import", "cut.tar")
        assert (result.code, "was cut off" in result.stderr) == (6, True), (length, result)
        assert not other.exists()
    (work / "cut.tar").write_bytes(b"not a tar at all" * 100)
    assert invoke("--root", other, "import", "cut.tar").code == 2
