"""Sending: one POST to a webhook, or one run of a command of the user's own; bounded in time and size, whatever happens.

A redirect is followed only to the same host, scheme and port and only where it keeps the method (307, 308): a token goes
nowhere else. Nothing that the receiver says is kept but its status.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPConnection
    from urllib.parse import SplitResult

TIMEOUT = 15.0
COMMAND_TIMEOUT = 60.0
MAX_ANSWER = 64 * 1024
MAX_REDIRECTS = 3


class Outcome:
    """What came of a try: `status` is the answer's number (or the command's exit code), `error` a sentence or None."""

    __slots__ = ("error", "status")

    def __init__(self, status: int | None, error: str | None) -> None:
        """Bundle the outcome."""
        self.status = status
        self.error = error


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout: float = TIMEOUT) -> Outcome:
    """Post a body.

    Args:
        url: `http` or `https`.
        body: JSON.
        headers: in addition to the content type.
        timeout: seconds for all of it: a receiver that sends a byte now and then is cut off too.
    """
    import time
    from urllib.parse import urljoin, urlsplit

    deadline = time.monotonic() + timeout
    for _ in range(MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        status, location, error = _post_once(parts, body, headers, deadline - time.monotonic())
        if error is not None or status is None:
            return Outcome(status, error or "no answer")
        if not 300 <= status < 400:
            return Outcome(status, None if 200 <= status < 300 else f"the receiver answered {status}")
        target = urljoin(url, location or "")
        other = urlsplit(target)
        if status not in (307, 308) or not location:
            return Outcome(status, f"the receiver answered {status}: a redirect that would lose the message is not followed")
        if (other.scheme, other.hostname, other.port) != (parts.scheme, parts.hostname, parts.port):
            return Outcome(status, "the receiver redirects to another host, which is not followed")
        url = target
    return Outcome(None, "the receiver redirects without end")


def _post_once(
    parts: SplitResult, body: bytes, headers: Mapping[str, str], seconds: float
) -> tuple[int | None, str | None, str | None]:
    """Return (status, location, error) of one exchange."""
    import threading
    from http.client import HTTPException

    if seconds <= 0:
        return None, None, "timed out"
    connection: HTTPConnection | None = None
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        if connection is not None:
            _shut(connection)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        connection, target = _connect(parts, seconds)
        connection.request("POST", target, body=body, headers={"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read(MAX_ANSWER)
        if expired.is_set():
            # What was cut off in the middle of its headers looks complete to the parser.
            return None, None, f"timed out after {seconds:.0f} s"
        return answer.status, answer.getheader("Location"), None
    except (OSError, HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            return None, None, f"timed out after {seconds:.0f} s"
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return None, None, str(reason).lower()[:300]
    finally:
        timer.cancel()
        if connection is not None:
            connection.close()


def _shut(connection: HTTPConnection) -> None:
    import socket

    try:
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _connect(parts: SplitResult, seconds: float) -> tuple[HTTPConnection, str]:
    """Return a connection, through the proxy that the environment names if any, and the target of the request line."""
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    host = parts.hostname or ""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    proxy = getproxies().get(parts.scheme)
    local = host in ("localhost", "::1") or host.startswith("127.")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    if not proxy or local or proxy_bypass(host):
        return kind(host, parts.port, timeout=seconds), path
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme == "https":
        connection = kind(through.hostname or "", through.port, timeout=seconds)
        connection.set_tunnel(host, parts.port or 443)
        return connection, path
    return HTTPConnection(through.hostname or "", through.port, timeout=seconds), f"http://{parts.netloc}{path}"


def run_command(
    command: str, body: bytes, environment: Mapping[str, str], directory: str, *, timeout: float = COMMAND_TIMEOUT
) -> Outcome:
    """Run a command with the event on its standard input; no shell is involved.

    Args:
        command: words, split as a shell would.
        body: JSON.
        environment: its variables.
        directory: where it runs.
        timeout: seconds after which it and what it started are killed.
    """
    import os
    import shlex
    import signal
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as source:
        # Files instead of pipes: a child that neither reads nor ends cannot keep us waiting.
        source.write(body)
        source.seek(0)
        try:
            process = subprocess.Popen(
                shlex.split(command), stdin=source, stdout=subprocess.DEVNULL, stderr=errors, env=dict(environment),
                cwd=directory, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return Outcome(None, f"cannot be started: {(getattr(error, 'strerror', None) or str(error)).lower()}")
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Outcome(None, f"killed after {timeout:.0f} s")
        if code == 0:
            return Outcome(0, None)
        errors.seek(0)
        said = errors.read(300).decode("utf-8", "replace").strip()
        return Outcome(code, f"exit code {code}{': ' + said if said else ''}")
