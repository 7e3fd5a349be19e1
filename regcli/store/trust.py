"""SHA-256, for whatever decides trust: the commit chain and the manifests that commits name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _find_sha256() -> Callable[[bytes], Any]:
    # The bare C modules cost nothing to import; hashlib would load OpenSSL (6 ms).
    for name in ("_sha256", "_sha2"):
        try:
            function: Callable[[bytes], Any] = __import__(name).sha256
        except (ImportError, AttributeError):
            continue
        return function
    from hashlib import sha256

    return sha256


_sha256 = _find_sha256()


def new_sha256() -> Any:
    """Return a hasher that takes bytes in parts."""
    return _sha256(b"")


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 hex digits."""
    digest: str = _sha256(data).hexdigest()
    return digest
