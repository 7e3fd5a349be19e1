"""References to the web, against a real server on loopback (R-03, R-11, R-12, R-17, R-19, R-20)."""

from __future__ import annotations

import gzip
import os
import socket
from typing import TYPE_CHECKING

import pytest

from regcli.domain.download import DownloadOptions, checkout
from regcli.domain.files import entry_document
from regcli.domain.references import collect_references
from regcli.domain.verification import verify_directory
from regcli.errors import MissingReferenceError, ReferenceChangedError, RefusedError, StorageError, UsageError
from regcli.store.elsewhere.web import Web, check_url, name_of
from regcli.store.manifest import manifest_digest
from tests.domain.origins import Page, WebServer, fetch, log, make_context, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regcli.domain.context import Context
    from regcli.store.manifest import Entry

BODY = bytes(range(256)) * 4000


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path / "root")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


def only(entries: list[Entry]) -> Entry:
    assert len(entries) == 1
    return entries[0]


def test_the_etag_is_the_digest_as_in_the_original(context: Context, server: WebServer) -> None:
    server.pages["/file1.txt"] = Page(b"hello", '"abc"')
    entry = only(collect_references(context, f"{server.url}/file1.txt", algorithm="MD5"))
    assert entry[:3] == ("file1.txt", "abc", 5)
    assert entry_document(entry)["etag"] == '"abc"'
    # The original's vector (H-11).
    assert manifest_digest([entry], "MD5") == "48237ccc050a88af9dcd869dd5a7e9f4"


def test_recording_reads_no_more_than_the_headers(context: Context, server: WebServer) -> None:
    server.pages["/large.bin"] = Page(BODY, '"large"', cut=0)
    assert only(collect_references(context, f"{server.url}/large.bin"))[2] == len(BODY)


def test_without_etag_the_url_is_the_digest_and_the_size_is_checked(
    context: Context, server: WebServer, tmp_path: Path
) -> None:
    url = f"{server.url}/plain"
    server.pages["/plain"] = Page(b"hello")
    assert only(collect_references(context, url))[1:3] == (url, 5)
    log(context, "a", url)
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"plain": b"hello"}
    server.pages["/plain"] = Page(b"hello, world")
    with pytest.raises(ReferenceChangedError, match="has 12 bytes instead of 5"):
        fetch(context, "a", tmp_path / "other")


def test_a_weak_etag_is_kept_as_it_is(context: Context, server: WebServer) -> None:
    server.pages["/x"] = Page(b"x", 'W/"abc"')
    assert only(collect_references(context, f"{server.url}/x"))[1] == 'W/"abc"'


