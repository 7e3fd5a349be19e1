"""`regcli export` and `regcli import`: everything arrives, nothing is believed, and running it again does no harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.terminal import on_terminal
from tests.conftest import clean_environment

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


# Through a pipe


@pytest.fixture
def piped(home: Path, work: Path, root: Path) -> Callable[..., tuple[int, bytes, str]]:
    """Return a function that runs the program with bytes on standard input: (exit code, bytes it wrote, messages)."""

    def run_piped(*arguments: str | Path, data: bytes = b"") -> tuple[int, bytes, str]:
        command = [sys.executable, "-m", "regcli", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=work, env=clean_environment(home, root), input=data, capture_output=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr.decode()

    return run_piped


def test_a_bundle_goes_through_a_pipe_as_through_a_file(origin: Invoke, work: Path, piped: Callable[..., Any]) -> None:
    origin("export", "Golden Datasets/", "clean", "-o", "all.tar").ok()
    code, data, said = piped("export", "Golden Datasets/", "clean", "-o", "-")
    assert code == 0
    assert "7 versions of 3 collections" in said
    with tarfile.open(work / "all.tar") as one, tarfile.open(fileobj=io.BytesIO(data)) as other:
        assert [(m.name, m.size) for m in one] == [(m.name, m.size) for m in other]
    there = ("--root", work / "there")
    code, shown, _ = piped("import", "-", "--json", *there, data=data)
    assert (code, json.loads(shown)["versions"]) == (0, 7)
    assert _shown(origin, "Golden Datasets/x:production", *map(str, there)) == _shown(origin, "Golden Datasets/x:production")
    assert origin("verify", "--json", *there).ok().json["problems"] == []
    assert not (work / "-").exists()


def test_a_stream_is_believed_no_more_than_a_file(origin: Invoke, work: Path, piped: Callable[..., Any]) -> None:
    """Cut off, damaged, or no bundle at all: the same exit code and sentence, no root, and nothing left behind."""
    origin("export", "raw", "-o", "raw.tar").ok()
    whole = (work / "raw.tar").read_bytes()
    place = whole.index(b"x" * 1000)
    bad = {
        "cut in a header": whole[:600], "cut in a blob": whole[: place + 5], "cut before the end": whole[:-11000],
        "flipped": whole[:place] + b"?" + whole[place + 1 :], "empty": b"", "one byte": b"r", "text": b"no tar at all" * 9999,
        "another tar": _tar("other", b"x" * 9999), "a device": _tar("blobs/" + "0" * 32, b"", tarfile.CHRTYPE) + whole,
    }  # fmt: skip
    there = work / "there"
    for name, data in bad.items():
        (work / "bad.tar").write_bytes(data)
        code, shown, said = piped("import", "-", "--root", there, data=data)
        as_file = origin("import", "bad.tar", "--root", there)
        assert (code, shown) == (as_file.code, b""), name
        assert code in (2, 6), name
        # How much of what is no bundle was looked at may differ, and with it the last words.
        assert (
            said.partition(" or was cut off:")[0]
            == as_file.stderr.replace("bad.tar", "standard input").partition(" or was cut off:")[0]
        )
        assert not [path for path in there.rglob("*") if path.is_file() and "locks" not in path.parts and "blobs" in path.parts]


def _tar(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(data), kind
    return member.tobuf() + data


def test_a_stream_without_an_end_that_is_no_bundle_is_not_waited_for(run: Invoke, work: Path) -> None:
    assert run("import", "/dev/zero", timeout=30).code == 2


def test_a_pipe_with_a_name_is_a_stream_too(origin: Invoke, run: Invoke, work: Path) -> None:
    origin("export", "raw", "-o", "raw.tar").ok()
    os.mkfifo(work / "pipe")
    with subprocess.Popen(["cp", "raw.tar", "pipe"], cwd=work):
        run("import", "pipe", "--root", work / "there").ok()


def test_standard_output_is_the_bundles_alone(origin: Invoke, run: Invoke, work: Path, root: Path, home: Path) -> None:
    refused = run("export", "raw", "-o", "-", "--json")
    assert (refused.code, refused.stdout) == (2, "")
    assert "standard output" in refused.error["message"]
    missing = run("export", "nothing", "-o", "-")
    assert (missing.code, missing.stdout) == (3, "")
    seen = {"HOME": str(home), "REGCLI_ROOT": str(root)}
    shown = on_terminal("-m", "regcli", "export", "local/default/raw", "-o", "-", environment=seen)
    assert "regcli-bundle.json" not in shown
    assert "nothing for a terminal" in shown
    assert "cannot be typed" in on_terminal("-m", "regcli", "import", "-", environment=seen)
    assert not (work / "-").exists()


def test_a_reader_that_goes_away_has_not_got_the_bundle(origin: Invoke, home: Path, work: Path, root: Path) -> None:
    """Unlike what is printed to be read, of which `| head` has seen enough."""
    command = [sys.executable, "-m", "regcli", "export", "raw", "-o", "-"]
    with subprocess.Popen(
        command, cwd=work, env=clean_environment(home, root), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read().decode()
    assert (process.returncode, "went away before the end" in said) == (8, True)


def test_a_directory_is_no_bundle_and_the_hint_says_what_takes_one(origin: Invoke, work: Path) -> None:
    (work / "mlruns").mkdir()
    refused = origin("import", "mlruns")
    assert (refused.code, "regcli import mlflow DIR" in refused.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [("-o", "-"), ("--output=-",)])
def test_a_version_is_not_downloaded_to_standard_output(origin: Invoke, work: Path, arguments: tuple[str, ...]) -> None:
    refused = origin("download", "raw", *arguments)
    assert (refused.code, refused.stdout, "regcli cat" in refused.stderr) == (2, "", True)
    assert not (work / "-").exists()
    origin("download", "raw", "-o", "./-").ok()
    assert (work / "-").is_dir()


# What is exported can be imported


def test_link_collections_of_a_project_arrive(origin: Invoke, work: Path) -> None:
    there = ("--root", str(work / "there"))
    origin("link", "raw:v1", "local/default/chosen", "-a", "best").ok()
    origin("export", "local/default/", "-o", "project.tar").ok()
    origin("import", "project.tar", *there).ok()
    assert _shown(origin, "chosen:best", *there) == _shown(origin, "chosen:best")
    assert origin("resolve", "chosen:best", "--source", *there).ok().stdout == "local/default/raw:v1\n"
    origin("verify", *there).ok()


def test_what_came_in_a_bundle_goes_on_in_another(origin: Invoke, work: Path) -> None:
    """Of some versions only, with numbers that follow from nothing."""
    there, further = ("--root", str(work / "there")), ("--root", str(work / "further"))
    origin("export", "raw:v2", "-o", "one.tar").ok()
    origin("import", "one.tar", *there).ok()
    for name, reference in (("part.tar", "raw:v2"), ("whole.tar", "raw")):
        origin("export", reference, "-o", name, *there).ok()
        origin("import", name, *further).ok()
        again = origin("import", name, "--json", *further).ok().json
        assert again["versions"] == 0
        assert origin("resolve", "raw", *further).ok().stdout == "local/default/raw:v2\n"
    before = origin("history", "raw", "--json", *further).ok().json["events"]
    for name in ("part.tar", "whole.tar"):
        origin("import", name, *further).ok()
    assert origin("history", "raw", "--json", *further).ok().json["events"] == before
    origin("verify", *further).ok()


def test_the_largest_change_there_can_be_arrives(invoke: Invoke, work: Path) -> None:
    (work / "f.txt").write_text("content")
    there = ("--root", str(work / "there"))
    refused = invoke("log", "f.txt", "-n", "raw", "-t", "dataset", "-d", "x" * 16_700_000)
    assert refused.code == 2
    assert "too large" in refused.stderr
    invoke("log", "f.txt", "-n", "raw", "-t", "dataset", "-d", "x" * 16_640_000).ok()
    invoke("export", "raw", "-o", "raw.tar").ok()
    invoke("import", "raw.tar", *there).ok()
    invoke("export", "raw", "-o", "again.tar", *there).ok()
    invoke("import", "again.tar", "--root", str(work / "further")).ok()
    assert invoke("resolve", "raw", "--root", str(work / "further")).ok().stdout == "local/default/raw:v0\n"


def test_an_index_that_no_import_would_read_is_refused_and_nothing_written(
    invoke: Invoke, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regcli.store import bundle

    (work / "f.txt").write_text("content")
    for number in range(5):
        invoke("log", "f.txt", "-n", f"raw{number}", "-t", "dataset").ok()
        invoke("collection", "edit", f"raw{number}", "-d", "x" * 140_000).ok()
    # As many commits as the real limit allows take ten seconds to make.
    monkeypatch.setattr(bundle, "MAX_INDEX", 640_000)
    for output in ("all.tar", "-"):
        refused = invoke("export", "local/default/", "-o", output)
        assert refused.code == 2
        assert "5 collections are too many for one bundle" in refused.stderr
        assert "export fewer" in refused.stderr
        assert refused.stdout == ""
    assert not (work / "all.tar").exists()
    invoke("export", "raw0", "raw1", "raw2", "raw3", "-o", "some.tar").ok()
    invoke("import", "some.tar", "--root", str(work / "there")).ok()


def test_a_history_that_no_import_would_read_is_refused_and_nothing_written(
    invoke: Invoke, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regcli.domain import exporting
    from regcli.store import bundle

    for number in range(20):
        (work / "f.txt").write_text(str(number))
        invoke("log", "f.txt", "-n", "raw", "-t", "dataset").ok()
    # A gigabyte of commits takes too long to make.
    monkeypatch.setattr(exporting, "MAX_TEXT", 10_000)
    monkeypatch.setattr(bundle, "MAX_TEXT", 10_000)
    refused = invoke("export", "raw", "-o", "raw.tar")
    assert refused.code == 2
    assert "the history of 'local/default/raw' takes" in refused.stderr
    assert not (work / "raw.tar").exists()
    invoke("export", "raw:v3", "-o", "one.tar").ok()
    invoke("import", "one.tar", "--root", str(work / "there")).ok()
