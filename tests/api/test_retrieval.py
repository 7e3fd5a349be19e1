"""Reading what an artifact holds: entries, files in pages, download, checkout, verify."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli
from regcli import Artifact, ArtifactNotLoggedError, CommError

if TYPE_CHECKING:
    from collections.abc import Callable

    Logged = Callable[..., Artifact]

FILES = {"a.txt": "one", "some-prefix/b.txt": "two", "some-prefix-two.txt": "three"}


@pytest.fixture
def artifact(logged: Logged) -> Artifact:
    return logged(files=FILES)


def test_entries(artifact: Artifact) -> None:
    entry = artifact.get_entry("some-prefix/b.txt")
    assert (entry.path, entry.name, entry.size, entry.ref) == ("some-prefix/b.txt", "some-prefix/b.txt", 3, None)
    assert artifact.get_path("./a.txt") == artifact.get_entry(Path("a.txt"))
    assert entry.parent_artifact() is artifact
    assert entry.ref_url() == f"wandb-artifact://{artifact.id}/some-prefix/b.txt"
    with pytest.raises(KeyError, match="Path not contained in artifact: nope"):
        artifact.get_entry("nope")
    with pytest.raises(ValueError, match="reference"):
        entry.ref_target()
    assert artifact.get("nope") is None
    assert artifact.get("a.txt") is None


def test_the_manifest_in_the_originals_form(artifact: Artifact) -> None:
    manifest = artifact.manifest
    assert len(manifest) == 3
    assert "a.txt" in manifest
    document = manifest.to_manifest_json()
    assert (document["version"], document["storagePolicy"]) == (1, "wandb-storage-policy-v1")
    assert document["contents"]["a.txt"] == {
        "digest": manifest.entries["a.txt"].digest, "size": 3, "extra": {"alg": "XXH128"},
    }  # fmt: skip
    assert [entry.path for entry in manifest.get_entries_in_directory("some-prefix")] == ["some-prefix/b.txt"]


def test_an_entry_of_a_draft_has_no_artifact(draft: Callable[..., Artifact]) -> None:
    entry = draft().manifest.entries["file1.txt"]
    for method in (entry.parent_artifact, entry.download, entry.ref_url):
        with pytest.raises(ArtifactNotLoggedError):
            method()


def test_one_entry_is_downloaded(artifact: Artifact) -> None:
    path = artifact.get_entry("some-prefix/b.txt").download("out")
    assert path == os.path.join("out", "some-prefix", "b.txt")
    assert Path(path).read_text() == "two"
    assert sorted(path.name for path in Path("out").iterdir()) == ["some-prefix"]


def test_files_come_in_pages(logged: Logged) -> None:
    artifact = logged(files={f"f{number:02d}": str(number) for number in range(7)})
    pages = artifact.files(per_page=3)
    assert (pages.cursor, pages.more, pages.length) == (None, True, None)
    assert pages[0].name == "f00"
    cursor = pages.cursor
    assert pages.next().name == "f00"
    assert next(pages).name == "f01"
    assert [file.name for file in pages[2:5]] == ["f02", "f03", "f04"]
    assert len(pages) == 7
    assert (pages.more, pages.length) == (False, 7)
    assert [file.name for file in artifact.files(start=cursor)] == ["f03", "f04", "f05", "f06"]
    assert [file.name for file in artifact.files(names=["f05", "nope"])] == ["f05"]
    with pytest.raises(StopIteration):
        artifact.files(names=[]).next()
    with pytest.raises(IndexError):
        pages[7]
    for wrong in ("", "zzz", "AAAA"):
        with pytest.raises(ValueError, match="cursor"):
            artifact.files(start=wrong)
    with pytest.raises(ValueError, match="per_page"):
        artifact.files(per_page=0)


def test_a_file(artifact: Artifact) -> None:
    file = artifact.files(names=["a.txt"])[0]
    assert (file.name, file.size, file.mimetype) == ("a.txt", 3, "text/plain")
    assert (file.path_uri, file.digest) == ("", artifact.get_entry("a.txt").digest)
    with file.download("out") as stream:
        assert stream.read() == "one"
    with pytest.raises(ValueError, match="already exists"):
        file.download("out")
    Path("out/a.txt").write_text("mine")
    with file.download("out", exist_ok=True) as stream:
        assert stream.read() == "mine"
    with file.download("out", replace=True) as stream:
        assert stream.read() == "one"


def test_the_only_file(logged: Logged, artifact: Artifact) -> None:
    single = logged("single", files={"x/y.txt": "1"})
    path = single.file()
    assert path == os.path.join(os.getcwd(), "artifacts", "single:v0", "x", "y.txt")
    assert Path(single.file("out")).read_text() == "1"
    with pytest.raises(ValueError, match="contains 3 files"):
        artifact.file()
    with pytest.raises(ValueError, match="contains 0 files"):
        logged("none", files={}).file()


def test_download_to_the_default_directory(artifact: Artifact) -> None:
    where = artifact.download()
    assert where == os.path.join(os.getcwd(), "artifacts", "data:v0")
    link = artifact.link("wandb-registry-model/Zoo")
    assert link.download() == where
    assert {str(path.relative_to(where)) for path in Path(where).rglob("*") if path.is_file()} == set(FILES)


def test_download_leaves_what_is_right_and_replaces_what_is_not(artifact: Artifact) -> None:
    assert artifact.download("out") == "out"
    Path("out/mine").write_text("mine")
    Path("out/a.txt").write_text("changed")
    os.utime("out/some-prefix-two.txt", (1, 1))
    artifact.download(Path("out"))
    assert Path("out/a.txt").read_text() == "one"
    assert Path("out/mine").read_text() == "mine"
    assert Path("out/some-prefix-two.txt").stat().st_mtime == 1


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("some-prefix", {"some-prefix/b.txt", "some-prefix-two.txt"}),
        ("some-prefix/", {"some-prefix/b.txt"}),
        ("", set(FILES)),
        ("nothing", set()),
    ],
)
def test_a_prefix_is_plain_text(prefix: str, names: set[str], artifact: Artifact) -> None:
    artifact.download("out", path_prefix=prefix, skip_cache=True, multipart=True)
    assert {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()} == names


def test_damaged_content_is_never_delivered(logged: Logged, work: Path, root: Path) -> None:
    (work / "large").write_bytes(b"x" * (2 << 20))
    artifact = Artifact("large", "dataset")
    artifact.add_file("large")
    artifact.save()
    blob = next(path for path in (root / "blobs").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"y" * (2 << 20))
    with pytest.raises(CommError, match="corrupt") as caught:
        artifact.download("out")
    assert isinstance(caught.value, regcli.RegcliError)
    assert not Path("out/large").exists()


def test_checkout_makes_the_directory_exactly_the_artifact(artifact: Artifact) -> None:
    where = Path(artifact.checkout())
    assert where == Path.cwd() / "artifacts" / "data"
    (where / "extra").write_text("stored nowhere")
    (where / "a.txt").unlink()
    with pytest.raises(CommError, match="local changes"):
        artifact.checkout(force=False)
    assert (where / "extra").exists()
    assert artifact.checkout(where) == str(where)
    assert {str(path.relative_to(where)) for path in where.rglob("*") if path.is_file()} == set(FILES)


def test_verify_names_all_problems(artifact: Artifact) -> None:
    artifact.download()
    artifact.verify()
    where = Path(artifact.download("out"))
    artifact.verify(where)
    (where / "a.txt").write_text("changed")
    (where / "some-prefix-two.txt").unlink()
    (where / "extra").write_text("x")
    with pytest.raises(ValueError, match="3 places") as caught:
        artifact.verify("out")
    assert "Digest mismatch for file: a.txt" in str(caught.value)
    assert "Missing file: some-prefix-two.txt" in str(caught.value)
    assert "Found file which is not a member: extra" in str(caught.value)
    with pytest.raises(ValueError, match="no directory"):
        artifact.verify("nowhere")


def test_verify_of_an_md5_artifact(logged: Logged) -> None:
    artifact = logged(digest_algorithm="MD5")
    artifact.verify(artifact.download())


# References


def test_references_are_recorded_and_fetched(work: Path) -> None:
    (work / "kept").mkdir()
    (work / "kept" / "x.txt").write_text("elsewhere")
    artifact = Artifact("refs", "dataset")
    entries = artifact.add_reference(f"file://{work}/kept")
    assert [(entry.path, entry.size, entry.ref) for entry in entries] == [("x.txt", 9, f"file://{work}/kept/x.txt")]
    artifact.save()
    entry = artifact.get_entry("x.txt")
    assert entry.ref_target() == f"file://{work}/kept/x.txt"
    assert artifact.files()[0].path_uri == entry.ref
    artifact.download("out")
    assert Path("out/x.txt").read_text() == "elsewhere"
    (work / "kept" / "x.txt").write_text("different")
    with pytest.raises(ValueError, match=r"x\.txt"):
        artifact.download("again")
    (work / "kept" / "x.txt").unlink()
    with pytest.raises(FileNotFoundError):
        artifact.download("again")
    artifact.download("again", allow_missing_references=True)


def test_a_reference_to_another_artifacts_entry(logged: Logged) -> None:
    source = logged(files={"dir/a.txt": "one"})
    artifact = Artifact("derived", "dataset")
    artifact.add_reference(source.get_entry("dir/a.txt"), name="copy.txt")
    artifact.save()
    artifact.download("out")
    assert Path("out/copy.txt").read_text() == "one"


@pytest.mark.parametrize("uri", ["no-scheme", "/etc/passwd", "file:///no/such/file/at/all"])
def test_references_that_cannot_be(uri: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)):
        Artifact("refs", "dataset").add_reference(uri)


def test_an_unknown_scheme_needs_a_name() -> None:
    artifact = Artifact("refs", "dataset", digest_algorithm="MD5")
    with pytest.raises(ValueError, match="name"):
        artifact.add_reference("ref://example.com/somefile.txt")
    entry = artifact.add_reference("ref://example.com/somefile.txt", name="ref")[0]
    assert (entry.digest, entry.size) == ("ref://example.com/somefile.txt", None)
    assert artifact.digest == "410ade94865e89ebe1f593f4379ac228"


class _Tagged(BaseHTTPRequestHandler):
    """Answers every request with the same five bytes and the ETag `"abc"`."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"hello")

    do_HEAD = do_GET  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_web_reference_has_the_originals_digest() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tagged)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/file1.txt"
        artifact = Artifact("refs", "dataset", digest_algorithm="MD5")
        entry = artifact.add_reference(url)[0]
        assert (entry.path, entry.digest, entry.size, entry.ref) == ("file1.txt", "abc", 5, url)
        assert entry.extra["etag"] == '"abc"'
        assert artifact.digest == "48237ccc050a88af9dcd869dd5a7e9f4"
        artifact.save()
        artifact.download("out")
        assert Path("out/file1.txt").read_text() == "hello"
    finally:
        server.shutdown()
        server.server_close()
