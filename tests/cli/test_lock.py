"""`regcli lock` and `regcli sync` on a real root."""

from __future__ import annotations

import os
import shutil
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain.lockfile import Editing, Pin, parse_lock, write_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


def log(invoke: Invoke, work: Path, files: dict[str, str], *options: str, name: str = "zoo") -> None:
    """Log exactly these files as the next version."""
    source = work.parent / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for path, text in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    invoke("log", source, "-n", name, "-t", "dataset", *options).ok()


def promote(invoke: Invoke, reference: str = "zoo") -> None:
    invoke("link", reference, "model/zoo", "-a", "production").ok()


@pytest.fixture
def pinned(invoke: Invoke, work: Path) -> Invoke:
    """`model/zoo:production` is v0 with two files, locked into `data`, not yet synced."""
    log(invoke, work, {"a.txt": "one", "deep/b.txt": "two"})
    promote(invoke)
    invoke("lock", "model/zoo:production", "-o", "data").ok()
    return invoke


def read_lock(work: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads((work / "regcli.lock").read_text())["artifact"]
    return rows


def tree(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_lock_records_reference_version_digest_size_and_place(pinned: Invoke, work: Path) -> None:
    shown = pinned("show", "model/zoo:v0", "--json").json
    assert read_lock(work) == [
        {"reference": "model/zoo:production", "version": "v0", "digest": shown["digest"], "size": 6, "directory": "data"}
    ]


def test_lock_writes_the_reference_in_full_and_the_default_place(pinned: Invoke, work: Path) -> None:
    result = pinned("lock", "ZOO", "--json").ok()
    assert [pin["reference"] for pin in result.json["pins"]] == ["local/default/zoo:latest"]
    assert [(row["reference"], row["directory"]) for row in read_lock(work)] == [
        ("local/default/zoo:latest", "artifacts/zoo:v0"),
        ("model/zoo:production", "data"),
    ]


def test_locking_again_changes_nothing(pinned: Invoke, work: Path) -> None:
    os.utime(work / "regcli.lock", (1, 1))
    pinned("lock", "model/zoo:production").ok()
    assert (work / "regcli.lock").stat().st_mtime == 1


def test_one_unknown_reference_locks_none(pinned: Invoke, work: Path) -> None:
    before = (work / "regcli.lock").read_bytes()
    assert pinned("lock", "zoo", "model/nothing").code == 3
    assert (work / "regcli.lock").read_bytes() == before


@pytest.mark.parametrize("directory", ["/tmp", "..", "a/../../b", ".git/hooks"])
def test_a_place_outside_is_refused(pinned: Invoke, work: Path, directory: str) -> None:
    before = (work / "regcli.lock").read_bytes()
    assert pinned("lock", "zoo", "-o", directory).code == 2
    assert (work / "regcli.lock").read_bytes() == before


def test_an_absolute_place_below_is_written_relative(pinned: Invoke, work: Path) -> None:
    pinned("lock", "zoo", "-o", work / "x" / "y").ok()
    assert read_lock(work)[0]["directory"] == "x/y"


def test_two_pins_cannot_share_a_directory(pinned: Invoke) -> None:
    assert pinned("lock", "zoo", "-o", "DATA").code == 4
    assert pinned("lock", "zoo", "model/zoo:v0", "-o", "x").code == 2


@pytest.mark.parametrize(
    "arguments",
    [["lock"], ["lock", "--check", "zoo"], ["lock", "--check", "--update"], ["lock", "--update", "-o", "x"], ["lock", "--rm"]]
    + [["lock", "--rm", "zoo", *more] for more in (["--check"], ["--update"], ["-o", "x"])],
    ids=" ".join,
)
def test_wrong_usage_exits_2(pinned: Invoke, arguments: list[str]) -> None:
    assert pinned(*arguments).code == 2


@pytest.mark.parametrize("arguments", [["lock", "--check"], ["lock", "--update"], ["sync"]], ids=" ".join)
def test_without_a_lock_the_error_says_how_to_make_one(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.code == 3
    assert "regcli lock REF" in result.stderr


def test_check_exits_1_once_the_alias_has_moved(pinned: Invoke, work: Path) -> None:
    assert pinned("lock", "--check", "--json").ok().json["ok"] is True
    log(pinned, work, {"a.txt": "new"})
    assert pinned("lock", "--check").code == 0
    promote(pinned)
    result = pinned("lock", "--check", "--json")
    assert result.code == 1
    assert [(pin["state"], pin["version"], pin["now"]) for pin in result.json["pins"]] == [("stale", "v0", "model/zoo:v1")]


def test_check_tells_of_every_pin_that_is_wrong(pinned: Invoke, work: Path) -> None:
    log(pinned, work, {"x": "x"}, name="other")
    pinned("lock", "other:v0").ok()
    log(pinned, work, {"a.txt": "new"})
    promote(pinned)
    pinned("delete", "other:v0", "--delete-aliases")
    states = {pin["reference"]: pin["state"] for pin in pinned("lock", "--check", "--json").json["pins"]}
    assert states["model/zoo:production"] == "stale"


def test_update_pins_anew_and_keeps_the_place(pinned: Invoke, work: Path) -> None:
    pinned("lock", "zoo:latest").ok()
    log(pinned, work, {"a.txt": "new"})
    promote(pinned)
    only = pinned("lock", "--update", "model/zoo:production", "--json").ok().json["updated"]
    assert [(change["before"]["version"], change["after"]["version"]) for change in only] == [("v0", "v1")]
    assert [(row["version"], row["directory"]) for row in read_lock(work)] == [("v0", "artifacts/zoo:v0"), ("v1", "data")]
    pinned("lock", "--update").ok()
    assert [(row["version"], row["directory"]) for row in read_lock(work)] == [("v1", "artifacts/zoo:v1"), ("v1", "data")]
    assert pinned("lock", "--check").code == 0
    assert pinned("lock", "--update", "dataset/none").code == 3


def test_rm_takes_pins_out_all_or_none_and_leaves_the_files(pinned: Invoke, work: Path) -> None:
    pinned("lock", "zoo:v0").ok()
    pinned("sync").ok()
    refused = pinned("lock", "--rm", "model/zoo:production", "zoo", "--json")
    assert refused.code == 3
    assert "model/zoo:production" in refused.error["hint"]
    assert len(read_lock(work)) == 2
    done = pinned("lock", "--rm", "zoo:v0", "--json").ok().json
    assert [pin["reference"] for pin in done["removed"]] == ["local/default/zoo:v0"]
    assert [row["reference"] for row in read_lock(work)] == ["model/zoo:production"]
    assert sorted(tree(work / "data")) == ["a.txt", "deep/b.txt"]
    assert pinned("lock", "--check").ok().stdout.count("\n") == 1


def test_rm_takes_out_what_is_gone_from_the_root_and_the_last_pin_too(pinned: Invoke) -> None:
    pinned("unlink", "model/zoo:production").ok()
    pinned("collection", "rm", "model/zoo", "-y").ok()
    assert pinned("lock", "--check").code == 1
    pinned("lock", "--rm", "model/zoo:production").ok()
    assert pinned("lock", "--check", "--json").ok().json["pins"] == []
    pinned("sync").ok()
    pinned("lock", "zoo").ok()


def test_sync_brings_the_locked_version_though_the_alias_moved(pinned: Invoke, work: Path) -> None:
    log(pinned, work, {"a.txt": "new"})
    promote(pinned)
    result = pinned("sync").ok()
    assert result.lines == [str(work / "data")]
    assert tree(work / "data") == {"a.txt": "one", "deep/b.txt": "two"}
    assert "lock --update" in result.stderr


def test_sync_advises_no_update_where_there_is_nothing_to_take(pinned: Invoke) -> None:
    pinned("alias", "rm", "model/zoo", "production").ok()
    done = pinned("sync").ok()
    assert "has no alias 'production'" in done.stderr
    assert "lock --update" not in done.stderr
    frozen = pinned("sync", "--frozen")
    assert frozen.code == 4
    assert "lock --rm REF" in frozen.stderr
    assert pinned("lock", "--update").code == 3


def test_sync_frozen_fails_when_stale_and_writes_nothing(pinned: Invoke, work: Path) -> None:
    pinned("sync", "--frozen").ok()
    log(pinned, work, {"a.txt": "new"})
    promote(pinned)
    (work / "data" / "a.txt").unlink()
    result = pinned("sync", "--frozen")
    assert result.code == 4
    assert "v1 now" in result.stderr
    assert "lock --update" in result.stderr
    assert not (work / "data" / "a.txt").exists()


def test_a_second_sync_keeps_every_time(pinned: Invoke, work: Path) -> None:
    pinned("sync").ok()
    before = {path: path.stat().st_mtime_ns for path in (work / "data").rglob("*")}
    documents = pinned("sync", "--json").ok().json["synced"]
    assert [(item["written"], item["skipped"], item["removed"]) for item in documents] == [(0, 2, 0)]
    assert {path: path.stat().st_mtime_ns for path in (work / "data").rglob("*")} == before


def test_sync_removes_what_another_version_left_and_nothing_else(pinned: Invoke, work: Path) -> None:
    pinned("sync").ok()
    (work / "data" / "mine.txt").write_text("mine")
    (work / "data" / "copy.txt").write_text("two")
    log(pinned, work, {"a.txt": "new"})
    promote(pinned)
    pinned("lock", "--update").ok()
    pinned("sync").ok()
    # copy.txt has stored content too, but no version ever had it at that path.
    assert tree(work / "data") == {"a.txt": "new", "mine.txt": "mine", "copy.txt": "two"}
    assert not (work / "data" / "deep").exists()


def test_local_changes_are_refused_before_anything_is_written(pinned: Invoke, work: Path) -> None:
    log(pinned, work, {"z": "z"}, name="other")
    pinned("lock", "other", "-o", "other").ok()
    pinned("sync").ok()
    (work / "data" / "a.txt").write_text("edited by hand")
    (work / "other" / "z").unlink()
    result = pinned("sync")
    assert result.code == 5
    assert "data/a.txt" in result.stderr
    assert not (work / "other" / "z").exists()
    pinned("sync", "--force").ok()
    assert tree(work / "data")["a.txt"] == "one"


def test_all_or_nothing_when_content_is_missing(pinned: Invoke, work: Path, root: Path) -> None:
    log(pinned, work, {"z": "z"}, name="other")
    pinned("lock", "other", "-o", "a-first").ok()
    for path in root.rglob("*"):
        if path.is_file() and ("packs" in path.parts or "blobs" in path.parts):
            path.unlink()
    result = pinned("sync")
    assert result.code in (3, 6)
    assert sorted(os.listdir(work)) == ["regcli.lock"]


def test_a_lock_of_another_root_is_told_by_its_digest(pinned: Invoke, work: Path) -> None:
    lock = work / "regcli.lock"
    digest = read_lock(work)[0]["digest"]
    lock.write_text(lock.read_text().replace(digest, "0" * 32))
    result = pinned("sync")
    assert result.code == 6
    assert digest in result.stderr
    assert not (work / "data").exists()


def test_the_same_digest_under_another_number_is_found(pinned: Invoke, work: Path) -> None:
    lock = work / "regcli.lock"
    lock.write_text(lock.read_text().replace('"v0"', '"v7"'))
    pinned("sync").ok()
    assert tree(work / "data") == {"a.txt": "one", "deep/b.txt": "two"}


@pytest.mark.parametrize("directory", ["/tmp/evil", "../evil", "x/../../evil", ".git/hooks", ".GIT/hooks", "C:/evil"])
def test_a_hostile_place_in_the_lock_is_refused(pinned: Invoke, work: Path, directory: str) -> None:
    lock = work / "regcli.lock"
    lock.write_text(lock.read_text().replace('directory = "data"', f'directory = "{directory}"'))
    before = sorted(os.listdir(work.parent))
    assert pinned("sync").code == 2
    assert sorted(os.listdir(work)) == ["regcli.lock"]
    assert sorted(os.listdir(work.parent)) == before


@pytest.mark.parametrize("inside", [False, True])
def test_a_link_that_leads_out_is_not_followed(pinned: Invoke, work: Path, *, inside: bool) -> None:
    outside = work / ".git" if inside else work.parent / "outside"
    outside.mkdir()
    (work / "data").symlink_to(outside)
    assert pinned("sync").code == 2
    assert os.listdir(outside) == []


def test_the_root_is_no_target(pinned: Invoke, work: Path, root: Path) -> None:
    (work / "data").symlink_to(root)
    before = sorted(os.listdir(root))
    assert pinned("sync").code == 2
    assert sorted(os.listdir(root)) == before


def test_a_version_with_files_for_git_is_not_synced(invoke: Invoke, work: Path) -> None:
    log(invoke, work, {".git/hooks/post-checkout": "#!/bin/sh\n"})
    invoke("lock", "zoo", "-o", ".").ok()
    assert invoke("sync").code == 5
    assert sorted(os.listdir(work)) == ["regcli.lock"]


@pytest.mark.parametrize("arguments", [["lock", "zoo"], ["lock", "--update"]], ids=" ".join)
def test_a_lock_that_another_process_changes_is_waited_for(
    pinned: Invoke, run: Invoke, work: Path, arguments: list[str]
) -> None:
    log(pinned, work, {"a.txt": "new"})
    promote(pinned)
    before = (work / "regcli.lock").read_bytes()
    with ThreadPoolExecutor() as pool:
        with Editing(str(work), wait=1):
            assert run(*arguments, "--wait", "0.1").code == 7
            assert (work / "regcli.lock").read_bytes() == before
            waiting = pool.submit(run, *arguments)
            # What is written meanwhile is not lost.
            time.sleep(1)
            meanwhile = Pin("model/zoo:v1", "v0", "0" * 32, 1, "meanwhile")
            write_lock(str(work), [*parse_lock(before, "regcli.lock"), meanwhile])
        waiting.result().ok()
    rows = {row["reference"]: row["version"] for row in read_lock(work)}
    # `--update` that had read the lock before would not know the new pin; `lock` would have dropped it.
    assert rows["model/zoo:v1"] == ("v1" if "--update" in arguments else "v0")


def test_conflict_markers_stop_every_command(pinned: Invoke, work: Path) -> None:
    with (work / "regcli.lock").open("a") as file:
        file.write("<<<<<<< HEAD\n=======\n>>>>>>> theirs\n")
    for arguments in (["lock", "zoo"], ["lock", "--check"], ["lock", "--update"], ["sync"]):
        result = pinned(*arguments, "--json")
        assert result.code == 4
        assert result.error["kind"] == "merge-conflict"
