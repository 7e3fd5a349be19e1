"""The catalog: its cache proves itself fresh, or is not believed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regcli.domain.aliasing import add_aliases
from regcli.domain.catalog import Catalog
from regcli.domain.context import Context
from regcli.domain.editing import add_tags, edit
from regcli.domain.linking import link_version, unlink
from regcli.domain.listing import collection_rows, find_place, overview
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.registries import create_registry
from regcli.domain.search import Query, search
from regcli.errors import RoleError, UsageError
from regcli.model import Alias, RegistryName, Tag, TypeName
from regcli.store.ingest import Source


def context_of(root: Path, user: str = "ada") -> Context:
    return Context(root_path=str(root), user=user, uid=os.getuid(), host="here", command="test")


def log_text(context: Context, folder: Path, name: str, text: str, **more: Any) -> str:
    path = folder / "file.txt"
    path.write_text(text)
    request = LogRequest(name, TypeName.parse("dataset"))
    request.sources = [Source(str(path))]
    for key, value in more.items():
        setattr(request, key, value)
    version = log_version(context, request).version
    assert version is not None
    return version.ref


@pytest.fixture
def context(tmp_path: Path) -> Context:
    context = context_of(tmp_path / "root")
    for number in range(3):
        log_text(context, tmp_path, "zoo", f"{number}", tags=["animals"], metrics={"acc": number / 10})
    log_text(context, tmp_path, "plants", "p", description="Green things", metadata={"size": {"leaf": 3}})
    link_version(context, "zoo:v1", "model/Zoo", aliases=[Alias.parse("prod")])
    return context


def found(context: Context, text: str | None = None, **more: Any) -> list[tuple[str, str, Any]]:
    return [(result.ref, result.field, result.value) for result in search(context, Query(text, **more))]


def cache_files(context: Context) -> list[str]:
    folder = f"{context.root.path}/cache/catalog"
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test_the_second_search_reads_the_cache_and_finds_the_same(context: Context) -> None:
    first = found(context)
    assert len(cache_files(context)) == 3
    stamps = {name: os.stat(f"{context.root.path}/cache/catalog/{name}").st_ino for name in cache_files(context)}
    assert found(context) == first
    assert stamps == {name: os.stat(f"{context.root.path}/cache/catalog/{name}").st_ino for name in cache_files(context)}


def test_every_change_is_seen_by_the_next_search(context: Context, tmp_path: Path) -> None:
    assert found(context, where=["tags = new"]) == []
    add_tags(context, "zoo:v1", [Tag.parse("new")])
    # The tag is the source's; the link's own log did not change.
    assert [ref for ref, _, _ in found(context, where=["tags = new"])] == ["model/Zoo:v0", "local/default/zoo:v1"]
    assert [ref for ref, _, _ in found(context, "new", kinds=["version"])] == ["model/Zoo:v0", "local/default/zoo:v1"]
    edit(context, "zoo:v1", metadata={"k": 1})
    assert [ref for ref, _, _ in found(context, where=["metadata.k = 1"])] == ["model/Zoo:v0", "local/default/zoo:v1"]
    add_aliases(context, "model/Zoo:v0", [Alias.parse("staging")])
    assert found(context, alias="staging") == [("model/Zoo:v0", "version", "v0")]
    unlink(context, "model/Zoo:v0")
    assert found(context, alias="staging") == []
    log_text(context, tmp_path, "zoo", "new content")
    assert ("local/default/zoo:v3", "version", "v3") in found(context)


def test_listing_sees_every_change(context: Context, tmp_path: Path) -> None:
    model = find_place(context, "model/")
    assert [(row["ref"], row["versions"], row["aliases"]) for row in collection_rows(context, model)] == [  # type: ignore[arg-type]
        ("model/Zoo", 1, ["prod"])
    ]
    link_version(context, "zoo:v0", "model/Zoo")
    link_version(context, "plants", "model/Another")
    rows = collection_rows(context, model)  # type: ignore[arg-type]
    assert [(row["ref"], row["versions"], row["latest"]) for row in rows] == [
        ("model/Another", 1, "v0"),
        ("model/Zoo", 2, "v1"),
    ]
    counts = {row["name"]: row["collections"] for row in overview(context)["registries"]}
    assert counts == {"dataset": 0, "model": 2}


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "flip-body", "other-collection", "directory", "link"])
def test_a_damaged_cache_is_not_believed(context: Context, damage: str) -> None:
    before = found(context), found(context, "green")
    folder = f"{context.root.path}/cache/catalog"
    names = cache_files(context)
    contents = {name: Path(f"{folder}/{name}").read_bytes() for name in names}
    for position, name in enumerate(names):
        path = f"{folder}/{name}"
        data = bytearray(contents[name])
        os.unlink(path)
        if damage == "directory":
            os.mkdir(path)
        elif damage == "link":
            os.symlink("/etc/hostname", path)
        else:
            if damage == "empty":
                data = bytearray()
            elif damage == "cut":
                data = data[: len(data) // 2]
            elif damage == "flip":
                data[100] ^= 4
            elif damage == "flip-body":
                data[-20] ^= 4
            else:
                data = bytearray(contents[names[position - 1]])
            with open(path, "wb") as file:
                file.write(data)
    assert (found(context), found(context, "green")) == before
    assert context.warnings == []


def test_a_cache_of_an_older_state_is_not_believed(context: Context, tmp_path: Path) -> None:
    found(context)
    kept = tmp_path / "kept"
    shutil.copytree(f"{context.root.path}/cache", kept)
    add_tags(context, "zoo:v2", [Tag.parse("late")])
    found(context)
    shutil.rmtree(f"{context.root.path}/cache")
    shutil.copytree(kept, f"{context.root.path}/cache")
    assert [ref for ref, _, _ in found(context, tags=["late"])] == ["local/default/zoo:v2"]


def test_a_log_that_went_back_is_noticed(context: Context, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(context.root.path, kept)
    add_tags(context, "zoo:v2", [Tag.parse("late")])
    assert found(context, tags=["late"])
    cache = f"{context.root.path}/cache"
    shutil.copytree(cache, kept / "cache", dirs_exist_ok=True)
    assert found(context_of(kept), tags=["late"]) == []


def test_a_root_that_cannot_be_written_is_searched_all_the_same(context: Context) -> None:
    # A file where the directory should be stops root too, whom permissions do not.
    with open(f"{context.root.path}/cache", "w") as file:
        file.write("")
    assert [ref for ref, _, _ in found(context, "green")] == ["local/default/plants:v0"]
    os.unlink(f"{context.root.path}/cache")


def test_a_damaged_collection_is_named_and_spoils_no_other(context: Context) -> None:
    base = f"{context.root.path}/projects/local/default/collections/zoo"
    os.unlink(f"{base}/head.json")
    os.chmod(f"{base}/log/0000000002.json", 0o644)
    with open(f"{base}/log/0000000002.json", "w") as file:
        file.write("{")
    shutil.rmtree(f"{context.root.path}/cache", ignore_errors=True)
    refs = [ref for ref, _, _ in found(context, kinds=["version"])]
    # The link stands on its own copy of what it shares with its source.
    assert refs == ["model/Zoo:v0", "local/default/plants:v0"]
    assert [ref for ref, _, _ in found(context, where=["tags = animals and metrics.acc = 0.1"])] == ["model/Zoo:v0"]
    assert any("0000000002.json" in warning for warning in context.warnings)


def test_writers_and_searchers_do_not_disturb_each_other(context: Context) -> None:
    program = (
        "import sys, os\n"
        "from regcli.domain.context import Context\n"
        "from regcli.domain.editing import add_tags\n"
        "from regcli.domain.search import Query, search\n"
        "from regcli.model import Tag\n"
        "c = Context(root_path=sys.argv[1], user='ada', uid=os.getuid(), host='h')\n"
        "for n in range(15):\n"
        "    tag = f'{sys.argv[2]}-{n}'\n"
        "    add_tags(c, 'zoo:v0', [Tag.parse(tag)])\n"
        "    assert [r.ref for r in search(c, Query(None, tags=[tag]))] == ['local/default/zoo:v0'], tag\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, context.root.path, f"p{n}"]) for n in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    entry = Catalog(context).read(f"{context.root.path}/projects/local/default/collections/zoo", None)
    assert len(entry.column("tags")[0]) == 46


def test_a_restricted_registry_is_invisible(context: Context, tmp_path: Path) -> None:
    create_registry(context, RegistryName.parse("secret"), visibility="restricted")
    link_version(context, "zoo:v0", "secret/Hidden", aliases=[Alias.parse("hush")])
    assert found(context, alias="hush")
    stranger = context_of(tmp_path / "root", "eve")
    assert found(stranger, alias="hush") == []
    assert found(stranger, "hidden") == []
    assert all("secret" not in str(links) for _, _, links in found(stranger, where=["links ~ ."]))
    with pytest.raises(RoleError):
        search(stranger, Query("hush", registry="secret"))


def test_text_tags_alias_and_where_hold_together(context: Context) -> None:
    assert found(context, "animals", where=["metrics.acc > 0.1"], kinds=["version"]) == [
        ("local/default/zoo:v2", "tag", "animals")
    ]
    assert found(context, alias="prod", tags=["animals"]) == [("model/Zoo:v0", "version", "v0")]
    assert found(context, alias="prod", where=["version = v1"]) == []
    assert found(context, where=["metadata.size.leaf >= 3"]) == [("local/default/plants:v0", "metadata.size.leaf", 3)]
    assert [ref for ref, _, _ in found(context, where=["source = local/default/zoo:v1"])] == [
        "model/Zoo:v0",
        "local/default/zoo:v1",
    ]
    assert [ref for ref, _, _ in found(context, where=["links ~ ^model"])] == ["local/default/zoo:v1"]


def test_results_are_sorted_by_any_field(context: Context) -> None:
    order = [ref for ref, _, _ in found(context, where=["metrics.acc >= 0"], sort="-metrics.acc")]
    assert order == ["local/default/zoo:v2", "model/Zoo:v0", "local/default/zoo:v1", "local/default/zoo:v0"]
    by_ref = [ref for ref, _, _ in found(context, kinds=["version"], sort="ref")]
    assert by_ref == sorted(by_ref)
    with pytest.raises(UsageError):
        Query(None, sort="colour")


def test_a_cold_and_a_warm_search_agree_on_every_field(context: Context) -> None:
    from regcli.domain.where import FIELDS

    for field in sorted(FIELDS):
        shutil.rmtree(f"{context.root.path}/cache", ignore_errors=True)
        cold = found(context, where=[f"{field} != surely-not"])
        assert cold == found(context, where=[f"{field} != surely-not"]), field
        assert len(cold) == 5


def test_the_catalog_says_what_show_says(context: Context, tmp_path: Path) -> None:
    """Every field of a version record, for sources and links, deleted and undeleted neighbours around them."""
    from regcli.domain.catalog_rows import Rows
    from regcli.domain.deletion import delete_version
    from regcli.domain.documents import version_document
    from regcli.domain.registries import find_registry, protect
    from regcli.domain.resolving import resolve

    log_text(context, tmp_path, "zoo", "more", inputs=["plants:v0"], run="fit", ttl=3600, tags=["a", "b"])
    log_text(context, tmp_path, "zoo", "last", description="multi\nline", metadata={"x": [1, {"y": None}]})
    for version in ("zoo:v4", "zoo:v2", "plants"):
        link_version(context, version, "model/Zoo" if version != "plants" else "dataset/P")
    protect(context, find_registry(context, "model"), [Alias.parse("prod")])
    delete_version(context, "zoo:v0")
    unlink(context, "model/Zoo:v2")
    catalog = Catalog(context)
    for ref in ("local/default/zoo", "local/default/plants", "model/Zoo", "dataset/P"):
        for _ in range(2):  # built, then read from the cache
            collection = resolve(context, ref).collection
            rows = Rows(context, catalog, catalog.read(collection.base, collection.registry))
            refs = rows.column(("ref",))
            assert list(refs) == [collection.version_ref(index) for index, _ in collection.versions()]
            for number, version in enumerate(refs):
                document = version_document(context, resolve(context, version))
                for field in document:
                    shown = rows.column((field,))[number]
                    # A source that is linked shows no TTL; the catalog of the source does not know its links.
                    if field not in ("ttl", "expires_at") or not document["links"]:
                        assert shown == document[field], (version, field)
