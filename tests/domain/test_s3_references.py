"""References to S3, against moto's server on loopback (R-04, R-14, R-15, R-17, R-19, R-21, R-22)."""

from __future__ import annotations

import os
from hashlib import md5
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from regcli.domain.files import entry_document
from regcli.domain.references import collect_references
from regcli.errors import MissingReferenceError, ReferenceChangedError, StorageError, UsageError
from tests.domain.origins import fetch, log, make_context, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regcli.domain.context import Context


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_S3_ENDPOINT_URL": endpoint,
    }
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def context(tmp_path: Path, environment: dict[str, str]) -> Context:
    return make_context(tmp_path / "root", environment)


@pytest.fixture
def client(endpoint: str, environment: dict[str, str]) -> Any:
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


@pytest.fixture
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    """A bucket with a few objects, and what a console leaves beside them."""
    name = f"b{abs(hash(request.node.name)):x}"
    client.create_bucket(Bucket=name)
    for key, body in {
        "data/a.csv": b"aaa",
        "data/b c.csv": b"bb",
        "data/deep/d.csv": b"d",
        "data2/other.csv": b"o",
        "data/": b"",
        "data/empty": b"",
        "single.bin": b"single",
        "empty.txt": b"",
    }.items():
        client.put_object(Bucket=name, Key=key, Body=body)
    return name


def test_an_object_is_recorded_with_its_etag(context: Context, bucket: str, tmp_path: Path) -> None:
    entries = collect_references(context, f"s3://{bucket}/single.bin")
    # S3's ETag of what was put in one piece is its MD5.
    assert [entry[:3] for entry in entries] == [("single.bin", md5(b"single", usedforsecurity=False).hexdigest(), 6)]
    document = entry_document(entries[0])
    assert document["etag"] == f'"{entries[0][1]}"'
    assert "version_id" not in document
    log(context, "a", entries=entries)
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"single.bin": b"single"}


def test_a_prefix_is_every_object_under_it(context: Context, bucket: str, tmp_path: Path) -> None:
    for uri in (f"s3://{bucket}/data", f"s3://{bucket}/data/"):
        entries = collect_references(context, uri)
        assert [entry[0] for entry in entries] == ["a.csv", "b c.csv", "deep/d.csv"]
        assert entry_document(entries[1])["ref"] == f"s3://{bucket}/data/b c.csv"
    log(context, "a", f"s3://{bucket}/data", name="here")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"here/a.csv": b"aaa", "here/b c.csv": b"bb", "here/deep/d.csv": b"d"}


def test_a_whole_bucket_leaves_out_what_is_empty(context: Context, bucket: str) -> None:
    paths = [entry[0] for entry in collect_references(context, f"s3://{bucket}")]
    assert paths == ["data/a.csv", "data/b c.csv", "data/deep/d.csv", "data2/other.csv", "single.bin"]


def test_an_empty_object_that_is_named_is_recorded(context: Context, bucket: str, tmp_path: Path) -> None:
    log(context, "a", f"s3://{bucket}/empty.txt")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"empty.txt": b""}


def test_more_objects_than_asked_for_are_refused(context: Context, bucket: str) -> None:
    with pytest.raises(UsageError, match="exceeded 2 objects tracked"):
        collect_references(context, f"s3://{bucket}/data", max_objects=2)
    assert len(collect_references(context, f"s3://{bucket}/data", max_objects=3)) == 3


def test_what_is_not_there_is_said(context: Context, bucket: str) -> None:
    with pytest.raises(MissingReferenceError, match=f"unable to find 'nope' at 's3://{bucket}/nope'"):
        collect_references(context, f"s3://{bucket}/nope")
    with pytest.raises(MissingReferenceError):
        collect_references(context, "s3://no-such-bucket/x")


def test_a_changed_object_is_not_delivered(context: Context, bucket: str, client: Any, tmp_path: Path) -> None:
    log(context, "a", f"s3://{bucket}/single.bin")
    client.put_object(Bucket=bucket, Key="single.bin", Body=b"SINGLE")
    with pytest.raises(ReferenceChangedError, match="ETag"):
        fetch(context, "a", tmp_path / "out")
    client.delete_object(Bucket=bucket, Key="single.bin")
    with pytest.raises(MissingReferenceError, match="unable to find"):
        fetch(context, "a", tmp_path / "out")
    assert fetch(context, "a", tmp_path / "out", allow_missing=True).missing == ["single.bin"]


