"""References to Google Cloud Storage, against a small server that speaks its XML interface as obstore uses it (R-05)."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from regcli.domain.files import entry_document
from regcli.domain.references import collect_references
from regcli.errors import MissingReferenceError, ReferenceChangedError
from tests.domain.origins import fetch, log, make_context, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regcli.domain.context import Context


class GoogleStorage:
    """One bucket, `bucket`: key -> generation -> bytes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, bytes]] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(body=True)

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def answer(self, *, body: bool) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                _, bucket, key = (
                    unquote(parts.path).split("/", 2) if parts.path.count("/") > 1 else (*parts.path.split("/"), "")
                )
                if bucket != "bucket":
                    self.send_error(404)
                elif not key:
                    self.list(query.get("prefix", [""])[0])
                else:
                    generations = outer.objects.get(key, {})
                    wanted = query.get("generation", [max(generations, default="")])[0]
                    if wanted not in generations:
                        self.send_error(404)
                        return
                    self.send(generations[wanted], body=body, generation=wanted)

            def send(self, data: bytes, *, body: bool, generation: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", f'"etag-{generation}"')
                self.send_header("Last-Modified", "Mon, 30 Nov 2026 08:00:00 GMT")
                self.send_header("x-goog-generation", generation)
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def list(self, prefix: str) -> None:
                rows = [
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(generations[newest])}</Size>"
                    f'<ETag>"etag-{newest}"</ETag><LastModified>2026-11-30T08:00:00.000Z</LastModified></Contents>'
                    for key, generations in sorted(outer.objects.items())
                    if key.startswith(prefix)
                    for newest in [max(generations)]
                ]
                text = f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>{''.join(rows)}</ListBucketResult>".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def storage() -> Iterator[GoogleStorage]:
    running = GoogleStorage()
    running.objects = {
        "data/a": {"100": b"aaa"},
        "data/b c": {"101": b"b"},
        "data/dir/": {"102": b""},
        "other": {"103": b"old", "104": b"newer"},
    }
    yield running
    running.close()


@pytest.fixture
def context(tmp_path: Path, storage: GoogleStorage) -> Context:
    return make_context(tmp_path / "root", {"STORAGE_EMULATOR_HOST": storage.url})


def test_an_object_has_its_etag_and_generation(context: Context, storage: GoogleStorage, tmp_path: Path) -> None:
    entry = collect_references(context, "gs://bucket/other")[0]
    assert entry[:3] == ("other", "etag-104", 5)
    assert entry_document(entry)["version_id"] == "104"
    log(context, "a", entries=[entry])
    storage.objects["other"]["105"] = b"newest"
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"other": b"newer"}


def test_a_generation_in_the_uri_selects(context: Context, tmp_path: Path) -> None:
    entry = collect_references(context, "gs://bucket/other#103")[0]
    assert entry[:3] == ("other", "etag-103", 3)
    log(context, "a", entries=[entry])
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"other": b"old"}


def test_a_prefix_leaves_out_folder_markers(context: Context, tmp_path: Path) -> None:
    entries = collect_references(context, "gs://bucket/data")
    assert [(entry[0], entry[1]) for entry in entries] == [("a", "etag-100"), ("b c", "etag-101")]
    assert [entry_document(entry)["version_id"] for entry in entries] == ["100", "101"]
    log(context, "a", entries=entries)
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"aaa", "b c": b"b"}


def test_what_is_gone_or_changed_is_said(context: Context, storage: GoogleStorage, tmp_path: Path) -> None:
    log(context, "a", "gs://bucket/data")
    del storage.objects["data/a"]
    with pytest.raises(MissingReferenceError):
        fetch(context, "a", tmp_path / "out")
    storage.objects["data/a"] = {"100": b"aaaa"}
    with pytest.raises(ReferenceChangedError, match="has 4 bytes instead of 3"):
        fetch(context, "a", tmp_path / "out")
    with pytest.raises(MissingReferenceError):
        collect_references(context, "gs://no-such-bucket/x")
