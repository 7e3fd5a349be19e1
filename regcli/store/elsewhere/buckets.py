"""References to objects in S3, Google Cloud Storage and Azure, through obstore (R-04 to R-06, R-17, R-21, R-22).

obstore is the extra `regcli[cloud]` and imported when a reference needs it. It finds credentials as usual: in the
environment, and from the machine's or container's role; profiles of `~/.aws` through boto3 where that is installed.
"""

from __future__ import annotations

from regcli.errors import MissingLibraryError, MissingReferenceError, StorageError, UsageError
from regcli.model import quote
from regcli.store.elsewhere import (
    CHUNK,
    ETAG,
    MAX_OBJECTS,
    NONE,
    SIZE,
    Opened,
    make_entry,
    split_etag,
    too_many,
)
from regcli.store.elsewhere.bucket_uri import AZURE, GS, S3, Place, parse_uri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from regcli.store.manifest import Entry

_PAGE = 1000
_WORDS = {S3: "S3", GS: "Google Cloud Storage", AZURE: "Azure"}
_HINTS = {
    S3: "check AWS_REGION, the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, …) and AWS_S3_ENDPOINT_URL",
    GS: "check GOOGLE_APPLICATION_CREDENTIALS",
    AZURE: "check AZURE_STORAGE_ACCOUNT_NAME and its key or token",
}


