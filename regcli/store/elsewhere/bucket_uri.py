"""URIs of object stores, taken apart with care: a URI may not lead the user's credentials to a host of its choice."""

from __future__ import annotations

from regcli.errors import UsageError
from regcli.model import quote
from regcli.store.elsewhere import has_controls, scheme_of

S3 = "s3"
GS = "gs"
AZURE = "az"
_SCHEMES = {"s3": S3, "s3a": S3, "gs": GS, "az": AZURE, "abfs": AZURE, "abfss": AZURE}
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_AZURE_HOST = ".blob.core.windows.net"
_AZURE_DOMAINS = ("blob.core.windows.net", "dfs.core.windows.net")


class Place:
    """What an object store's URI means.

    Attributes:
        kind: `s3`, `gs` or `az`.
        account: of Azure, where the URI names it, else "".
        bucket: bucket or container.
        key: of an object, or what keys begin with; without the slash at its end.
        version_id: the version that the URI asks for, or None.
        base: the URI of the bucket, with a slash at its end.
        is_prefix: the URI ended with a slash, or names a whole bucket.
    """

    __slots__ = ("account", "base", "bucket", "is_prefix", "key", "kind", "version_id")

    def __init__(
        self, kind: str, base: str, bucket: str, key: str, *, account: str = "", version_id: str | None = None
    ) -> None:
        """Take the parts as given."""
        self.kind = kind
        self.account = account
        self.bucket = bucket
        self.base = base
        self.is_prefix = not key or key.endswith("/")
        self.key = key.rstrip("/")
        self.version_id = version_id


def is_bucket(uri: str) -> bool:
    """Tell whether a URI is one of an object store."""
    scheme = scheme_of(uri)
    if scheme in _SCHEMES:
        return True
    host = uri.partition("://")[2].partition("/")[0].lower().partition(":")[0]
    return scheme == "https" and host.endswith(_AZURE_HOST)


def parse_uri(uri: str) -> Place:
    """Take a URI apart.

    `s3://BUCKET/KEY[?versionId=ID]`, `gs://BUCKET/KEY[#GENERATION]`, `az://CONTAINER/KEY`,
    `https://ACCOUNT.blob.core.windows.net/CONTAINER/KEY[?versionid=ID]`. Keys are taken as they stand, those in an https URL
    are decoded.

    Raises:
        UsageError: it is malformed.
    """
    if has_controls(uri):
        raise UsageError(f"{quote(uri)} has a character that no URI may have")
    scheme, _, rest = uri.partition("://")
    version_id = None
    account = ""
    if scheme.lower() == "https":
        from urllib.parse import parse_qs, unquote

        rest, _, query = rest.partition("?")
        host, _, rest = rest.partition("/")
        account = host.partition(".")[0]
        ids = parse_qs(query).get("versionid")
        version_id = ids[0] if ids else None
        if query and (ids is None or "sig=" in query):
            raise UsageError(
                f"{quote(f'https://{host}/{rest}')} has a query with more than a version",
                hint="a signature would be stored readable; give credentials in the environment",
            )
        bucket, _, key = unquote(rest).partition("/")
        base = f"https://{host}/{bucket}/"
    else:
        bucket, _, key = rest.partition("/")
        base = f"{scheme}://{bucket}/"
        if _SCHEMES[scheme.lower()] == S3 and "?versionId=" in key:
            key, _, version_id = key.rpartition("?versionId=")
        elif _SCHEMES[scheme.lower()] == GS and key.rpartition("#")[2].isdigit():
            key, _, version_id = key.rpartition("#")
    kind = AZURE if account else _SCHEMES[scheme.lower()]
    if "@" in bucket and kind == AZURE:
        # abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/KEY
        bucket, _, host = bucket.partition("@")
        account, _, domain = host.partition(".")
        if domain not in _AZURE_DOMAINS:
            raise UsageError(f"{quote(uri)} names no account", hint="write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/KEY")
    # Nothing in a URI may lead the user's credentials to another host than the store's own.
    if not _NAME.issuperset(bucket.removeprefix("$")) or not bucket.strip("$."):
        raise UsageError(f"{quote(uri)} names no bucket", hint="write s3://BUCKET/KEY")
    if not _NAME.issuperset(account):
        raise UsageError(f"{quote(uri)} names no account")
    return Place(kind, base, bucket, key, account=account, version_id=version_id or None)
