"""References to files of this machine (R-01, R-02, R-07, R-08, R-11 to R-18, R-20), and to other versions (R-10)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from regcli.domain.deletion import delete_version
from regcli.domain.download import DownloadOptions, checkout
from regcli.domain.fetching import Fetched, fetch_references
from regcli.domain.files import entry_document, list_files
from regcli.domain.references import artifact_uri, collect_references, split_named
from regcli.domain.verification import verify_directory, verify_root
from regcli.errors import (
    IntegrityError,
    MissingPathError,
    MissingReferenceError,
    NotFoundError,
    ReferenceChangedError,
    RefusedError,
    UsageError,
)
from regcli.store.manifest import REFERENCE, decode_manifest, encode_manifest, manifest_digest
from tests.domain.origins import fetch, log, make_context, tree

if TYPE_CHECKING:
    from pathlib import Path

    from regcli.domain.context import Context


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path / "root")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "nest" / "nest").mkdir(parents=True)
    (top / "file1.txt").write_text("hello")
    (top / "nest" / "file2.txt").write_text("my")
    (top / "nest" / "nest" / "file3.txt").write_text("dude")
    return top


@pytest.mark.parametrize("algorithm", ["XXH128", "MD5"])
def test_a_reference_and_a_file_of_equal_bytes_give_one_digest(context: Context, source: Path, algorithm: str) -> None:
    stored = log(context, "a", files=[source], algorithm=algorithm)
    referred = log(context, "b", f"file://{source}", algorithm=algorithm)
    assert referred.digest == stored.digest
    assert referred.size == 11


def test_the_digest_of_three_references_is_that_of_the_original(context: Context, source: Path) -> None:
    entries = collect_references(context, f"file://{source}", algorithm="MD5")
    assert manifest_digest(entries, "MD5") == "72414374bfd4b0f60a116e7267845f71"
    under = collect_references(context, f"file://{source}", name="top", algorithm="MD5")
    assert manifest_digest(under, "MD5") == "f718baf2d4c910dc6ccd0d9c586fa00f"


def test_an_unknown_scheme_has_the_uri_as_digest_as_in_the_original(context: Context) -> None:
    entries = collect_references(context, "ref://example.com/somefile.txt", name="ref", algorithm="MD5")
    assert manifest_digest(entries, "MD5") == "410ade94865e89ebe1f593f4379ac228"
    assert entries[0][2] == 0
    assert "cannot check or fetch" in context.warnings[0]


def test_references_are_listed_and_nothing_is_stored(context: Context, source: Path) -> None:
    entries = collect_references(context, f"file://{source}", prefix="data")
    assert [entry[0] for entry in entries] == ["data/file1.txt", "data/nest/file2.txt", "data/nest/nest/file3.txt"]
    assert [entry_document(entry)["ref"] for entry in entries] == [f"file://{source}/{entry[0][5:]}" for entry in entries]
    logged = log(context, "a", entries=entries)
    assert logged.version is not None
    assert logged.version.record["references"] == 3
    assert [size for _, size in context.root.content.blobs()] == [len(encode_manifest(entries))]


def test_names_that_a_uri_may_not_have_come_back(context: Context, source: Path, tmp_path: Path) -> None:
    names = ["a b.txt", "100%.txt", "%41.txt", "q?x#y.txt", "동물원.csv", "semi;colon&.txt", "e=mc2"]
    for name in names:
        (source / name).write_text(name)
    log(context, "a", f"file://{source}")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(source)
    single = collect_references(context, f"file://{source}/%41.txt")
    assert single[0][0] == "%41.txt"
    assert collect_references(context, f"file://{source}/a%20b.txt")[0][0] == "a b.txt"


def test_links_to_files_are_followed_and_links_to_directories_are_not(context: Context, source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("linked")
    (source / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    (source / "linked").symlink_to(source / "nest")
    paths = [entry[0] for entry in collect_references(context, f"file://{source}")]
    assert "link.txt" in paths
    assert not [path for path in paths if path.startswith("linked")]
    through = tmp_path / "door"
    through.symlink_to(source)
    assert len(collect_references(context, f"file://{through}")) == len(paths)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/tmp/file", "references must be URIs"),
        ("data/file", "to reference a local file, use file://"),
        ("file://", "must be a valid file or directory path"),
        ("foo://bar/baz", "needs a name"),
        ("regcli-artifact://nothing", "names no entry"),
        ("http://a/b\nc", "has a character"),
    ],
)
def test_what_is_no_reference_is_said(context: Context, uri: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        collect_references(context, uri)
    assert words in f"{caught.value.message} ({caught.value.hint})"
    assert not os.path.exists(context.root_path)


def test_a_path_with_nothing_there_is_not_found(context: Context, tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="must be a valid file or directory path: there is nothing"):
        collect_references(context, "file:///no/such/thing")
    (tmp_path / "nowhere").symlink_to("no-such-target")
    with pytest.raises(MissingPathError, match="a link that leads nowhere"):
        collect_references(context, f"file://{tmp_path}/nowhere")
    assert not os.path.exists(context.root_path)


@pytest.mark.parametrize("checksum", [True, False])
def test_more_files_than_max_objects_are_refused(context: Context, source: Path, *, checksum: bool) -> None:
    with pytest.raises(UsageError, match="exceeded 2 objects tracked"):
        collect_references(context, f"file://{source}", max_objects=2, checksum=checksum)
    assert len(collect_references(context, f"file://{source}", max_objects=3, checksum=checksum)) == 3


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../b", "C:/x"])
def test_a_name_that_leaves_the_artifact_is_refused(context: Context, source: Path, name: str) -> None:
    with pytest.raises(UsageError):
        collect_references(context, f"file://{source}/file1.txt", name=name)


def test_without_checksum_only_another_uri_makes_a_new_version(context: Context, source: Path, tmp_path: Path) -> None:
    uri = f"file://{source}"
    assert log(context, "a", uri, checksum=False).created
    (source / "file1.txt").write_text("other content")
    assert not log(context, "a", uri, checksum=False).created
    done = fetch(context, "a", tmp_path / "out")
    assert done.written == 3
    assert (tmp_path / "out" / "file1.txt").read_text() == "other content"
    source.rename(tmp_path / "moved")
    assert log(context, "a", f"file://{tmp_path}/moved", checksum=False).created


def test_a_download_is_checked_and_leaves_alone_what_is_right(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    out = tmp_path / "out"
    first = fetch(context, "a", out)
    assert (first.files, first.written, first.bytes) == (3, 3, 11)
    os.utime(out / "file1.txt", (1, 1))
    (source / "nest" / "file2.txt").unlink()
    (out / "nest" / "nest" / "file3.txt").write_text("mine")
    again = fetch(context, "a", out)
    # What is proven by the recorded digest needs no source any more.
    assert (again.written, again.skipped) == (1, 2)
    assert os.stat(out / "file1.txt").st_mtime == 1
    assert (out / "nest" / "nest" / "file3.txt").read_text() == "dude"


def test_changed_content_is_never_given_a_name(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    (source / "file1.txt").write_text("jello")
    (source / "nest" / "file2.txt").write_text("larger")
    with pytest.raises(ReferenceChangedError, match="1 more reference failed"):
        fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"nest/nest/file3.txt": b"dude"}


def test_a_missing_target_is_an_error_or_left_out(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    (source / "file1.txt").unlink()
    with pytest.raises(MissingReferenceError, match="unable to find"):
        fetch(context, "a", tmp_path / "out")
    done = fetch(context, "a", tmp_path / "out", allow_missing=True)
    assert done.missing == ["file1.txt"]
    assert (done.files, done.skipped) == (2, 2)
    assert "left out" in context.warnings[-1]


def test_what_became_a_fifo_or_a_directory_counts_as_gone(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    for name, make in (("file1.txt", os.mkfifo), ("nest/file2.txt", os.mkdir)):
        (source / name).unlink()
        make(source / name)
    assert fetch(context, "a", tmp_path / "out", allow_missing=True).missing == ["file1.txt", "nest/file2.txt"]


def test_nothing_outside_the_target_is_written(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "file1.txt").symlink_to(victim / "file")
    (out / "nest").symlink_to(victim)
    with pytest.raises(RefusedError, match="symbolic link"):
        fetch(context, "a", out)
    assert tree(victim) == {"file": b"precious"}
    (out / "nest").unlink()
    fetch(context, "a", out)
    assert not (out / "file1.txt").is_symlink()
    assert (victim / "file").read_text() == "precious"


def test_a_directory_in_the_way_is_said_and_stays(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}/file1.txt")
    (tmp_path / "out" / "file1.txt" / "inner").mkdir(parents=True)
    with pytest.raises(RefusedError, match="is a directory"):
        fetch(context, "a", tmp_path / "out")
    assert (tmp_path / "out" / "file1.txt" / "inner").is_dir()


def test_no_temporary_file_stays_after_a_failure(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}/file1.txt")
    (source / "file1.txt").write_text("jello")
    with pytest.raises(ReferenceChangedError):
        fetch(context, "a", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_two_references_of_one_name_need_names(context: Context, source: Path) -> None:
    (source / "nest" / "file1.txt").write_text("other")
    with pytest.raises(UsageError, match="different content"):
        log(context, "a", files=[source / "nest" / "file1.txt"], entries=collect_references(context, f"file://{source}"))


def test_named_references_are_taken_apart() -> None:
    assert split_named("s3://b/k?x=http://y") == (None, "s3://b/k?x=http://y")
    assert split_named("w.bin=s3://b/k?x=y") == ("w.bin", "s3://b/k?x=y")
    assert split_named("file:///a=b") == (None, "file:///a=b")
    assert split_named("a=b") == (None, "a=b")


# Checkout and verify


def test_checkout_refuses_to_lose_a_change_to_a_reference(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    out = tmp_path / "out"
    options = DownloadOptions()
    checkout(context, "a", str(out), options)
    (out / "file1.txt").write_text("mine alone")
    (out / "extra.txt").write_text("hello")
    with pytest.raises(RefusedError, match=r"file1\.txt"):
        checkout(context, "a", str(out), options)
    assert (out / "file1.txt").read_text() == "mine alone"
    assert (out / "extra.txt").exists()
    done = checkout(context, "a", str(out), options, force=True)
    assert tree(out) == tree(source)
    assert (done.files, done.written, done.removed) == (3, 1, 1)


def test_checkout_loses_what_the_store_has(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    (tmp_path / "known.txt").write_text("known")
    log(context, "k", files=[tmp_path / "known.txt"])
    out = tmp_path / "out"
    checkout(context, "a", str(out), DownloadOptions())
    (out / "file1.txt").write_text("known")
    checkout(context, "a", str(out), DownloadOptions())
    assert tree(out) == tree(source)


def test_verify_finds_all_that_is_wrong_with_references(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    out = tmp_path / "out"
    fetch(context, "a", out)
    assert verify_directory(context, "a", str(out)).ok
    (out / "file1.txt").write_text("jello")
    (out / "nest" / "file2.txt").unlink()
    (out / "nest" / "nest" / "file3.txt").unlink()
    (out / "nest" / "nest" / "file3.txt").symlink_to("/etc/passwd")
    (out / "more").write_text("")
    problems = [(problem.kind, problem.path) for problem in verify_directory(context, "a", str(out)).problems]
    assert problems == [
        ("modified", "file1.txt"),
        ("extra", "more"),
        ("missing", "nest/file2.txt"),
        ("modified", "nest/nest/file3.txt"),
    ]


def test_verify_of_the_root_asks_nobody_about_references(context: Context, source: Path) -> None:
    log(context, "a", f"file://{source}")
    (source / "file1.txt").unlink()
    assert verify_root(context).ok


# Other versions


def test_an_entry_of_another_version_comes_from_the_store(context: Context, source: Path, tmp_path: Path) -> None:
    (source / "file1.txt").chmod(0o755)
    stored = log(context, "a", files=[source])
    assert stored.version is not None
    identity = stored.version.record["id"]
    logged = log(context, "b", "regcli-artifact://a:v0/file1.txt")
    entry = list_files(context, "b")[1][0]
    assert entry_document(entry)["ref"] == artifact_uri(identity, "file1.txt")
    assert (entry[2], entry[3]) == (0, REFERENCE)
    # As the original records it: the digest of the target, so that the content alone decides.
    assert logged.digest == log(context, "c", files=[source / "file1.txt"]).digest
    fetch(context, "b", tmp_path / "out")
    assert tree(tmp_path / "out") == {"file1.txt": b"hello"}
    assert os.access(tmp_path / "out" / "file1.txt", os.X_OK)
    assert verify_directory(context, "b", str(tmp_path / "out")).ok


@pytest.mark.parametrize("form", ["regcli-artifact://{id}/nest/file2.txt", "wandb-artifact://{id}/nest/file2.txt"])
def test_an_entry_may_be_named_by_the_id(context: Context, source: Path, tmp_path: Path, form: str) -> None:
    stored = log(context, "a", files=[source])
    assert stored.version is not None
    log(context, "b", form.format(id=stored.version.record["id"]), name="x.txt")
    fetch(context, "b", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x.txt": b"my"}


def test_a_chain_of_references_ends_at_the_content(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", f"file://{source}")
    log(context, "b", "regcli-artifact://a:v0/file1.txt", name="one")
    log(context, "c", "regcli-artifact://b:latest/one", name="two")
    first, last = list_files(context, "b")[1][0], list_files(context, "c")[1][0]
    assert entry_document(first)["ref"] == entry_document(last)["ref"]
    fetch(context, "c", tmp_path / "out")
    assert tree(tmp_path / "out") == {"two": b"hello"}


def test_what_was_deleted_cannot_be_referred_to(context: Context, source: Path, tmp_path: Path) -> None:
    log(context, "a", files=[source])
    (source / "file1.txt").write_text("second")
    log(context, "a", files=[source])
    log(context, "b", "regcli-artifact://a:v0/file1.txt")
    delete_version(context, "a:v0", force=True)
    with pytest.raises(MissingReferenceError, match="unable to find the version"):
        fetch(context, "b", tmp_path / "out")
    assert fetch(context, "b", tmp_path / "out", allow_missing=True).missing == ["file1.txt"]
    with pytest.raises(NotFoundError):
        log(context, "c", "regcli-artifact://a:v0/file1.txt")


def test_an_entry_that_is_not_there_is_said(context: Context, source: Path) -> None:
    log(context, "a", files=[source])
    with pytest.raises(NotFoundError, match=r"no file 'nope\.txt'"):
        collect_references(context, "regcli-artifact://a:v0/nope.txt")
    with pytest.raises(MissingReferenceError):
        collect_references(context, f"regcli-artifact://{'0' * 32}/x")


# What anybody may have written


@pytest.mark.parametrize(
    "extra",
    [
        {"ref": "file:///x", "check": 5},
        {"ref": "file:///x", "etag": ["a"]},
        {"ref": "file:///x", "version_id": {}},
        {"ref": "file:///x", "unsized": 1},
        {"ref": "file:///x", "source": "y"},
        {"ref": 7},
        {"ref": "file:///x", "object": {"kind": 3}},
    ],
)
def test_a_malformed_reference_in_a_manifest_is_refused(extra: dict[str, object]) -> None:
    data = encode_manifest([("a", "file:///x", 0, REFERENCE, extra)])
    with pytest.raises(IntegrityError, match="corrupt"):
        decode_manifest(data, "manifest m")


@pytest.mark.parametrize("uri", ["file:relative", "file://other/host", "data:x", "no scheme", "ftp://h/x", "file:///a%00b"])
def test_a_hostile_uri_is_no_more_than_an_error(context: Context, tmp_path: Path, uri: str) -> None:
    entries = [("a", "x", 0, REFERENCE, {"ref": uri, "check": "none"})]
    with pytest.raises(UsageError):
        fetch_references(context, entries, str(tmp_path / "out"))


def test_no_references_do_not_even_make_the_directory(context: Context, tmp_path: Path) -> None:
    done: Fetched = fetch_references(context, [], str(tmp_path / "out"))
    assert (done.files, done.missing) == (0, [])
    assert not (tmp_path / "out").exists()