def test_the_recorded_version_is_fetched_whatever_came_later(
    context: Context, bucket: str, client: Any, tmp_path: Path
) -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = client.put_object(Bucket=bucket, Key="v/x", Body=b"first")["VersionId"]
    client.put_object(Bucket=bucket, Key="v/y", Body=b"other")
    entries = collect_references(context, f"s3://{bucket}/v")
    assert entry_document(entries[0])["version_id"] == first
    log(context, "a", entries=entries)
    client.put_object(Bucket=bucket, Key="v/x", Body=b"second")
    client.delete_object(Bucket=bucket, Key="v/y")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": b"first", "y": b"other"}
    # A URI may ask for a version itself.
    old = collect_references(context, f"s3://{bucket}/v/x?versionId={first}")
    assert old[0][:3] == ("x", entries[0][1], 5)
    now = collect_references(context, f"s3://{bucket}/v/x")
    assert now[0][1] != old[0][1]
    log(context, "b", entries=old)
    fetch(context, "b", tmp_path / "b")
    assert tree(tmp_path / "b") == {"x": b"first"}


def test_a_file_that_its_etag_proves_is_not_fetched(context: Context, bucket: str, client: Any, tmp_path: Path) -> None:
    log(context, "a", f"s3://{bucket}/single.bin")
    fetch(context, "a", tmp_path / "out")
    client.delete_object(Bucket=bucket, Key="single.bin")
    assert fetch(context, "a", tmp_path / "out").skipped == 1


def test_what_was_put_in_parts_is_fetched_and_its_times_kept(
    context: Context, bucket: str, client: Any, tmp_path: Path
) -> None:
    body = os.urandom(5 << 20) + b"the end"
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts.bin")["UploadId"]
    parts = []
    for number, data in enumerate((body[: 5 << 20], body[5 << 20 :]), 1):
        tag = client.upload_part(Bucket=bucket, Key="parts.bin", UploadId=upload, PartNumber=number, Body=data)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    client.complete_multipart_upload(Bucket=bucket, Key="parts.bin", UploadId=upload, MultipartUpload={"Parts": parts})
    log(context, "a", f"s3://{bucket}/parts.bin")
    fetch(context, "a", tmp_path / "out")
    assert (tmp_path / "out" / "parts.bin").read_bytes() == body
    os.utime(tmp_path / "out" / "parts.bin", (1, 1))
    assert fetch(context, "a", tmp_path / "out").skipped == 1
    assert os.stat(tmp_path / "out" / "parts.bin").st_mtime == 1


def test_keys_are_taken_as_they_stand(context: Context, client: Any, tmp_path: Path) -> None:
    client.create_bucket(Bucket="odd-keys")
    names = ["w#x", "100%", "a%20b", "q?y", "동물원", 't~*[z]{}^|"<>', "a+b&c=d;e", "end "]
    for name in names:
        client.put_object(Bucket="odd-keys", Key=f"p/{name}", Body=name.encode())
    log(context, "each", *[f"s3://odd-keys/p/{name}" for name in names])
    log(context, "all", "s3://odd-keys/p")
    for artifact in ("each", "all"):
        fetch(context, artifact, tmp_path / artifact)
        assert tree(tmp_path / artifact) == {name: name.encode() for name in names}
    for key in ("a//b", "./c"):
        with pytest.raises(UsageError, match="cannot be asked for"):
            collect_references(context, f"s3://odd-keys/{key}")


def test_a_profile_gives_the_credentials_and_the_region(
    endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    (tmp_path / "config").write_text("[profile work]\nregion = eu-west-1\n")
    variables = {
        "AWS_S3_ENDPOINT_URL": endpoint,
        "AWS_PROFILE": "work",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    context = make_context(tmp_path / "root", variables)
    log(context, "a", f"s3://{bucket}/single.bin")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"single.bin": b"single"}


def test_a_store_that_is_not_there_is_said_with_what_to_check(tmp_path: Path, environment: dict[str, str]) -> None:
    context = make_context(tmp_path / "root", {**environment, "AWS_S3_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(StorageError, match="cannot read 's3://b/k' from S3") as caught:
        collect_references(context, "s3://b/k")
    assert "AWS_REGION" in str(caught.value.hint)
    assert "\n" not in caught.value.message
