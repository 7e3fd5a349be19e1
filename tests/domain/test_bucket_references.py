"""References to object stores: what their URIs mean, and what happens without the library (R-04 to R-06, R-11)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from regcli.domain.references import collect_references
from regcli.errors import MissingLibraryError, UsageError
from regcli.store.elsewhere.bucket_uri import AZURE, GS, S3, is_bucket, parse_uri
from tests.domain.origins import fetch, log, make_context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("uri", "kind", "bucket", "key", "version_id"),
    [
        ("s3://b/k", S3, "b", "k", None),
        ("s3://b/a/b c#d?e", S3, "b", "a/b c#d?e", None),
        ("s3://b/k?versionId=a.B_c", S3, "b", "k", "a.B_c"),
        ("s3://b", S3, "b", "", None),
        ("S3://b/dir/", S3, "b", "dir", None),
        ("gs://b/k#1234", GS, "b", "k", "1234"),
        ("gs://b/k#x", GS, "b", "k#x", None),
        ("az://container/k", AZURE, "container", "k", None),
        ("abfss://container@account.dfs.core.windows.net/k", AZURE, "container", "k", None),
        ("https://account.blob.core.windows.net/container/a%20b", AZURE, "container", "a b", None),
        (
            "https://account.blob.core.windows.net/$web/k?versionid=2024-01-01T00:00:00Z",
            AZURE,
            "$web",
            "k",
            "2024-01-01T00:00:00Z",
        ),
    ],
)
def test_a_uri_means_an_object(uri: str, kind: str, bucket: str, key: str, version_id: str | None) -> None:
    place = parse_uri(uri)
    assert (place.kind, place.bucket, place.key, place.version_id) == (kind, bucket, key, version_id)
    assert is_bucket(uri)


def test_other_hosts_are_the_web() -> None:
    assert not is_bucket("https://account.blob.core.windows.net.example.com/x")
    assert not is_bucket("http://account.blob.core.windows.net/x")
    assert not is_bucket("https://example.com/account.blob.core.windows.net")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://",
        "s3:///k",
        "s3://evil.com:80@b/k",
        "s3://b#x/k",
        "s3://b\\x/k",
        "az://../k",
        "abfss://c@evil.example:80#.dfs.core.windows.net/k",
        "https://evil:pw@account.blob.core.windows.net/c/k",
        "https://account.blob.core.windows.net/c/k?sv=1&sig=secret",
    ],
)
def test_nothing_in_a_uri_leads_credentials_elsewhere(uri: str) -> None:
    with pytest.raises(UsageError):
        parse_uri(uri)


@pytest.mark.parametrize("uri", ["s3://b/k", "gs://b/k", "az://c/k", "https://a.blob.core.windows.net/c/k"])
def test_without_the_library_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    context = make_context(tmp_path / "root")
    with pytest.raises(MissingLibraryError, match="obstore") as caught:
        collect_references(context, uri)
    assert caught.value.exit_code == 2
    assert "pip install 'regcli[cloud]'" in str(caught.value.hint)
    # What needs nobody's answer can be recorded without it, and only fetching fails.
    assert log(context, "a", uri, checksum=False).created
    with pytest.raises(MissingLibraryError):
        fetch(context, "a", tmp_path / "out", allow_missing=True)


def test_without_checksum_a_prefix_is_one_entry(tmp_path: Path) -> None:
    context = make_context(tmp_path / "root")
    entries = collect_references(context, "s3://bucket/some/prefix/", checksum=False)
    assert [entry[:3] for entry in entries] == [("prefix", "s3://bucket/some/prefix/", 0)]
    assert collect_references(context, "s3://bucket", checksum=False)[0][0] == "bucket"
