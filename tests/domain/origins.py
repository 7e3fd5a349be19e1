"""What the tests of references share: a root, logging and downloading, and a web server that behaves as it is told."""

from __future__ import annotations

import http.server
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from regcli.domain.context import Context
from regcli.domain.download import Downloaded, DownloadOptions, download
from regcli.domain.log import log_version
from regcli.domain.log_request import Logged, LogRequest
from regcli.domain.references import collect_references
from regcli.model import TypeName
from regcli.store.ingest import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from regcli.store.manifest import Entry


def make_context(root: Path, environment: Mapping[str, str] | None = None) -> Context:
    """Return the surroundings of one user; pauses take no time."""
    return Context(root_path=str(root), user="ada", uid=1000, host="here", sleep=lambda _: None, environment=environment or {})


def log(
    context: Context,
    artifact: str,
    *uris: str,
    files: Sequence[Path] = (),
    entries: Sequence[Entry] = (),
    algorithm: str = "XXH128",
    **options: Any,
) -> Logged:
    """Log references (and files) as a version of an artifact."""
    request = LogRequest(artifact, TypeName.parse("dataset"))
    found = list(entries)
    for uri in uris:
        found += collect_references(context, uri, algorithm=algorithm, **options)
    request.entries = found
    request.sources = [Source(str(path)) for path in files]
    request.algorithm = algorithm
    return log_version(context, request)


def fetch(context: Context, reference: str, target: Path, *, allow_missing: bool = False) -> Downloaded:
    """Download a version."""
    return download(context, reference, str(target), DownloadOptions(allow_missing_references=allow_missing))


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory with its bytes."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


class Page:
    """How the server answers for one path.

    Attributes:
        body: the content. etag: with its quotes, or None.
        status, headers: of the answer.
        cut: send only so many bytes of each answer, then drop the connection.
        ranges: whether parts are sent.
        extra: bytes sent beyond what is announced.
        silent: seconds until anything is answered.
        failures: answer so many requests with 503 first.
        announces: whether there is a Content-Length.
    """

    def __init__(self, body: bytes = b"", etag: str | None = None, **options: Any) -> None:
        self.body = body
        self.etag = etag
        self.status: int = options.pop("status", 200)
        self.headers: dict[str, str] = options.pop("headers", {})
        self.cut: int | None = options.pop("cut", None)
        self.ranges: bool = options.pop("ranges", False)
        self.extra: bytes = options.pop("extra", b"")
        self.silent: float = options.pop("silent", 0)
        self.failures: int = options.pop("failures", 0)
        self.announces: bool = options.pop("announces", True)
        assert not options


class WebServer:
    """A web server on loopback, to be used with `with`.

    Attributes:
        pages: path -> how it answers. requests: (path, headers) of every request.
        url: of the server, without a slash at its end. other: the same server under another host name.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                answer(self, outer.pages.get(self.path.partition("?")[0]))

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        self.other = f"http://localhost:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(handler: http.server.BaseHTTPRequestHandler, page: Page | None) -> None:
    """Answer one request as the page says."""
    if page is None:
        handler.send_error(404)
        return
    time.sleep(page.silent)
    if page.failures > 0:
        page.failures -= 1
        handler.send_error(503)
        return
    start, status = 0, page.status
    wanted = handler.headers.get("Range")
    if page.ranges and wanted is not None and handler.headers.get("If-Range") == page.etag:
        start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
    body = page.body[start:]
    handler.send_response(status)
    if page.etag is not None:
        handler.send_header("ETag", page.etag)
    if page.announces:
        handler.send_header("Content-Length", str(len(body)))
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
    for name, value in page.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    try:
        handler.wfile.write(body[: page.cut] + page.extra)
    except OSError:
        # The client has seen enough.
        handler.close_connection = True


def keep(function: Callable[[], object]) -> list[BaseException]:
    """Call a function, and return what it raised."""
    try:
        function()
    except Exception as error:  # noqa: BLE001
        return [error]
    return []