class Buckets:
    """The object stores that one command works with; safe to use from several threads.

    Attributes:
        environment: the user's, for what obstore does not read itself.
    """

    __slots__ = ("_stores", "environment")

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Connect to nothing yet."""
        self.environment = environment
        self._stores: dict[tuple[str, str, str], Any] = {}

    def collect(self, uri: str, name: str | None, *, checksum: bool, max_objects: int | None) -> list[Entry]:
        """Return an entry for the object, or for each object under the prefix, sorted by key.

        Empty objects and directory markers under a prefix are left out. Without a checksum nothing is asked for and the
        URI is one entry, whatever is under it.

        Raises:
            MissingLibraryError: obstore is not installed. MissingReferenceError: there is nothing.
            UsageError: more than `max_objects`. StorageError: the store cannot be reached or refuses.
        """
        place = parse_uri(uri)
        if not checksum:
            return [make_entry(name or place.key.rpartition("/")[2] or place.bucket, uri, uri, check=NONE)]
        limit = MAX_OBJECTS if max_objects is None else max_objects
        found = None if place.is_prefix else self._look(uri, place)
        if found is not None and (found["size"] > 0 or place.version_id is not None):
            if limit < 1:
                raise too_many(limit, uri)
            return [_entry(name or place.key.rpartition("/")[2], uri, uri, found, place.version_id)]
        entries = self._collect_prefix(uri, place, name, limit) if place.version_id is None else []
        if not entries and found is not None and limit > 0:
            # An empty object that nothing lies under is no directory marker, but a file that happens to be empty.
            entries = [_entry(name or place.key.rpartition("/")[2], uri, uri, found, None)]
        if not entries:
            raise _missing(place, uri)
        return entries

    def _look(self, uri: str, place: Place) -> dict[str, Any] | None:
        """Return what the store says of one object, None where there is none."""
        try:
            meta: dict[str, Any] = _get(self._store(place), place.key, place.version_id, head=True).meta
        except FileNotFoundError:
            return None
        except Exception as error:
            if _is_refusal_of_missing(error, place):
                return None
            raise _explain(error, uri, place) from error
        return meta

    def _collect_prefix(self, uri: str, place: Place, name: str | None, limit: int) -> list[Entry]:
        found: list[dict[str, Any]] = []
        try:
            for page in _obstore().list(self._store(place), place.key or None, chunk_size=_PAGE):
                found += [meta for meta in page if meta["size"] > 0 and not meta["path"].endswith("/")]
                if len(found) > limit:
                    raise too_many(limit, uri)
        except (FileNotFoundError, UsageError) as error:
            if isinstance(error, UsageError):
                raise
            raise _missing(place, uri) from error
        except Exception as error:
            raise _explain(error, uri, place) from error
        found.sort(key=_path_of)
        start = len(place.key) + 1 if place.key else 0
        prefix = f"{name}/" if name else ""
        entries = []
        for meta in self._with_versions(uri, place, found):
            path = meta["path"]
            relative = path[start:] if path != place.key else path.rpartition("/")[2]
            entries.append(_entry(prefix + relative, _uri_of(place, path), uri, meta, None))
        return entries

    def _with_versions(self, uri: str, place: Place, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the version ids, which a listing does not have; only where the first object shows that there are any."""
        if not found or found[0].get("version") is not None or place.kind == AZURE:
            return found

        def look(meta: dict[str, Any]) -> dict[str, Any]:
            one = Place(place.kind, place.base, place.bucket, meta["path"], account=place.account)
            # One that vanished meanwhile is recorded as it was listed.
            return self._look(uri, one) or meta

        first = look(found[0])
        if first.get("version") in (None, "null"):
            return found
        from regcli.store.parallel import run_parallel

        looked = list(run_parallel(look, found[1:], 8))
        return sorted([first, *looked], key=_path_of)

    def open(self, uri: str, version_id: str | None) -> Opened:
        """Open the object that a recorded URI leads to, in the version that was recorded.

        Raises:
            MissingLibraryError: obstore is not installed. MissingReferenceError: it is gone.
            StorageError: the store cannot be reached or refuses.
        """
        place = parse_uri(uri)
        version_id = place.version_id or version_id
        try:
            answer = _get(self._store(place), place.key, version_id, head=False)
        except FileNotFoundError as error:
            raise _missing(place, uri) from error
        except Exception as error:
            raise _explain(error, uri, place) from error
        return Opened(_chunks(answer, uri, place), size=answer.meta["size"], etag=answer.meta.get("e_tag"))

    def _store(self, place: Place) -> Any:
        key = (place.kind, place.account, place.bucket)
        store = self._stores.get(key)
        if store is None:
            try:
                store = self._stores[key] = self._connect(place)
            except MissingLibraryError:
                raise
            except Exception as error:
                raise _explain(error, place.base, place) from error
        return store

    def _connect(self, place: Place) -> Any:
        _obstore()
        from datetime import timedelta

        from obstore import store

        get = self.environment.get
        endpoints = [
            get(name, "")
            for name in (
                "AWS_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT",
                "AZURE_ENDPOINT", "STORAGE_EMULATOR_HOST",
            )
        ]  # fmt: skip
        options: dict[str, Any] = {
            # No limit for a whole answer, which may be large; only for silence.
            "timeout": timedelta(days=7),
            "connect_timeout": timedelta(seconds=10),
            "read_timeout": timedelta(seconds=30),
            "user_agent": "regcli",
            "allow_http": any(url.startswith("http://") for url in endpoints),
        }
        common: dict[str, Any] = {
            "client_options": options,
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
        }
        if place.kind == S3:
            return store.S3Store(place.bucket, **self._s3_options(), **common)
        if place.kind == GS:
            config: dict[str, Any] = {}
            if url := get("STORAGE_EMULATOR_HOST"):
                config = {"base_url": url, "skip_signature": True}
            return store.GCSStore(place.bucket, config=config, **common)
        config = {}
        if place.account:
            config["account_name"] = place.account
        if url := get("AZURE_STORAGE_ENDPOINT") or get("AZURE_ENDPOINT"):
            config["endpoint"] = url
        return store.AzureStore(place.bucket, config=config, **common)

    def _s3_options(self) -> dict[str, Any]:
        """Return the configuration, and the credentials of boto3's chain where the environment has none.

        boto3 knows profiles; it is used where it is installed and needed by nobody.
        """
        get = self.environment.get
        config: dict[str, Any] = {}
        if url := get("AWS_S3_ENDPOINT_URL") or get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL"):
            config["endpoint"] = url
        if region := get("AWS_REGION") or get("AWS_DEFAULT_REGION"):
            config["region"] = region
        if get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"):
            config["skip_signature"] = True
        elif not get("AWS_ACCESS_KEY_ID"):
            try:
                from boto3 import Session
                from obstore.auth.boto3 import Boto3CredentialProvider
            except ImportError:
                return {"config": config}
            session = Session()
            if session.region_name:
                config.setdefault("region", session.region_name)
            if session.get_credentials() is not None:
                return {"config": config, "credential_provider": Boto3CredentialProvider(session)}
        return {"config": config}


