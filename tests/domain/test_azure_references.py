"""References to Azure's blob storage, against Azurite on loopback (R-06)."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import obstore  # noqa: TID253 - this module is about it
import pytest
from obstore.store import AzureStore  # noqa: TID253 - the same

from regcli.domain.files import entry_document
from regcli.domain.references import collect_references
from regcli.errors import MissingReferenceError, ReferenceChangedError, UsageError
from tests.domain.origins import fetch, log, make_context, tree
from tests.optional import find_azurite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regcli.domain.context import Context

ACCOUNT = "devstoreaccount1"
# The key that every emulator of Azure has.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_azurite()
    assert program is not None
    place = tmp_path_factory.mktemp("azurite")
    command = [
        program,
        "--silent",
        "--skipApiVersionCheck",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        "0",
        "--location",
        str(place),
    ]
    with subprocess.Popen([*command, str(place)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            url = next(word for line in process.stdout for word in line.split() if word.startswith("http://127.0.0.1:")).rstrip(
                "./"
            )
            yield f"{url}/{ACCOUNT}"
        finally:
            process.terminate()


@pytest.fixture
def environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables = {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_ENDPOINT": endpoint,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def context(tmp_path: Path, environment: dict[str, str]) -> Context:
    return make_context(tmp_path / "root", environment)


@pytest.fixture
def store(endpoint: str, environment: dict[str, str]) -> AzureStore:
    container = f"c{time.monotonic_ns()}"
    create_container(endpoint, container)
    made = AzureStore(container, config={"endpoint": endpoint}, client_options={"allow_http": True})
    for key, body in {"data/a": b"aaa", "data/b c": b"b", "data/dir": b"", "data2/x": b"x", "one.bin": b"one"}.items():
        obstore.put(made, key, body)
    return made


def create_container(endpoint: str, container: str) -> None:
    """Make a container; obstore has no call for it."""
    import base64
    import hashlib
    import hmac
    import urllib.request
    from email.utils import formatdate

    now = formatdate(usegmt=True)
    version = "2021-08-06"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{now}\nx-ms-version:{version}\n{resource}"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(
        f"{endpoint}/{container}?restype=container",
        method="PUT",
        headers={"x-ms-date": now, "x-ms-version": version, "Authorization": f"SharedKey {ACCOUNT}:{signature}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201


def test_a_blob_is_recorded_with_its_etag_and_fetched(context: Context, store: AzureStore, tmp_path: Path) -> None:
    container = store.config["container_name"]
    entry = collect_references(context, f"az://{container}/one.bin")[0]
    assert (entry[0], entry[2]) == ("one.bin", 3)
    assert entry_document(entry)["etag"].strip('"') == entry[1]
    same = collect_references(context, f"https://{ACCOUNT}.blob.core.windows.net/{container}/one.bin")[0]
    assert same[:3] == entry[:3]
    log(context, "a", entries=[same])
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"one.bin": b"one"}
    obstore.put(store, "one.bin", b"two")
    with pytest.raises(ReferenceChangedError, match="ETag"):
        fetch(context, "a", tmp_path / "other")
    obstore.delete(store, "one.bin")
    with pytest.raises(MissingReferenceError, match="unable to find"):
        fetch(context, "a", tmp_path / "other")


def test_a_prefix_leaves_out_directory_stubs(context: Context, store: AzureStore, tmp_path: Path) -> None:
    container = store.config["container_name"]
    entries = collect_references(context, f"https://{ACCOUNT}.blob.core.windows.net/{container}/data")
    assert [entry[0] for entry in entries] == ["a", "b c"]
    assert entry_document(entries[1])["ref"] == f"https://{ACCOUNT}.blob.core.windows.net/{container}/data/b%20c"
    log(context, "a", entries=entries)
    fetch(context, "a", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"aaa", "b c": b"b"}
    # The original only warns here and leaves the rest out, without a word in the version.
    with pytest.raises(UsageError, match="exceeded 1 objects"):
        collect_references(context, f"az://{container}/data", max_objects=1)


def test_what_is_not_there_is_said(context: Context, store: AzureStore) -> None:
    with pytest.raises(MissingReferenceError):
        collect_references(context, f"az://{store.config['container_name']}/nope")
    with pytest.raises(MissingReferenceError):
        collect_references(context, "az://no-such-container/x")
