"""The `Artifact` class before logging: constructor, contents, properties. Rule ids are those of the W&B SDK's behaviour."""

from __future__ import annotations

import os
import sys
import threading
from datetime import timedelta
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Artifact, ArtifactFinalizedError, ArtifactNotLoggedError, ArtifactStatusError, ArtifactTTL

if TYPE_CHECKING:
    from collections.abc import Callable

Draft = "Callable[..., Artifact]"


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a/b", "é", "a\n", "..", ".", "x" * 129, "a\0"])
def test_names_that_are_not_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="artifact name"):
        Artifact(name, "dataset")


def test_the_longest_name_is_allowed() -> None:
    assert Artifact("x" * 128, "dataset").name == "x" * 128


@pytest.mark.parametrize("kind", ["", "job", "wandb-x", "x/y:z", "a b"])
def test_types_that_are_not_allowed(kind: str) -> None:
    with pytest.raises(ValueError, match="type"):
        Artifact("data", kind)


@pytest.mark.parametrize(("name", "kind"), [("run-x", "run_table"), ("source-x", "code")])
def test_combinations_reserved_for_internal_use(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match="reserved for internal use"):
        Artifact(name, kind)
    assert Artifact("plain", kind).type == kind


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, {}),
        ('{"a": 1}', {"a": 1}),
        ({"a": float("nan")}, {"a": None}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": slice(1, 5, 2)}, {"a": {"slice_start": 1, "slice_step": 2, "slice_stop": 5}}),
        ({"a": {str(n): n for n in range(101)}}, {"a": {str(n): n for n in range(101)}}),
        ({1: True}, {"1": True}),
    ],
    ids=str,
)
def test_metadata_is_kept_as_json(given: Any, kept: dict[str, Any]) -> None:
    assert Artifact("data", "dataset", metadata=given).metadata == kept


@pytest.mark.parametrize("given", [[1], 5, {"a": object()}, "[1]", {("a",): 1}])
def test_metadata_that_is_no_dictionary_of_json_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError):
        Artifact("data", "dataset", metadata=given)


