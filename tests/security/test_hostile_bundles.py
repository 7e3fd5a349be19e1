"""Bundles that an attacker made, with checksums that fit: refused before anything is written, or harmless and whole."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import xxhash

from tests.reliability.harness import scaled
from tests.security.bundles import END, INDEX, Bundle
from tests.security.hostile import ESCAPES
from tests.security.test_bombs import JSON
from tests.security.test_hostile_logs import mutations, put
from tests.security.test_hostile_manifests import BYTES, MALFORMED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

CONTENT = b"content"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `bundle.tar` (versions, links, aliases, protection, tags, lineage, edits) and an empty `root`."""
    from regcli.domain.editing import edit
    from regcli.domain.exporting import export_bundle
    from tests.domain.world import World

    world = World(tmp_path_factory.mktemp("bundles"))
    world.furnish()
    edit(world.user(), "zoo:v1", description="other", metadata={"n": 1})
    export_bundle(world.user(), ["model/", "zoo"], str(world.path / "bundle.tar"))
    return world.path


@pytest.fixture
def bundle(packed: Path) -> Bundle:
    return Bundle(packed / "bundle.tar")


@pytest.fixture
def empty(invoke: Run, root: Path) -> Path:
    """A root without anything in it."""
    invoke("init").ok()
    return root


def everything(top: Path) -> list[str]:
    """Return every file below a directory but locks, which any command may make."""
    return sorted(str(path) for path in top.rglob("*") if path.is_file() and "locks" not in path.parts)


def require_refusal(invoke: Run, path: Path, codes: tuple[int, ...] = (6,)) -> Result:
    """Import a bundle that must be refused, in few words, with nothing written anywhere."""
    before = everything(path.parent)
    done = invoke("import", path)
    assert done.code in codes, done
    assert len(done.stderr) < 1000, done.stderr[:300]
    assert not set(done.stdout + done.stderr) & {"\x1b", "\u202e", "\x9b", "\0"}, done
    assert everything(path.parent) == before
    return done


