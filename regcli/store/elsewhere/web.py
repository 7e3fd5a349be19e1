"""References to the web: `http:` and `https:`, with the standard library alone (R-03).

Only GET requests without credentials are made. A redirect is followed to `http:` and `https:` only, never from `https:`
down to `http:`, and said where it leads to another host.
"""

from __future__ import annotations

import time

from regcli.errors import MissingReferenceError, ReferenceChangedError, StorageError, UsageError
from regcli.model import quote
from regcli.store.elsewhere import CHUNK, ETAG, NONE, SIZE, Opened, has_controls, make_entry, split_etag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse
    from urllib.request import OpenerDirector

    from regcli.store.manifest import Entry

TIMEOUT = 30.0
_ATTEMPTS = 3
_TRANSIENT = frozenset((429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 6
_GONE = frozenset((404, 410))
# Characters that stay as they are in a URL that a person typed; what is encoded already has its "%".
_SAFE = "%/:=&?~+!$,;'@()*[]-._"
_SCHEMES = ("http", "https")


class Web:
    """A way to the web for one command; safe to use from several threads.

    Attributes:
        timeout: seconds without a byte until a server counts as dead.
        sleep: pauses between attempts.
        redirects: (URL as recorded, host that it led to), for those that went to another host.
    """

    __slots__ = ("_opener", "redirects", "sleep", "timeout")

    def __init__(self, *, timeout: float = TIMEOUT, sleep: Callable[[float], None] = time.sleep) -> None:
        """Connect to nothing yet."""
        self.timeout = timeout
        self.sleep = sleep
        self.redirects: list[tuple[str, str]] = []
        self._opener: OpenerDirector | None = None

    def collect(self, uri: str, name: str | None, *, checksum: bool) -> Entry:
        """Return the entry of one URL: with a checksum its ETag and size are asked for, else nobody is.

        Raises:
            UsageError: the URL is malformed, or has a password. MissingReferenceError: there is nothing.
            StorageError: the server cannot be reached or refuses.
        """
        url = check_url(uri)
        place = name or name_of(url)
        if not checksum:
            return make_entry(place, uri, uri, check=NONE)
        response = self._request(url, {})
        with response:
            etag = response.headers.get("ETag")
            size = _length_of(response)
        digest = split_etag(etag)
        if digest is None:
            return make_entry(place, uri, uri, check=NONE if size is None else SIZE, size=size)
        return make_entry(place, uri, digest, check=ETAG, size=size, etag=etag)

    def open(self, uri: str) -> Opened:
        """Open what a recorded URL leads to; an answer that breaks off is continued where the server can.

        Raises:
            MissingReferenceError: it is gone. StorageError: the server cannot be reached or refuses.
        """
        url = check_url(uri)
        response = self._request(url, {})
        body = _Body(self, url, response)
        return Opened(body.chunks(), size=body.size, etag=body.etag, close=body.close)

    def _build(self) -> OpenerDirector:
        if self._opener is None:
            from urllib import request

            # Built by hand: the ordinary opener would also speak `file:`, `ftp:` and `data:`, and read the whole body of
            # a redirect.
            opener = request.OpenerDirector()
            for handler in (
                request.ProxyHandler(),
                request.HTTPHandler(),
                request.HTTPSHandler(),
                request.HTTPDefaultErrorHandler(),
                request.HTTPErrorProcessor(),
            ):
                opener.add_handler(handler)
            self._opener = opener
        return self._opener

    def _request(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        """Send a GET request, follow where it leads, and return the answer (200 or 206)."""
        here = url
        for _ in range(_MAX_REDIRECTS):
            answer = self._send(here, headers)
            if not isinstance(answer, str):
                return answer
            here = self._follow(url, here, answer)
        raise StorageError(f"{quote(url)} redirects more than {_MAX_REDIRECTS} times")

    def _follow(self, first: str, before: str, location: str) -> str:
        """Return the URL that a redirect leads to, or refuse it."""
        from urllib.parse import urljoin, urlsplit

        try:
            url = check_url(urljoin(before, location))
        except (UsageError, ValueError) as error:
            raise StorageError(f"{quote(before)} redirects to {quote(location[:200])}, which is not followed") from error
        old, new = urlsplit(before), urlsplit(url)
        if old.scheme == "https" and new.scheme != "https":
            raise StorageError(f"{quote(before)} redirects to {quote(url)}, which is not encrypted, and is not followed")
        if old.hostname != new.hostname:
            self.redirects.append((first, str(new.netloc)))
        return url

    def _send(self, url: str, headers: dict[str, str]) -> HTTPResponse | str:
        """Send one request, again where that may help; returns the answer, or where it redirects to."""
        from http.client import HTTPException
        from urllib import request
        from urllib.error import HTTPError, URLError

        sent = {"User-Agent": "regcli", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                question = request.Request(url, headers=sent, method="GET")  # noqa: S310 - check_url allows http(s) only
                response: HTTPResponse = self._build().open(question, timeout=self.timeout)
            except HTTPError as error:
                code, reason, location = error.code, error.reason, error.headers.get("Location")
                error.close()
                if code in _REDIRECTS and location:
                    return location
                if code not in _TRANSIENT or attempt == _ATTEMPTS:
                    raise _explain_status(url, code, str(reason)) from error
            except (URLError, OSError, HTTPException, ValueError) as error:
                if attempt == _ATTEMPTS or not _is_transient(error):
                    raise _explain(url, error) from error
            else:
                return response
            self.sleep(0.5 * attempt)
        raise StorageError(f"cannot fetch {quote(url)}")

    def resume(self, url: str, etag: str, offset: int) -> HTTPResponse:
        """Return the rest of an answer that broke off, from `offset` on.

        Raises:
            StorageError: the server does not give the rest. ReferenceChangedError: it is another content now.
        """
        response = self._request(url, {"Range": f"bytes={offset}-", "If-Range": etag})
        starts = response.headers.get("Content-Range", "").strip().startswith(f"bytes {offset}-")
        if response.status == 206 and starts and response.headers.get("ETag") == etag:
            return response
        response.close()
        if response.headers.get("ETag") not in (None, etag):
            raise ReferenceChangedError(f"{quote(url)} changed while it was fetched", hint="try again")
        raise StorageError(f"{quote(url)} broke off after {offset} bytes, and the server does not send the rest")


class _Body:
    """The body of an answer, over as many connections as it takes."""

    __slots__ = ("_response", "_url", "_web", "etag", "size")

    def __init__(self, web: Web, url: str, response: HTTPResponse) -> None:
        self._web = web
        self._url = url
        self._response = response
        self.etag: str | None = response.headers.get("ETag")
        self.size = _length_of(response)

    def close(self) -> None:
        self._response.close()

    def chunks(self) -> Iterator[bytes]:
        from http.client import HTTPException

        done = attempts = 0
        while True:
            broken: Exception | None = None
            try:
                data = self._response.read1(CHUNK)
            except (OSError, HTTPException) as error:
                data, broken = b"", error
            if data:
                done += len(data)
                yield data
                continue
            self._response.close()
            if broken is None and (self.size is None or done >= self.size):
                return
            attempts += 1
            # A weak ETag does not promise equal bytes, so that parts of two answers might not fit together.
            if attempts >= _ATTEMPTS or self.etag is None or not self.etag.startswith('"'):
                expected = f" of {self.size}" if self.size is not None else ""
                raise StorageError(f"{quote(self._url)} broke off after {done}{expected} bytes", hint="try again") from broken
            self._web.sleep(0.5 * attempts)
            self._response = self._web.resume(self._url, self.etag, done)


def check_url(uri: str) -> str:
    """Return a URL as it is sent: encoded, without fragment.

    Raises:
        UsageError: it is malformed, not of the web, or has a user name or password, which would be stored readable.
    """
    from urllib.parse import quote as encode
    from urllib.parse import urlsplit

    if has_controls(uri):
        raise UsageError(f"{quote(uri)} has a character that no URL may have")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{quote(uri)} is malformed: {error}") from error
    if parts.scheme not in _SCHEMES or not host:
        raise UsageError(f"{quote(uri)} is no URL of the web", hint="write http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"the URL to {quote(host)} has a user name or password, which would be stored readable",
            hint="use a place that needs none, or an object store (s3://, gs://, az://)",
        )
    try:
        netloc = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise UsageError(f"{quote(uri)} has a malformed host name") from error
    query = f"?{encode(parts.query, safe=_SAFE)}" if parts.query else ""
    return f"{parts.scheme}://{netloc}{encode(parts.path or '/', safe=_SAFE)}{query}"


def name_of(url: str) -> str:
    """Return the name that an entry gets by default: the last part of the path, else the host (R-17)."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    return unquote(parts.path).rstrip("/").rpartition("/")[2] or str(parts.hostname)


def _length_of(response: HTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _is_transient(error: Exception) -> bool:
    reason = getattr(error, "reason", error)
    return isinstance(reason, (TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError))


def _explain_status(url: str, code: int, reason: str) -> Exception:
    shown = quote(url)
    words = f"HTTP {code} {reason}".strip()
    if code in _GONE:
        return MissingReferenceError(
            f"unable to find {shown}: {words}", hint="leave such references out of a download with --allow-missing-references"
        )
    hint = "regcli sends no credentials to web servers" if code in (401, 403) else None
    return StorageError(f"cannot fetch {shown}: {words}", hint=hint)


def _explain(url: str, error: Exception) -> StorageError:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return StorageError(f"cannot fetch {quote(url)}: the server did not answer in time", hint="try again")
    verification = getattr(reason, "verify_message", None)
    if verification is not None:
        return StorageError(
            f"cannot fetch {quote(url)}: the server's certificate is not trusted: {verification}",
            hint="where it is your own authority's, name that certificate in SSL_CERT_FILE",
        )
    words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return StorageError(f"cannot fetch {quote(url)}: {words.lower()}")