@pytest.mark.parametrize("given", [{"a": float("inf")}, {str(n): n for n in range(101)}, "{"], ids=["inf", "keys", "text"])
def test_metadata_with_values_that_are_not_allowed(given: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the rule
        Artifact("data", "dataset", metadata=given)


def test_metadata_is_a_copy() -> None:
    given = {"a": {"b": [1]}}
    artifact = Artifact("data", "dataset", metadata=given)
    given["a"]["b"].append(2)
    assert artifact.metadata == {"a": {"b": [1]}}


def test_an_array_becomes_a_list() -> None:
    class Array:
        def tolist(self) -> list[int]:
            return [1, 2]

    assert Artifact("data", "dataset", metadata={"a": Array()}).metadata == {"a": [1, 2]}


def test_metadata_beyond_the_limit_is_refused_when_it_is_logged(draft: Callable[..., Artifact], root: Path) -> None:
    artifact = draft()
    artifact.metadata.update({str(n): n for n in range(101)})
    with pytest.raises(ValueError, match="100 metadata keys"):
        artifact.save()
    assert artifact.is_draft()


@pytest.mark.parametrize("options", [{"use_as": "x"}, {"incremental": True}], ids=str)
def test_deprecated_options_warn(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    Artifact("data", "dataset", **options)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("region", ["", 5])
def test_a_storage_region_must_be_a_string(region: Any) -> None:
    with pytest.raises(ValueError, match="storage_region"):
        Artifact("data", "dataset", storage_region=region)
    assert Artifact("data", "dataset", storage_region="coreweave-us").storage_region == "coreweave-us"


NOT_LOGGED = [
    "entity", "project", "qualified_name", "version", "collection", "source_entity", "source_project",
    "source_qualified_name", "source_version", "source_collection", "linked_artifacts", "source_artifact", "url", "ttl",
    "aliases", "tags", "commit_hash", "file_count", "created_at", "updated_at", "linked_at", "history_step", "metrics",
]  # fmt: skip


@pytest.mark.parametrize("member", NOT_LOGGED)
def test_properties_that_only_a_logged_artifact_has(member: str, draft: Callable[..., Artifact]) -> None:
    artifact = draft()
    assert not hasattr(artifact, member)
    with pytest.raises(ArtifactNotLoggedError) as caught:
        getattr(artifact, member)
    assert str(caught.value) == (
        f"'Artifact.{member}' used prior to logging artifact or while in offline mode. "
        "Call Artifact.wait() before accessing logged artifact properties."
    )
    assert isinstance(caught.value, (ArtifactStatusError, AttributeError))


@pytest.mark.parametrize("member", ["aliases", "tags"])
def test_setters_that_only_a_logged_artifact_has(member: str, draft: Callable[..., Artifact]) -> None:
    with pytest.raises(ArtifactNotLoggedError):
        setattr(draft(), member, ["a"])


METHODS: list[tuple[str, tuple[Any, ...]]] = [
    ("wait", ()), ("unlink", ()), ("delete", ()), ("new_draft", ()), ("logged_by", ()), ("used_by", ()), ("files", ()),
    ("file", ()), ("download", ()), ("checkout", ()), ("verify", ()), ("json_encode", ()), ("get_entry", ("a",)),
    ("get_path", ("a",)), ("get", ("a",)), ("__getitem__", ("a",)),
]  # fmt: skip


@pytest.mark.parametrize(("method", "arguments"), METHODS, ids=[m for m, _ in METHODS])
def test_methods_that_only_a_logged_artifact_has(
    method: str, arguments: tuple[Any, ...], draft: Callable[..., Artifact]
) -> None:
    with pytest.raises(ArtifactNotLoggedError):
        getattr(draft(), method)(*arguments)


def test_what_a_draft_says_of_itself(draft: Callable[..., Artifact]) -> None:
    artifact = draft(description="words")
    assert artifact.id is None
    assert artifact.name == artifact.source_name == "data"
    assert not artifact.is_link
    assert artifact.is_draft()
    assert artifact.type == "dataset"
    assert artifact.description == "words"
    assert artifact.state == "PENDING"
    assert artifact.size == 5
    assert artifact.digest_algorithm == "XXH128"
    assert list(artifact.manifest.entries) == ["file1.txt"]
    assert artifact.use_as is None
    assert not artifact.incremental
    assert artifact.distributed_id is None


@pytest.mark.parametrize(
    ("files", "digest"),
    [
        ({}, "f13c5dd8602ab5d18a0c87ce730a735e"),
        ({"file1.txt": "hello"}, "fe0d6c1a25b6d98451da9b04ebf6d80c"),
    ],
    ids=["empty", "file"],
)
def test_digests_are_those_of_the_original_xxh128(files: dict[str, str], digest: str, draft: Callable[..., Artifact]) -> None:
    artifact = draft(files=files)
    assert artifact.digest == digest
    artifact.save()
    assert artifact.digest == artifact.manifest.digest() == digest
    if files:
        entry = artifact.get_entry("file1.txt")
        assert (entry.digest, entry.size, entry.extra) == ("tenBrQcbPn/Hec+qXlI4GA==", 5, {"alg": "XXH128"})


THREE = {"file1.txt": "hello", "nest/file2.txt": "my", "nest/nest/file3.txt": "dude"}


@pytest.mark.parametrize(
    ("files", "digest"),
    [
        ({}, "64e7c61456b10382e2f3b571ac24b659"),
        ({"file1.txt": "hello"}, "a00c2239f036fb656c1dcbf9a32d89b4"),
        ({"great-file.txt": "hello"}, "585b9ada17797e37c9cbab391e69b8c5"),
        ({"subdir/file1.txt": "hello"}, "a757208d042e8627b2970d72a71bed5b"),
        (THREE, "72414374bfd4b0f60a116e7267845f71"),
        ({f"top/{path}": text for path, text in THREE.items()}, "f718baf2d4c910dc6ccd0d9c586fa00f"),
    ],
    ids=["empty", "one", "renamed", "subdir", "three", "top"],
)
def test_digests_are_those_of_the_original_md5(files: dict[str, str], digest: str, draft: Callable[..., Artifact]) -> None:
    artifact = draft(files=files, digest_algorithm="MD5")
    assert artifact.digest == digest
    artifact.save()
    assert (artifact.digest, artifact.digest_algorithm) == (digest, "MD5")
    if "file1.txt" in files:
        entry = artifact.get_entry("file1.txt")
        assert (entry.digest, entry.extra) == ("XUFAKrxLKna5cZ2REBfFkg==", {})


def test_an_md5_digest_of_a_directory(work: Path) -> None:
    for path, text in THREE.items():
        (work / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (work / "in" / path).write_text(text)
    artifact = Artifact("data", "dataset", digest_algorithm="MD5")
    artifact.add_dir("in", name="top")
    assert artifact.digest == "f718baf2d4c910dc6ccd0d9c586fa00f"


def test_an_unknown_algorithm() -> None:
    with pytest.raises(ValueError, match="digest_algorithm"):
        Artifact("data", "dataset", digest_algorithm="SHA1")


# add_file


def test_add_file_returns_the_entry(work: Path) -> None:
    (work / "file1.txt").write_text("hello")
    artifact = Artifact("data", "dataset")
    entry = artifact.add_file("file1.txt", name="sub/renamed.txt")
    assert (entry.path, entry.size, entry.local_path) == ("sub/renamed.txt", 5, "file1.txt")
    assert artifact.add_file(work / "file1.txt").path == "file1.txt"
    assert artifact.get_added_local_path_name("file1.txt") == "sub/renamed.txt"
    assert artifact.get_added_local_path_name("other") is None


def test_the_same_path_twice(work: Path) -> None:
    (work / "a").write_text("one")
    artifact = Artifact("data", "dataset")
    artifact.add_file("a")
    artifact.add_file("a")
    (work / "a").write_text("other")
    with pytest.raises(ValueError, match="cannot add the same path twice"):
        artifact.add_file("a")
    assert artifact.size == 3
    artifact.add_file("a", overwrite=True)
    assert artifact.size == 5


@pytest.mark.parametrize("path", ["missing", ".", "missing/x"])
def test_what_is_no_file(path: str) -> None:
    with pytest.raises(ValueError, match="path is not a file"):
        Artifact("data", "dataset").add_file(path, name="x")


@pytest.mark.parametrize("name", ["", ".", "/abs", "../x", "x/../y", "C:\\x", "C:x", "\\\\host\\share", "\\x", "a\0b"])
def test_paths_that_leave_the_artifact(name: str, work: Path) -> None:
    (work / "a").write_text("one")
    artifact = Artifact("data", "dataset")
    with pytest.raises(ValueError, match="artifact path"):
        artifact.add_file("a", name=name)
    assert not artifact.manifest.entries


@pytest.mark.parametrize(
    ("name", "path"), [("./x//y", "x/y"), ("a\\b", "a\\b"), (PureWindowsPath("a\\b"), "a/b"), (Path("p/q"), "p/q")], ids=str
)
def test_paths_are_made_canonical(name: Any, path: str, work: Path) -> None:
    (work / "a").write_text("one")
    assert Artifact("data", "dataset").add_file("a", name=name).path == path


def test_is_tmp_names_a_file_by_its_content(work: Path) -> None:
    (work / "foo.table.json").write_text("{}")
    entry = Artifact("data", "dataset").add_file("foo.table.json", is_tmp=True)
    assert entry.xxh128 is not None
    assert entry.path == f"{entry.xxh128[:20]}.table.json"


def test_an_unknown_policy(work: Path) -> None:
    (work / "a").write_text("one")
    artifact = Artifact("data", "dataset")
    for add in (lambda: artifact.add_file("a", policy="other"), lambda: artifact.add_dir(".", policy="other")):
        with pytest.raises(ValueError, match="policy"):
            add()


@pytest.mark.parametrize("size", [5, 3 << 20], ids=["small", "large"])
def test_mutable_content_is_taken_at_once(size: int, work: Path) -> None:
    (work / "a").write_bytes(b"x" * size)
    artifact = Artifact("data", "dataset")
    artifact.add_file("a")
    (work / "a").write_bytes(b"y" * size)
    (work / "a").unlink()
    artifact.save()
    assert Path(artifact.file()).read_bytes() == b"x" * size


def test_mutable_directories_are_taken_at_once(work: Path) -> None:
    (work / "in").mkdir()
    (work / "in" / "a").write_text("before")
    artifact = Artifact("data", "dataset")
    artifact.add_dir("in")
    (work / "in" / "a").write_text("after!")
    artifact.save()
    assert Path(artifact.file()).read_text() == "before"


@pytest.mark.parametrize("what", ["file", "dir"])
def test_immutable_content_that_changed_is_noticed(what: str, work: Path) -> None:
    (work / "in").mkdir()
    (work / "in" / "a").write_text("before")
    artifact = Artifact("data", "dataset")
    if what == "file":
        artifact.add_file("in/a", policy="immutable")
    else:
        artifact.add_dir("in", policy="immutable")
    (work / "in" / "a").write_text("after!")
    with pytest.raises(ValueError, match="changed since it was added"):
        artifact.save()
    assert artifact.is_draft()
    artifact.add_file("in/a", overwrite=True)
    artifact.save()
    assert Path(artifact.file()).read_text() == "after!"


def test_immutable_content_is_read_when_it_is_logged(work: Path, root: Path) -> None:
    (work / "a").write_text("one")
    artifact = Artifact("data", "dataset")
    artifact.add_file("a", policy="immutable")
    assert not root.exists()
    digest = artifact.digest
    artifact.save()
    assert artifact.digest == digest
    assert Path(artifact.file()).read_text() == "one"


def test_adding_small_files_makes_no_root(work: Path, root: Path) -> None:
    (work / "a").write_text("one")
    Artifact("data", "dataset").add_file("a")
    assert not root.exists()


def test_the_executable_bit_is_kept(work: Path) -> None:
    (work / "tool").write_text("#!/bin/sh\n")
    (work / "tool").chmod(0o755)
    artifact = Artifact("data", "dataset")
    assert artifact.add_file("tool").executable
    artifact.save()
    assert os.access(artifact.file(), os.X_OK)


def test_many_small_files_do_not_stay_in_memory(work: Path, root: Path) -> None:
    artifact = Artifact("data", "dataset")
    for number in range(20):
        (work / "a").write_bytes(bytes([number]) * 1_000_000)
        artifact.add_file("a", name=str(number))
    assert artifact._draft._kept_bytes <= 16 << 20
    assert root.exists()
    artifact.save()
    artifact.download("out")
    assert [Path("out", str(n)).read_bytes()[:1] for n in range(20)] == [bytes([n]) for n in range(20)]


# add_dir


@pytest.fixture
def tree(work: Path) -> Path:
    (work / "in" / "sub" / "empty").mkdir(parents=True)
    (work / "in" / "a").write_text("one")
    (work / "in" / "sub" / "b").write_text("two")
    return work / "in"


def test_add_dir_goes_to_the_root_or_under_a_name(tree: Path) -> None:
    artifact = Artifact("data", "dataset")
    artifact.add_dir(tree)
    artifact.add_dir("in", name="copy/here")
    assert list(artifact.manifest.entries) == ["a", "copy/here/a", "copy/here/sub/b", "sub/b"]
    assert artifact.get_added_local_path_name(os.path.join("in", "a")) == "copy/here/a"


def test_add_dir_follows_links_and_cuts_cycles(tree: Path, work: Path) -> None:
    (work / "elsewhere").mkdir()
    (work / "elsewhere" / "c").write_text("three")
    (tree / "file-link").symlink_to("a")
    (tree / "dir-link").symlink_to(work / "elsewhere")
    (tree / "cycle").symlink_to(tree)
    artifact = Artifact("data", "dataset")
    artifact.add_dir("in")
    assert {"a", "file-link", "dir-link/c", "sub/b"} <= set(artifact.manifest.entries)
    assert len(artifact.manifest.entries) < 20


def test_add_dir_of_changed_content(tree: Path) -> None:
    artifact = Artifact("data", "dataset")
    artifact.add_dir("in")
    (tree / "a").write_text("changed")
    (tree / "new").write_text("new")
    (tree / "sub" / "b").unlink()
    with pytest.raises(ValueError, match="cannot add the same path twice"):
        artifact.add_dir("in")
    assert list(artifact.manifest.entries) == ["a", "sub/b"]
    artifact.add_dir("in", merge=True)
    assert list(artifact.manifest.entries) == ["a", "new", "sub/b"]
    artifact.save()
    artifact.download("out")
    assert Path("out/a").read_text() == "changed"


def test_what_is_no_directory(tree: Path) -> None:
    for path in ("in/a", "missing"):
        with pytest.raises(ValueError, match="path is not a directory"):
            Artifact("data", "dataset").add_dir(path)


def test_a_path_cannot_be_a_file_and_a_directory(draft: Callable[..., Artifact]) -> None:
    artifact = draft(files={"a": "one", "a/b": "two"})
    with pytest.raises(ValueError, match="both a file and a directory"):
        artifact.save()
    assert artifact.is_draft()


# new_file


def test_new_file_writes_text_and_bytes(draft: Callable[..., Artifact]) -> None:
    artifact = draft(files={"text": "grüße"})
    with artifact.new_file("bytes", mode="xb") as stream:
        stream.write(b"\0\1")
    with artifact.new_file("latin", encoding="latin-1") as stream:
        stream.write("é")
    artifact.save()
    artifact.download("out")
    assert Path("out/text").read_bytes() == "grüße".encode()
    assert Path("out/bytes").read_bytes() == b"\0\1"
    assert Path("out/latin").read_bytes() == b"\xe9"


def test_new_file_of_a_name_that_is_taken(draft: Callable[..., Artifact]) -> None:
    artifact = draft(files={"a": "one"})
    with pytest.raises(ValueError, match="already exists"), artifact.new_file("a"):
        pass
    with artifact.new_file("a", mode="w") as stream:
        stream.write("more")
    assert artifact.size == 4
    with pytest.raises(ValueError, match="cannot write"), artifact.new_file("b", mode="r"):
        pass


def test_a_new_file_that_fails_is_not_added(draft: Callable[..., Artifact]) -> None:
    artifact = draft(files={})
    with pytest.raises(UnicodeEncodeError), artifact.new_file("a", encoding="ascii") as stream:
        stream.write("é")
    with pytest.raises(KeyError), artifact.new_file("b") as stream:
        raise KeyError
    assert not artifact.manifest.entries


# remove, finalize


def test_remove_paths_directories_and_entries(draft: Callable[..., Artifact]) -> None:
    artifact = draft(files={"a": "1", "dir/b": "2", "dir/sub/c": "3", "dir2/d": "4", "e": "5", "w/x": "6"})
    artifact.remove("a")
    artifact.remove("dir/")
    artifact.remove(artifact.manifest.entries["e"])
    artifact.remove(PureWindowsPath("w\\x"))
    assert list(artifact.manifest.entries) == ["dir2/d"]
    with pytest.raises(FileNotFoundError, match="no such file"):
        artifact.remove("dir")
    artifact.remove(Path("dir2/d"))
    assert artifact.size == 0


def test_a_finalized_artifact_cannot_be_changed(draft: Callable[..., Artifact], tree: Path) -> None:
    artifact = draft()
    artifact.finalize()
    changes: dict[str, Callable[[], Any]] = {
        "add_file": lambda: artifact.add_file("in/a"),
        "add_dir": lambda: artifact.add_dir("in"),
        "add_reference": lambda: artifact.add_reference("file:///etc/passwd"),
        "add": lambda: artifact.add([1], "x"),
        "remove": lambda: artifact.remove("file1.txt"),
        "new_file": lambda: artifact.new_file("x").__enter__(),
    }
    for name, change in changes.items():
        with pytest.raises(ArtifactFinalizedError) as caught:
            change()
        assert str(caught.value) == f"'Artifact.{name}' used on logged artifact. Can't modify finalized artifact."
    artifact.metadata = {"still": 1}
    artifact.description = "still"
    artifact.save()
    assert (artifact.metadata, artifact.description) == ({"still": 1}, "still")


# ttl


def test_ttl_of_a_draft(draft: Callable[..., Artifact]) -> None:
    artifact = draft()
    artifact.ttl = timedelta(seconds=1.5)
    assert artifact.ttl == timedelta(seconds=1)
    artifact.ttl = None
    assert artifact.ttl is None
    for wrong in (timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=999)):
        with pytest.raises(ValueError, match="at least one second"):
            artifact.ttl = wrong
    with pytest.raises(TypeError):
        artifact.ttl = 5  # type: ignore[assignment]
    artifact.ttl = ArtifactTTL.INHERIT
    with pytest.raises(ArtifactNotLoggedError):
        _ = artifact.ttl


# Threads


def test_threads_may_fill_one_draft(work: Path) -> None:
    (work / "same").write_text("same")
    for number in range(40):
        (work / f"f{number}").write_text(str(number))
    artifact = Artifact("data", "dataset")
    failures: list[BaseException] = []

    def fill(start: int) -> None:
        try:
            for number in range(start, 40, 8):
                artifact.add_file(f"f{number}")
                artifact.add_file("same")
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=fill, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(artifact.manifest.entries) == 41
    artifact.save()
    artifact.download("out")
    assert [Path("out", f"f{n}").read_text() for n in range(40)] == [str(n) for n in range(40)]


def test_threads_may_log_several_artifacts_and_fill_a_common_one(work: Path, invoke: Callable[..., Any]) -> None:
    common = Artifact("common", "dataset")
    failures: list[BaseException] = []

    def make(number: int) -> None:
        try:
            tree = work / f"tree{number}"
            tree.mkdir()
            (tree / "large").write_bytes(bytes([number]) * (1 << 20))
            for name in range(20):
                (tree / f"f{name}").write_text(f"{number}-{name}")
            artifact = Artifact(f"own{number}", "dataset")
            artifact.add_dir(tree)
            common.add_dir(tree, name=f"of{number}")
            artifact.save()
            artifact.verify(artifact.download(f"out{number}"))
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures
    common.save()
    assert common.file_count == 6 * 21
    assert invoke("verify").code == 0


def test_several_drafts_in_one_process_are_apart(draft: Callable[..., Artifact]) -> None:
    first, second = draft("one", {"a": "1"}), draft("two", {"b": "2"})
    second.save()
    first.save()
    assert list(first.manifest.entries) == ["a"]
    assert list(second.manifest.entries) == ["b"]


def test_public_names_are_there() -> None:
    assert set(regcli.__all__) <= set(dir(regcli))
    for name in regcli.__all__:
        assert hasattr(regcli, name), name
    with pytest.raises(AttributeError):
        regcli.nothing  # noqa: B018


def test_a_directory_that_is_all_there_is_has_one_digest_whatever_follows(work: Path) -> None:
    (work / "d").mkdir()
    for name in ("a", "b"):
        (work / "d" / name).write_text(name)

    def fresh() -> regcli.Artifact:
        artifact = regcli.Artifact("data", "dataset")
        artifact.add_dir("d")
        return artifact

    whole = fresh()
    single = regcli.Artifact("data", "dataset")
    for name in ("a", "b"):
        single.add_file(f"d/{name}")
    assert whole.digest == single.digest
    changes: tuple[Callable[[Any], Any], ...] = (
        lambda draft: draft.remove("a"),
        lambda draft: draft.add_file("d/a", "c"),
        lambda draft: draft.add_file("d/a", "b", overwrite=True),
        lambda draft: draft.add_dir("d", "again"),
    )
    for change in changes:
        changed = fresh()
        change(changed)
        expected = changed.digest
        changed.save()
        assert expected == changed.digest == changed.new_draft().digest != whole.digest
    with regcli.init(group="g") as run:
        run.upsert_artifact(single)
        part = regcli.Artifact("data", "dataset")
        (work / "e").mkdir()
        (work / "e" / "c").write_text("c")
        part.add_dir("e")
        made = run.finish_artifact(part)
    assert made.digest == made.new_draft().digest
    assert sorted(made.manifest.entries) == ["a", "b", "c"]