def test_the_bundle_itself_is_taken(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    """The control: packed anew without a change it is imported, and all is well."""
    invoke("import", bundle.write(tmp_path / "bundle.tar")).ok()
    invoke("verify").ok()
    assert invoke("resolve", "model/zoo:production").ok().lines == ["model/zoo:v0"]
    assert invoke("show", "zoo:v1", "--json").ok().json["metadata"] == {"n": 1}


LOOKS = (
    ("ls",), ("show", "model/zoo:v0"), ("history",), ("search", "zoo"), ("lineage", "zoo:v0"), ("du",), ("gc", "--dry-run"),
    ("download", "model/zoo:v0", "-o", "out"), ("tag", "add", "zoo:v0", "later"),
)  # fmt: skip


def test_one_value_is_changed(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    """Whatever stands anywhere in its documents: nothing is half done, and what was taken in is whole and can be used."""
    fresh = shutil.copytree(empty, tmp_path / "fresh")
    chosen = mutations(bundle.documents(), 5)
    taken = 0
    for number, place, value in chosen[: scaled(30, 4000)]:
        what = (number, place, value)
        edited = copy.deepcopy(bundle)
        put(edited.documents()[number], place, value)
        shutil.rmtree(empty)
        shutil.copytree(fresh, empty)
        before = everything(tmp_path)
        done = invoke("import", edited.write(tmp_path / "bundle.tar"))
        assert done.code in (0, 2, 4, 5, 6), (what, done)
        assert not set(done.stdout + done.stderr) & {"\x1b", "\u202e"}, (what, done)
        outside = [path for path in everything(tmp_path) if not path.startswith((str(empty), str(tmp_path / "bundle.tar")))]
        assert outside == [path for path in before if not path.startswith((str(empty), str(tmp_path / "bundle.tar")))], what
        if done.code:
            assert everything(empty) == [path for path in before if path.startswith(str(empty))], (what, done)
            continue
        taken += 1
        for command in (("verify",), *LOOKS):
            after = invoke(*command)
            # 3: what has another name now is not found under the old one.
            assert after.code in ((0,) if command == ("verify",) else (0, 3)), (what, command, after)
            assert not set(after.stdout + after.stderr) & {"\x1b", "\u202e"}, (what, command, after)
    assert taken


def test_a_link_to_what_neither_comes_nor_is_here_is_refused(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    """It was taken in, and the root was damaged from then on."""
    index = bundle.documents()[0]
    alone = copy.deepcopy(bundle)
    alone.documents()[0]["collections"] = [entry for entry in index["collections"] if entry["kind"] == "link"]
    refused = require_refusal(invoke, alone.write(tmp_path / "bundle.tar"))
    assert "lacks 'local/default/zoo:v0', which 'model/zoo' links to" in refused.stderr
    # Once the source is here, the links alone are enough.
    invoke("import", bundle.write(tmp_path / "bundle.tar")).ok()
    invoke("import", alone.write(tmp_path / "bundle.tar")).ok()
    invoke("verify").ok()


def first(bundle: Bundle) -> dict[str, Any]:
    record: dict[str, Any] = bundle.ops("version")[0]["record"]
    return record


IDS = ("../outside", "../../../../../../tmp/outside", "..", "/tmp/outside", "\0" * 32, "A" * 31 + "\\", "")


@pytest.mark.parametrize("identity", IDS, ids=repr)
def test_ids_and_places_lead_nowhere(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, identity: str) -> None:
    """Ids become names of directories, places become paths."""
    entry = bundle.index["collections"][0]
    targets: list[tuple[dict[str, Any], str]] = [
        (first(bundle), "id"), (first(bundle), "manifest"), (first(bundle), "digest"),
        (bundle.ops("version")[1]["record"]["inputs"][0], "id"), (bundle.ops("version")[1]["record"]["inputs"][0], "place"),
        (bundle.ops("link")[0]["record"], "id"), (bundle.ops("link")[0]["record"]["source"], "place"),
        (entry, "place"), (entry, "chain"), (entry, "name"), (bundle.index, "root"),
    ]  # fmt: skip
    for target, key in targets:
        before, target[key] = target[key], identity
        require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"), (2, 6))
        target[key] = before


def test_an_import_that_believes_a_bundle_is_found_out(
    invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: without the check of what commits say, the same bundle is taken in by half."""
    bundle.ops("version")[1]["record"]["created_by"] = {}
    path = bundle.write(tmp_path / "bundle.tar")
    require_refusal(invoke, path)
    monkeypatch.setattr(
        "regcli.domain.importing.vet_commits", lambda _, commits: [{"reason": None, **commit} for commit in commits]
    )
    monkeypatch.setattr("regcli.domain.importing.rehearse", lambda *_: None)
    with pytest.raises(AssertionError):
        require_refusal(invoke, path)


@pytest.mark.parametrize("path", ESCAPES, ids=repr)
def test_a_path_that_leaves_the_target_is_not_taken_in(
    invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, path: str
) -> None:
    bundle.entries([[path, bundle.blob(CONTENT), len(CONTENT), 0]])
    require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"))


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_manifest_is_not_taken_in(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, name: str) -> None:
    bundle.entries(MALFORMED[name])
    require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"))


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_manifest_are_not_taken_in(
    invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, name: str
) -> None:
    bundle.manifest(BYTES[name])
    require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"))


def test_lies_about_sizes_and_digests(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    whole = copy.deepcopy(bundle)
    digest = bundle.blob(CONTENT)
    for size in (0, 1, 8, 1 << 40):
        bundle.entries([["a", digest, size, 0]])
        require_refusal(invoke, bundle.write(path))
    lies: dict[str, Any] = {
        "digest": "0" * 32, "manifest_sha256": "0" * 64, "size": 1 << 60, "file_count": 2, "algorithm": "MD5",
        "manifest": "0" * 32,
    }  # fmt: skip
    for key, value in lies.items():
        for op in (whole.ops("version")[1], whole.ops("link")[1]):
            before, op["record"][key] = op["record"][key], value
            require_refusal(invoke, whole.write(path), (3, 6) if key == "manifest" else (6,))
            op["record"][key] = before
    for data in (b"", b"other", CONTENT * 1000):
        lying = copy.deepcopy(whole)
        lying.blobs[next(iter(lying.blobs))] = data
        require_refusal(invoke, lying.write(path))
    invoke("import", whole.write(path)).ok()


def test_what_makes_a_version_cannot_be_edited(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    """An edit after the version: of its content, its state, its id, of the numbers or the name of its collection."""
    edit = bundle.ops("edit")[0]
    fields = (
        "manifest",
        "digest",
        "size",
        "id",
        "state",
        "source",
        "inputs",
        "created_by",
        "next",
        "aliases",
        "redirect",
        "kind",
    )
    for field in fields:
        for version in (0, None):
            edit.update(version=version, field=field, after="0" * 32)
            require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"))
    signed = {"op": "alias", "alias": "prod", "before": None, "after": 0, "signature": {"statement": "{}", "signature": "x"}}
    bundle = Bundle(tmp_path / "bundle.tar")
    bundle.ops("edit")[0].update(version=1, field="description", after="fine")
    bundle.chains[bundle.index["collections"][0]["chain"]][-1]["ops"].append(signed)
    invoke("import", bundle.write(tmp_path / "bundle.tar")).ok()
    logs = "".join(path.read_text() for path in empty.rglob("log/*.json"))
    assert "prod" in logs
    assert '"signature"' not in logs
    invoke("verify").ok()


def test_what_was_purged_does_not_come_back_without_content(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    made = next(commit for commits in bundle.chains.values() for commit in commits if bundle.ops("version")[1] in commit["ops"])
    del bundle.blobs[bundle.ops("version")[1]["record"]["manifest"]]
    bundle.chains = {name: commits for name, commits in bundle.chains.items() if made in commits}
    bundle.index["collections"] = [entry for entry in bundle.index["collections"] if entry["chain"] in bundle.chains]
    plain = copy.deepcopy(made["ops"])
    made["ops"] = [*plain, {"op": "purge", "version": 1}, {"op": "undelete", "version": 1}]
    require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"), (3, 6))
    made["ops"] = [*plain, {"op": "purge", "version": 1}]
    invoke("import", bundle.write(tmp_path / "bundle.tar")).ok()
    invoke("verify").ok()


@pytest.mark.parametrize("name", JSON)
def test_documents_that_mean_to_exhaust(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, name: str) -> None:
    chain = bundle.index["collections"][0]["chain"]
    for member in (INDEX, chain):
        path = bundle.write(tmp_path / "bundle.tar", {member: JSON[name]})
        if (member, name) == (chain, "empty"):
            # A collection without commits is one without versions; what links to them has them all the same.
            assert invoke("import", path).code in (0, 6)
            continue
        require_refusal(invoke, path, (2, 6))
    require_refusal(invoke, bundle.write(tmp_path / "bundle.tar", end=JSON[name]), (2, 6))


BLOCK = 512


def _hole(kind: str) -> bytes:
    """Return the beginning of a tar whose first header has a gigabyte to say, all of it a hole in the file."""
    member = tarfile.TarInfo("x")
    if kind == "sparse":
        member.size = 1 << 30
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        return member.tobuf(tarfile.PAX_FORMAT)
    member.type = {"pax": tarfile.XHDTYPE, "global": tarfile.XGLTYPE, "name": tarfile.GNUTYPE_LONGNAME}[kind]
    member.size = 1 << 30
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", ["pax", "global", "name", "sparse"])
def test_a_header_of_a_gigabyte_is_not_read(invoke: Run, empty: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(_hole(kind))
    os.truncate(path, (1 << 30) + 8 * BLOCK)
    begun = time.monotonic()
    require_refusal(invoke, path, (2,))
    assert time.monotonic() - begun < 2


def test_headers_without_end_are_no_recursion(invoke: Run, empty: Path, tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type = tarfile.XHDTYPE
    path = tmp_path / "bundle.tar"
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) * 10_000)
    require_refusal(invoke, path, (2,))


@pytest.mark.parametrize("unit", [b"{},", b"[],", b'"",', b"\n"])
def test_a_chain_is_read_commit_by_commit(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, unit: bytes) -> None:
    """A line that is larger than a commit may be is not parsed: it would take twenty times its size."""
    chain = bundle.index["collections"][0]["chain"]
    data = b'{"seq": 1, "ops": [' + unit * (20_000_000 // len(unit)) + b"1]}\n"
    path = bundle.write(tmp_path / "bundle.tar", {chain: data})
    tracemalloc.start()
    require_refusal(invoke, path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60 << 20


def test_an_index_of_millions_of_nothings_is_not_parsed(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    text = bundle.texts()[INDEX][:-1] + b', "x": [' + b"[]," * 2_000_000 + b"1]}"
    assert "too many lists" in require_refusal(invoke, bundle.write(tmp_path / "bundle.tar", {INDEX: text})).stderr


# Edits of the text of a whole bundle: all else is right.
TEXTS = {
    "a key of the index twice": (INDEX, b'{"format": 1', b'{"format": 1, "format": 1'),
    "a key of a commit twice": ("chains/0000.jsonl", b'{"seq": 1', b'{"seq": 1, "seq": 1'),
    "a key of a record twice": ("chains/0000.jsonl", b'"file_count": 1', b'"file_count": 1, "file_count": 1'),
    "NaN": ("chains/0000.jsonl", b'"metadata": {', b'"metadata": {"x": NaN, '),
    "infinity": ("chains/0000.jsonl", b'"metadata": {', b'"metadata": {"x": 1e999, '),
    "a number of 5,000 digits": ("chains/0000.jsonl", b'"metadata": {', b'"metadata": {"x": %s, ' % (b"9" * 5000)),
    "a lone surrogate": ("chains/0000.jsonl", b'"metadata": {', b'"metadata": {"x": "\\ud800", '),
    "100,000 levels": ("chains/0000.jsonl", b'"metadata": {', b'"metadata": {"x": %s, ' % (b"[" * 100_000 + b"]" * 100_000)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_document_that_is_right_but_for_one_thing(
    invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, name: str
) -> None:
    member, old, new = TEXTS[name]
    text = bundle.texts()[member]
    assert old in text
    require_refusal(invoke, bundle.write(tmp_path / "bundle.tar", {member: text.replace(old, new, 1)}))


def test_a_text_of_megabytes_is_not_repeated(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    """Whatever is wrong with a value, the sentence about it is a short one."""
    huge = "x" * 2_000_000
    entry, commit, alias, edit = (
        bundle.index["collections"][1], next(iter(bundle.chains.values()))[0], bundle.ops("alias")[0], bundle.ops("edit")[0],
    )  # fmt: skip
    targets: list[tuple[dict[str, Any], str]] = [
        (bundle.index, "root"), (entry, "name"), (entry, "type"), (entry, "kind"), (entry, "place"), (entry, "chain"),
        (entry["registry"], "name"), (entry["registry"], "visibility"), (commit, "time"), (alias, "op"), (alias, "alias"),
        (edit, "field"), (first(bundle), "id"), (first(bundle), "algorithm"), (first(bundle), "created_at"),
        (first(bundle), "manifest"),
    ]  # fmt: skip
    for target, key in targets:
        before, target[key] = target[key], huge
        require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"), (2, 6))
        target[key] = before


@pytest.mark.parametrize("number", [-1, 1 << 31, 1 << 63, 10**39, 1.0, True, "1", None], ids=repr)
def test_numbers_that_are_none(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, number: Any) -> None:
    entry, commit = bundle.index["collections"][0], next(iter(bundle.chains.values()))[0]
    targets: list[tuple[dict[str, Any], str]] = [
        (entry, "last_seq"), (entry, "after_seq"), (commit, "seq"), (bundle.ops("version")[1], "version"),
        (bundle.ops("link")[0]["record"]["source"], "version"), (bundle.ops("edit")[0], "version"),
        (first(bundle), "size"), (first(bundle), "file_count"),
    ]  # fmt: skip
    for target, key in targets:
        if (target, key, number) == (bundle.ops("edit")[0], "version", None):
            continue
        before, target[key] = target[key], number
        require_refusal(invoke, bundle.write(tmp_path / "bundle.tar"))
        target[key] = before


def test_members_that_lie(invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.write(tmp_path / "bundle.tar")
    whole = path.read_bytes()

    def add(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = size, kind, "/etc/passwd"
        return info.tobuf(tarfile.GNU_FORMAT) + whole

    names = (
        "../../evil",
        "/etc/evil",
        "blobs/../../evil",
        "blobs/" + "A" * 32,
        "chains/../../x.jsonl/",
        INDEX,
        END,
        "a\x1b[31m",
    )
    for name in names:
        path.write_bytes(add(name))
        require_refusal(invoke, path, (2, 6))
    for size in (1 << 40, 1 << 62):
        path.write_bytes(add("blobs/" + "0" * 32, size))
        require_refusal(invoke, path, (2, 6))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE):
        path.write_bytes(add("blobs/" + "0" * 32, kind=kind))
        require_refusal(invoke, path, (2, 6))
    # What unpacks to any size is not unpacked at all.
    path.write_bytes(gzip.compress(whole + bytes(50 << 20)))
    require_refusal(invoke, path, (2,))
    bundle.index["collections"].append(bundle.index["collections"][0])
    require_refusal(invoke, bundle.write(path))


def test_a_hostile_bundle_changes_nothing_in_a_root_that_is_used(
    invoke: Run, empty: Path, packed: Path, bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.tar"
    invoke("import", packed / "bundle.tar").ok()
    before = everything(empty)
    other = copy.deepcopy(bundle)
    other.ops("version")[1]["record"]["id"] = "f" * 32
    require_refusal(invoke, other.write(path), (4,))
    # Commits beyond those that are here: one that would take the alias to a version that there never was.
    entry = bundle.index["collections"][-1]
    last = bundle.chains[entry["chain"]][-1]
    entry["last_seq"] = last["seq"] + 1
    hostile = {"op": "alias", "alias": "production", "before": 0, "after": 7}
    bundle.chains[entry["chain"]].append({**last, "seq": last["seq"] + 1, "ops": [hostile]})
    require_refusal(invoke, bundle.write(path))
    assert everything(empty) == before
    invoke("verify").ok()


def test_the_addresses_fit() -> None:
    """The control of the forgery: what it makes is refused for what it says, not for a digest that is wrong."""
    bundle = Bundle.__new__(Bundle)
    bundle.blobs, bundle.chains = {}, {"chains/0": [{"ops": [{"op": "version", "version": 0, "record": {}}]}]}
    bundle.entries([["a", bundle.blob(CONTENT), len(CONTENT), 0]])
    record = first(bundle)
    data = bundle.blobs[record["manifest"]]
    assert xxhash.xxh3_128_hexdigest(data) == record["manifest"]
    assert hashlib.sha256(data).hexdigest() == record["manifest_sha256"]
    assert json.loads(data.splitlines()[1])[0] == "a"
    assert (record["size"], record["file_count"]) == (7, 1)