def test_an_answer_without_a_length_has_no_size(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(BODY, '"e"', announces=False)
    entry = only(collect_references(context, f"{server.url}/x"))
    assert entry[2] == 0
    log(context, "a", entries=[entry])
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": BODY}
    assert verify_directory(context, "a", str(tmp_path / "out")).ok


def test_bytes_are_kept_as_they_are_sent(context: Context, server: WebServer, tmp_path: Path) -> None:
    # As curl does: a server that compresses unasked must not decide what a file holds.
    packed = gzip.compress(b"hello", mtime=0)
    server.pages["/x"] = Page(packed, '"1"', headers={"Content-Encoding": "gzip"})
    assert only(collect_references(context, f"{server.url}/x"))[2] == len(packed)
    log(context, "a", f"{server.url}/x")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": packed}
    assert {headers["Accept-Encoding"] for _, headers in server.requests} == {"identity"}


def test_without_checksum_nobody_is_asked_and_nothing_is_checked(context: Context, server: WebServer, tmp_path: Path) -> None:
    url = f"{server.url}/x"
    assert log(context, "a", url, checksum=False).created
    assert server.requests == []
    server.pages["/x"] = Page(b"later", '"1"')
    assert not log(context, "a", url, checksum=False).created
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": b"later"}


def test_a_new_etag_makes_a_new_version(context: Context, server: WebServer) -> None:
    server.pages["/x"] = Page(b"one", '"1"')
    log(context, "a", f"{server.url}/x")
    assert not log(context, "a", f"{server.url}/x").created
    server.pages["/x"] = Page(b"two", '"2"')
    assert log(context, "a", f"{server.url}/x").created


def test_what_has_another_etag_is_not_delivered(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(b"one", '"1"')
    log(context, "a", f"{server.url}/x")
    server.pages["/x"] = Page(b"two", '"2"')
    with pytest.raises(ReferenceChangedError, match="ETag"):
        fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_a_second_download_keeps_the_times(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(BODY, '"1"')
    log(context, "a", f"{server.url}/x")
    fetch(context, "a", tmp_path / "out")
    os.utime(tmp_path / "out" / "x", (1, 1))
    done = fetch(context, "a", tmp_path / "out")
    assert (done.written, done.skipped) == (0, 1)
    assert os.stat(tmp_path / "out" / "x").st_mtime == 1
    assert os.listdir(tmp_path / "out") == ["x"]


@pytest.mark.parametrize(("status", "missing"), [(404, True), (410, True), (403, False), (401, False), (500, False)])
def test_what_the_server_refuses_is_said(context: Context, server: WebServer, *, status: int, missing: bool) -> None:
    server.pages["/x"] = Page(b"no", status=status)
    with pytest.raises(MissingReferenceError if missing else StorageError, match=f"HTTP {status}"):
        collect_references(context, f"{server.url}/x")


def test_what_is_gone_is_an_error_or_left_out(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(b"one", '"1"')
    server.pages["/y"] = Page(b"two", '"2"')
    log(context, "a", f"{server.url}/x", f"{server.url}/y")
    del server.pages["/x"]
    with pytest.raises(MissingReferenceError, match="unable to find"):
        fetch(context, "a", tmp_path / "out")
    # The others were fetched nevertheless.
    assert tree(tmp_path / "out") == {"y": b"two"}
    assert fetch(context, "a", tmp_path / "out", allow_missing=True).missing == ["x"]


def test_a_busy_server_is_asked_again(context: Context, server: WebServer) -> None:
    server.pages["/x"] = Page(b"one", '"1"', failures=2)
    assert only(collect_references(context, f"{server.url}/x"))[1] == "1"
    server.pages["/x"].failures = 3
    with pytest.raises(StorageError, match="HTTP 503"):
        collect_references(context, f"{server.url}/x")


def test_a_server_that_does_not_answer_is_given_up(server: WebServer) -> None:
    server.pages["/x"] = Page(b"one", '"1"', silent=0.6)
    web = Web(timeout=0.1, sleep=lambda _: None)
    with pytest.raises(StorageError, match="did not answer in time"):
        web.collect(f"{server.url}/x", None, checksum=True)
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_said(context: Context) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(StorageError, match="connection refused"):
            collect_references(context, f"http://127.0.0.1:{port}/x")


# Bodies that are not what was announced


def test_an_answer_that_breaks_off_is_continued(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(BODY, '"1"', ranges=True)
    log(context, "a", f"{server.url}/x")
    server.requests.clear()
    server.pages["/x"].cut = 600_000
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": BODY}
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=600000-"]
    assert server.requests[1][1]["If-Range"] == '"1"'


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', None])
def test_an_answer_that_cannot_be_continued_fails(
    context: Context, server: WebServer, tmp_path: Path, etag: str | None
) -> None:
    server.pages["/x"] = Page(BODY, etag)
    log(context, "a", f"{server.url}/x")
    server.pages["/x"].cut = 1000
    with pytest.raises(StorageError, match="broke off after 1000"):
        fetch(context, "a", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_body_that_changes_between_its_parts_is_not_mixed(context: Context, server: WebServer, tmp_path: Path) -> None:
    page = server.pages["/x"] = Page(BODY, '"1"', ranges=True)
    log(context, "a", f"{server.url}/x")
    web_sleep = context.sleep

    def change(seconds: float) -> None:
        page.body, page.etag, page.cut = BODY[::-1], '"2"', None
        web_sleep(seconds)

    context.sleep = change
    page.cut = 5000
    with pytest.raises(ReferenceChangedError, match="changed while it was fetched"):
        fetch(context, "a", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_never_more_is_read_than_was_recorded(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(b"hello", '"1"')
    log(context, "a", f"{server.url}/x")
    # It says nothing of its length and goes on for ever, for what a client can tell.
    server.pages["/x"] = Page(BODY * 8, '"1"', announces=False)
    with pytest.raises(ReferenceChangedError, match="more than 5 bytes"):
        fetch(context, "a", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
    server.pages["/x"] = Page(b"hello", '"1"', extra=b" and more")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": b"hello"}


# Redirects


def redirect(location: str, status: int = 302) -> Page:
    return Page(b"elsewhere", status=status, headers={"Location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_the_url_stays(context: Context, server: WebServer, tmp_path: Path, status: int) -> None:
    server.pages["/new"] = Page(b"hello", '"1"')
    server.pages["/old"] = redirect("/new", status)
    entry = only(collect_references(context, f"{server.url}/old"))
    assert entry_document(entry)["ref"] == f"{server.url}/old"
    assert entry[:3] == ("old", "1", 5)
    assert context.warnings == []
    log(context, "a", entries=[entry])
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"old": b"hello"}


def test_a_redirect_to_another_host_is_said(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/new"] = Page(b"hello", '"1"')
    server.pages["/old"] = redirect(f"{server.other}/new")
    log(context, "a", f"{server.url}/old")
    host = server.other.removeprefix("http://")
    assert context.warnings == [f"'{server.url}/old' was redirected to {host}"]
    context.warnings.clear()
    fetch(context, "a", tmp_path / "out")
    assert context.warnings == [f"'{server.url}/old' was redirected to {host}"]


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,hello", "gopher://127.0.0.1/", "http://user:pw@127.0.0.1/x"],
)
def test_a_redirect_leads_to_the_web_only(context: Context, server: WebServer, location: str) -> None:
    server.pages["/x"] = redirect(location)
    with pytest.raises(StorageError, match="not followed"):
        collect_references(context, f"{server.url}/x")


def test_a_redirect_never_leaves_encryption(server: WebServer) -> None:
    with pytest.raises(StorageError, match="not encrypted"):
        Web()._follow("https://a/", "https://a/", f"{server.url}/x")


def test_redirects_end(context: Context, server: WebServer) -> None:
    server.pages["/x"] = redirect("/x")
    with pytest.raises(StorageError, match="redirects more than"):
        collect_references(context, f"{server.url}/x")
    assert len(server.requests) < 10


def test_no_credentials_are_sent(context: Context, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    server.pages["/x"] = Page(b"x", '"1"', headers={"Set-Cookie": "session=1"})
    log(context, "a", f"{server.url}/x")
    fetch(context, "a", tmp_path / "out")
    sent = {name.lower() for _, headers in server.requests for name in headers}
    assert sent == {"host", "user-agent", "accept", "accept-encoding", "connection"}


# URLs and names


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h/a b.txt", "http://h/a%20b.txt"),
        ("http://h/a%20b.txt?q=a b&c=%2F#part", "http://h/a%20b.txt?q=a%20b&c=%2F"),
        ("https://h", "https://h/"),
        ("http://h/동물원", "http://h/%EB%8F%99%EB%AC%BC%EC%9B%90"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_urls_are_sent_encoded(url: str, sent: str) -> None:
    assert check_url(url) == sent


@pytest.mark.parametrize(
    "url",
    ["http://u:p@h/x", "http://u@h/x", "http:///x", "http://h:port/x", "http://[::1/x", "http://h/a\r\nX: y", "http://h/\x7f"],
)
def test_urls_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_url(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.csv?x=1", "b.csv"),
        ("http://h/a/", "a"),
        ("http://h/", "h"),
        ("http://h:81/a%20b", "a b"),
        ("http://h/x/%2Fetc", "etc"),
    ],
)
def test_an_entry_is_named_by_the_end_of_the_path(url: str, name: str) -> None:
    assert name_of(url) == name


def test_a_name_that_would_leave_the_artifact_is_refused(context: Context, server: WebServer) -> None:
    server.pages["/.."] = server.pages["/%2e%2e"] = Page(b"x", '"1"')
    with pytest.raises(UsageError, match="leaves the artifact"):
        collect_references(context, f"{server.url}/%2e%2e")


def test_names_in_the_path_come_back_whole(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/%EB%8F%99%20%EB%AC%BC.csv"] = Page(b"x", '"1"')
    log(context, "a", f"{server.url}/동 물.csv")
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"동 물.csv": b"x"}


# Checkout


def test_checkout_asks_once_more_before_it_calls_a_file_changed(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/x"] = Page(b"one", '"1"')
    log(context, "a", f"{server.url}/x")
    out = tmp_path / "out"
    checkout(context, "a", str(out), DownloadOptions())
    assert checkout(context, "a", str(out), DownloadOptions()).skipped == 1
    (out / "x").write_bytes(b"own")
    with pytest.raises(RefusedError, match="'x'"):
        checkout(context, "a", str(out), DownloadOptions())
    assert tree(out) == {"x": b"own"}
    del server.pages["/x"]
    with pytest.raises(RefusedError, match="'x'"):
        checkout(context, "a", str(out), DownloadOptions(allow_missing_references=True))
    assert tree(out) == {"x": b"own"}


def test_a_failure_stops_what_is_still_coming(context: Context, server: WebServer, tmp_path: Path) -> None:
    server.pages["/slow"] = Page(bytes(64 << 20), '"s"')
    server.pages["/bad"] = Page(b"bad", '"b"')
    log(context, "a", f"{server.url}/slow", f"{server.url}/bad")
    server.pages["/bad"].status = 403
    with pytest.raises(StorageError, match="HTTP 403"):
        fetch(context, "a", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_an_interruption_leaves_nothing_half_done(context: Context, server: WebServer, tmp_path: Path) -> None:
    for name in ("x", "y"):
        server.pages[f"/{name}"] = Page(bytes(16 << 20), f'"{name}"')
    log(context, "a", f"{server.url}/x", f"{server.url}/y")

    def interrupt(_: int, size: int) -> None:
        if size > 1 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkout(context, "a", str(tmp_path / "out"), DownloadOptions(progress=interrupt))
    assert os.listdir(tmp_path / "out") == []


def test_many_references_are_fetched_at_once(context: Context, server: WebServer, tmp_path: Path) -> None:
    expected = {}
    for number in range(40):
        expected[f"part-{number}"] = body = os.urandom(5000)
        server.pages[f"/part-{number}"] = Page(body, f'"{number}"')
    log(context, "a", *[f"{server.url}/{name}" for name in expected], prefix="parts")
    seen: list[tuple[int, int]] = []
    options = DownloadOptions(progress=lambda files, size: seen.append((files, size)))
    checkout(context, "a", str(tmp_path / "out"), options)
    assert tree(tmp_path / "out" / "parts") == expected
    assert seen[-1] == (40, 200_000)
    assert seen == sorted(seen)