def _obstore() -> Any:
    try:
        import obstore
    except ImportError as error:
        raise MissingLibraryError(
            "references to object stores need the library obstore, which is not installed",
            hint="install it with `pip install 'regcli[cloud]'`",
        ) from error
    return obstore


def _get(store: Any, key: str, version_id: str | None, *, head: bool) -> Any:
    options: dict[str, Any] = {"head": head}
    if version_id is not None:
        options["version"] = version_id
    return _obstore().get(store, key, options=options)


def _uri_of(place: Place, key: str) -> str:
    if place.base.startswith("https://"):
        from urllib.parse import quote as encode

        return place.base + encode(key, safe="/-._~!$&'()*+,;=:@")
    return place.base + key


def _entry(path: str, uri: str, asked: str, meta: dict[str, Any], version_id: str | None) -> Entry:
    etag = meta.get("e_tag")
    version = meta.get("version") or version_id
    digest = split_etag(etag)
    if not path:
        raise UsageError(f"{quote(asked)} has no name that an entry could get", hint="give one: --ref NAME=URI")
    return make_entry(
        path,
        uri,
        digest if digest is not None else uri,
        check=ETAG if digest is not None else SIZE,
        size=meta["size"],
        etag=etag if digest is not None else None,
        version_id=version if version != "null" else None,
    )


def _path_of(meta: dict[str, Any]) -> str:
    path: str = meta["path"]
    return path


def _chunks(answer: Any, uri: str, place: Place) -> Iterator[bytes]:
    try:
        for data in answer.stream(min_chunk_size=CHUNK):
            yield bytes(data)
    except Exception as error:
        raise _explain(error, uri, place) from error


def _missing(place: Place, uri: str) -> MissingReferenceError:
    path = place.key or place.bucket
    return MissingReferenceError(
        f"unable to find {quote(path)} at {quote(uri)}",
        hint="leave such references out of a download with --allow-missing-references",
    )


def _is_refusal_of_missing(error: Exception, place: Place) -> bool:
    """Tell whether the store says `forbidden` of a key that may be a prefix: who may list may not always look."""
    return place.kind == S3 and type(error).__name__ == "PermissionDeniedError"


def _explain(error: Exception, uri: str, place: Place) -> Exception:
    """Turn obstore's failure into one sentence; its own has many lines."""
    if not type(error).__module__.startswith("obstore") and not isinstance(error, (OSError, ValueError)):
        return error
    name = type(error).__name__
    text = " ".join(str(error).partition("\n\nDebug source")[0].split())
    if name == "InvalidPathError" or text.startswith("Could not parse path"):
        return UsageError(f"{quote(uri)} has a key that cannot be asked for: {text[:300]}")
    if "status code: 404" in text:
        # A bucket that is not there, which obstore has no error of its own for.
        return _missing(place, uri)
    what = {
        "PermissionDeniedError": "access is denied",
        "UnauthenticatedError": "the credentials are missing or wrong",
    }.get(name) or _said(text)
    return StorageError(f"cannot read {quote(uri)} from {_WORDS[place.kind]}: {what}", hint=_HINTS[place.kind])


def _said(text: str) -> str:
    """Return what the server itself said, where obstore quotes its answer; else all that obstore says, shortened."""
    message = text.partition("<Message>")[2].partition("</Message>")[0]
    status = text.partition("status code: ")[2].partition(":")[0].strip()
    if message or status:
        return (f"HTTP {status}: {message}" if status and message else f"HTTP {status}{message}")[:300]
    # What obstore did, with which URL and how often, comes before the last dash.
    return text.rpartition(" - ")[2][:300]
