"""The `Artifact` class after logging: every property in the states logged, link and deleted; saving, links, deletion."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Api, Artifact, ArtifactFinalizedError, ArtifactTTL, CommError
from regcli.errors import ProtectedError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    Logged = Callable[..., Artifact]

TARGET = "wandb-registry-Model/Zoo"


def test_what_a_logged_artifact_says_of_itself(logged: Logged) -> None:
    artifact = logged(metadata={"a": 1}, description="words")
    assert artifact.id is not None
    assert len(artifact.id) == 32
    assert (artifact.entity, artifact.project, artifact.name) == ("local", "default", "data:v0")
    assert artifact.qualified_name == artifact.source_qualified_name == "local/default/data:v0"
    assert artifact.version == artifact.source_version == "v0"
    assert artifact.collection == artifact.source_collection
    assert (artifact.collection.name, artifact.collection.is_sequence()) == ("data", True)
    assert (artifact.source_entity, artifact.source_project, artifact.source_name) == ("local", "default", "data:v0")
    assert not artifact.is_link
    assert artifact.linked_artifacts == []
    assert artifact.source_artifact is artifact
    assert artifact.url.startswith("file:///")
    assert (artifact.type, artifact.description, artifact.metadata) == ("dataset", "words", {"a": 1})
    assert artifact.ttl is None
    assert (artifact.aliases, artifact.tags) == (["latest"], [])
    assert (artifact.state, artifact.is_draft()) == ("COMMITTED", False)
    assert (artifact.size, artifact.file_count) == (5, 1)
    assert len(artifact.commit_hash) == 64
    assert artifact.created_at == artifact.updated_at
    assert artifact.linked_at is None
    assert artifact.history_step is None
    assert artifact.wait() is artifact
    assert artifact.json_encode() == {
        "_type": "artifactVersion", "_version": "v0", "id": artifact.id, "version": "v0", "sequenceName": "data",
        "usedAs": None,
    }  # fmt: skip


def test_what_a_link_says_of_itself(logged: Logged) -> None:
    logged("other").link(TARGET)
    source = logged(metadata={"a": 1})
    source.tags = ["red"]
    source.save()
    link = source.link(TARGET, aliases=["best"])
    assert (link.id, link.digest, link.size) == (source.id, source.digest, source.size)
    assert (link.entity, link.project, link.name, link.version) == ("local", "wandb-registry-model", "Zoo:v1", "v1")
    assert link.qualified_name == "local/wandb-registry-model/Zoo:v1"
    assert link.collection.name == "Zoo"
    assert link.source_collection.name == "data"
    assert link.source_qualified_name == "local/default/data:v0"
    assert (link.source_name, link.source_version) == ("data:v0", "v0")
    assert link.is_link
    assert link.linked_artifacts == []
    assert link.source_artifact.qualified_name == source.qualified_name
    assert (link.aliases, link.tags, link.metadata) == (["latest", "best"], ["red"], {"a": 1})
    assert link.linked_at is not None
    assert link.ttl is None
    assert link.json_encode()["sequenceName"] == "data"
    found = source.linked_artifacts
    assert [artifact.qualified_name for artifact in found] == [link.qualified_name]
    assert found[0].aliases == ["latest", "best", "v1"]
    assert Api().artifact(link.qualified_name).id == source.id


def test_a_deleted_artifact_still_answers(logged: Logged) -> None:
    artifact = logged()
    artifact.delete()
    assert artifact.state == "DELETED"
    assert artifact.version == "v0"
    assert artifact.manifest.entries["file1.txt"].size == 5
    with pytest.raises(CommError, match="was deleted"):
        artifact.delete()
    with pytest.raises(CommError):
        Api().artifact("data:v0")


def test_content_of_a_logged_artifact_is_fixed(logged: Logged, work: Path) -> None:
    artifact = logged()
    (work / "x").write_text("x")
    with pytest.raises(ArtifactFinalizedError):
        artifact.add_file("x")
    with pytest.raises(ArtifactFinalizedError):
        artifact.remove("file1.txt")


# Logging


def test_versions_count_up_and_the_same_content_makes_none(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    assert logged(files={"a": "A"}).version == "v0"
    assert logged(files={"a": "B"}).version == "v1"
    again = logged(files={"a": "B"}, metadata={"ignored": 1})
    assert again.version == "v1"
    assert "already exists with the same content" in caplog.text
    assert again.metadata == {}
    assert logged(files={"a": "A"}).version == "v2"


def test_a_no_op_applies_aliases_and_tags(draft: Callable[..., Artifact]) -> None:
    with regcli.init() as run:
        run.log_artifact(draft(), aliases=["one", "latest"], tags=["t"])
        again = run.log_artifact(draft(), aliases="two", tags=["u"])
    assert (again.version, again.aliases, again.tags) == ("v0", ["latest", "one", "two"], ["t", "u"])


def test_an_empty_artifact_and_an_empty_file(logged: Logged) -> None:
    empty = logged(files={})
    assert (empty.file_count, empty.size) == (0, 0)
    empty.link(TARGET)
    assert logged("zero", files={"a": ""}).size == 0


def test_another_type_for_a_name(logged: Logged) -> None:
    logged()
    with pytest.raises(ValueError, match="already exists with type 'dataset'; cannot create another with type 'model'"):
        logged(type="model", files={"b": "1"})


def test_incremental_starts_from_the_latest(logged: Logged) -> None:
    logged(files={"a": "1"})
    added = logged(files={"b": "2"}, incremental=True)
    assert (added.version, list(added.manifest.entries)) == ("v1", ["a", "b"])


def test_wait_timeout_is_accepted(logged: Logged) -> None:
    assert logged().wait(timeout=1).version == "v0"


# Saving edits


def test_edits_are_stored_by_save(logged: Logged) -> None:
    artifact = logged()
    artifact.description = "new"
    artifact.metadata["a"] = {"b": 1}
    artifact.tags.append("red")
    artifact.aliases.append("best")
    artifact.ttl = timedelta(days=3)
    before = Api().artifact("data:v0")
    assert (before.description, before.metadata, before.tags, before.aliases) == ("", {}, [], ["latest"])
    artifact.save()
    after = Api().artifact("data:best")
    assert (after.description, after.metadata, after.tags) == ("new", {"a": {"b": 1}}, ["red"])
    assert (after.aliases, after.ttl, after.name) == (["latest", "best"], timedelta(days=3), "data:best")
    after.aliases.remove("best")
    after.tags = []
    after.ttl = ArtifactTTL.INHERIT
    after.save()
    last = Api().artifact("data")
    assert (last.aliases, last.tags, last.ttl) == (["latest"], [], None)


def test_assigning_aliases_leaves_latest_in_place(logged: Logged) -> None:
    artifact = logged()
    artifact.aliases = ["one"]
    artifact.save()
    assert artifact.aliases == ["latest", "one"]
    artifact.aliases += ["two"]
    artifact.aliases.remove("latest")
    artifact.save()
    assert artifact.aliases == ["latest", "one", "two"]


def test_latest_cannot_be_set_by_hand(logged: Logged) -> None:
    first = logged(files={"a": "1"})
    logged(files={"a": "2"})
    first = Api().artifact("data:v0")
    first.aliases.append("latest")
    with pytest.raises(ValueError, match="'latest' is kept by regcli"):
        first.save()


@pytest.mark.parametrize("alias", ["v3", "a/b", "a:b", "", "with space", "-x"])
def test_aliases_that_are_not_allowed(alias: str, logged: Logged) -> None:
    artifact = logged()
    artifact.aliases.append(alias)
    artifact.tags.append("red")
    with pytest.raises(ValueError, match="alias"):
        artifact.save()
    assert Api().artifact("data:v0").tags == []


def test_an_alias_moves(logged: Logged) -> None:
    first, second = logged(files={"a": "1"}), logged(files={"a": "2"})
    for artifact in (first, second):
        artifact.aliases.append("best")
        artifact.save()
    assert Api().artifact("data:best").version == "v1"
    # What the first artifact was read with does not take the alias back.
    first.description = "x"
    first.save()
    assert Api().artifact("data:best").version == "v1"


@pytest.mark.parametrize("tag", ["a.b", " a", "a ", "a\tb", "", "a\n", "x" * 129])
def test_tags_that_are_not_allowed(tag: str, logged: Logged) -> None:
    artifact = logged()
    with pytest.raises(ValueError, match=r"tags must only contain|longer|empty"):
        artifact.tags = ["good", tag]
    assert artifact.tags == []


def test_tags_are_kept_once_and_in_order(logged: Logged) -> None:
    artifact = logged()
    artifact.tags = ["b c", "日本", "a", "b c"]
    artifact.save()
    assert Api().artifact("data").tags == ["b c", "日本", "a"]


def test_tags_and_metadata_of_a_link_are_its_sources(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    source = logged()
    link = source.link(TARGET)
    link.tags = ["red"]
    link.metadata = {"a": 1}
    link.description = "shared"
    assert len(caplog.records) == 3
    link.aliases.append("best")
    link.save()
    again = Api().artifact("data:v0")
    assert (again.tags, again.metadata, again.description, again.aliases) == (["red"], {"a": 1}, "shared", ["latest"])
    assert Api().artifact("model/Zoo:best").tags == ["red"]


def test_a_ttl_on_a_link_or_on_what_is_linked(logged: Logged) -> None:
    source = logged()
    source.ttl = timedelta(days=1)
    source.save()
    link = source.link(TARGET)
    assert Api().artifact("data").ttl is None
    with pytest.raises(ValueError, match="Cannot set TTL for link artifact"):
        link.ttl = timedelta(days=1)
    again = Api().artifact("data")
    again.ttl = timedelta(days=1)
    with pytest.raises(CommError, match="is linked"):
        again.save()


def test_an_inherited_ttl_is_the_collections_or_the_roots(logged: Logged, invoke: Callable[..., Any]) -> None:
    artifact = logged()
    assert artifact.ttl is None
    invoke("init", "--ttl", "30d").ok()
    assert artifact.ttl == timedelta(days=30)
    invoke("collection", "edit", "data", "--ttl", "12h").ok()
    assert Api().artifact("data").ttl == timedelta(hours=12)
    artifact.link(TARGET)
    assert Api().artifact("data").ttl is None


# Links


def test_linking_a_draft_logs_it(draft: Callable[..., Artifact]) -> None:
    artifact = draft()
    link = artifact.link(TARGET)
    assert (artifact.version, link.source_version) == ("v0", "v0")


def test_linking_a_link_links_its_source(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    link = logged().link(TARGET)
    second = link.link("wandb-registry-dataset/Other")
    assert second.source_qualified_name == "local/default/data:v0"
    assert "its source is linked instead" in caplog.text


def test_linking_again_returns_the_link_that_is_there(logged: Logged) -> None:
    source = logged()
    assert source.link(TARGET, aliases=["a"]).version == "v0"
    again = source.link(TARGET, aliases=["b"])
    assert (again.version, again.aliases) == ("v0", ["latest", "a", "b"])
    again.unlink()
    assert source.link(TARGET).version == "v1"


def test_targets_in_projects(logged: Logged) -> None:
    source = logged()
    assert source.link("shortlist").qualified_name == "local/default/shortlist:v0"
    assert source.link("default/second").qualified_name == "local/default/second:v0"
    assert source.link("other/project/third").qualified_name == "other/project/third:v0"
    assert source.link("org/wandb-registry-model/fourth").qualified_name == "local/wandb-registry-model/fourth:v0"
    assert source.link("model/fifth").project == "wandb-registry-model"
    assert [link.project for link in source.linked_artifacts].count("default") == 2


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("wandb-registry-nope/Zoo", CommError, "there is no registry 'nope'"),
        ("nope/Zoo", CommError, "there is no registry 'nope', and no project of that name"),
        ("a/b/c/d", ValueError, "invalid artifact path"),
        ("data", CommError, "nothing can be linked into it"),
        ("wandb-registry-model/Zoo:v0", ValueError, "version or alias"),
    ],
)
def test_targets_that_cannot_be(target: str, kind: type[Exception], message: str, logged: Logged) -> None:
    source = logged()
    with pytest.raises(kind, match=message):
        source.link(target)
    assert source.linked_artifacts == []


def test_a_wrong_alias_links_nothing(logged: Logged) -> None:
    source = logged()
    with pytest.raises(ValueError, match="alias"):
        source.link(TARGET, aliases=["good", "not/good"])
    assert source.linked_artifacts == []


def test_another_type_in_a_registrys_collection(logged: Logged) -> None:
    logged().link(TARGET)
    with pytest.raises(ValueError, match="holds artifacts of type 'dataset'"):
        logged("weights", type="model").link(TARGET)


def test_unlinking(logged: Logged) -> None:
    source = logged()
    link = source.link(TARGET)
    with pytest.raises(ValueError, match="is not a linked artifact and cannot be unlinked"):
        source.unlink()
    link.unlink()
    assert source.linked_artifacts == []
    with pytest.raises(CommError):
        Api().artifact("model/Zoo:v0")
    assert Api().artifact("data:v0").id == source.id


# Deletion


def test_delete_of_a_version_with_aliases(logged: Logged) -> None:
    artifact = logged()
    artifact.aliases.append("best")
    artifact.save()
    with pytest.raises(CommError, match="has the alias 'best'") as caught:
        artifact.delete()
    assert isinstance(caught.value, RefusedError)
    assert artifact.state == "COMMITTED"
    artifact.delete(delete_aliases=True)
    assert not Api().artifact_exists("data:v0")


def test_delete_of_a_linked_source_is_refused_either_way(logged: Logged) -> None:
    source = logged()
    source.link(TARGET)
    for delete_aliases in (False, True):
        with pytest.raises(CommError, match="link"):
            source.delete(delete_aliases=delete_aliases)
    assert Api().artifact_exists("data:v0")


def test_delete_of_a_link_only_unlinks(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    source = logged()
    link = source.link(TARGET, aliases=["best"])
    link.delete()
    assert "only unlinks" in caplog.text
    assert Api().artifact_exists("data:v0")
    assert not Api().artifact_exists("model/Zoo:v0")


def test_deleted_versions_leave_their_numbers(logged: Logged) -> None:
    logged(files={"a": "1"})
    second = logged(files={"a": "2"})
    second.delete()
    assert Api().artifact("data").version == "v0"
    assert logged(files={"a": "2"}).version == "v2"


def test_protected_aliases_hold_back_those_who_are_no_admin(logged: Logged, invoke: Callable[..., Any]) -> None:
    link = logged().link(TARGET, aliases=["production"])
    invoke("protect", "model", "production").ok()
    invoke("member", "add", "model", "other-user", "--role", "admin").ok()
    with pytest.raises(CommError, match="protected"):
        Api().artifact("data:v0").delete(delete_aliases=True)
    me = regcli.Api().registry("model")
    me.update_member(me.members()[1] if me.members()[1].user != "other-user" else me.members()[0], "member")
    for change in (link.unlink, link.delete):
        with pytest.raises(CommError, match="protected") as caught:
            change()
        assert isinstance(caught.value, ProtectedError)
    link.aliases.remove("production")
    link.tags = ["x"]
    with pytest.raises(CommError, match="protected"):
        link.save()
    assert Api().artifact("data:v0").tags == []


# Drafts of versions


def test_new_draft_becomes_the_next_version_of_the_source(logged: Logged) -> None:
    source = logged(files={"a": "1", "b": "2"}, metadata={"m": 1}, description="d")
    source.tags = ["t"]
    source.save()
    draft = source.link(TARGET, aliases=["best"]).new_draft()
    assert (draft.name, draft.type, draft.state, draft.description) == ("data", "dataset", "PENDING", "d")
    assert (draft.metadata, draft.digest) == ({"m": 1}, source.digest)
    draft.metadata["m"] = 2
    assert source.metadata == {"m": 1}
    draft.remove("a")
    with draft.new_file("c") as stream:
        stream.write("3")
    draft.save()
    assert (draft.qualified_name, draft.tags, draft.aliases) == ("local/default/data:v1", [], ["latest"])
    assert list(draft.manifest.entries) == ["b", "c"]
    draft.download("out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["b", "c"]


def test_new_draft_without_a_change_makes_no_version(logged: Logged) -> None:
    draft = logged().new_draft()
    draft.save()
    assert draft.version == "v0"


def test_new_draft_goes_to_the_sources_project(draft: Callable[..., Artifact]) -> None:
    with regcli.init(entity="team", project="here") as run:
        source = run.log_artifact(draft())
    change = source.new_draft()
    with change.new_file("more") as stream:
        stream.write("more")
    with regcli.init(entity="other", project="there") as run:
        run.log_artifact(change)
    assert change.qualified_name == "team/here/data:v1"
    assert change.logged_by().path[:2] == ["other", "there"]  # type: ignore[union-attr]


def test_new_draft_keeps_the_algorithm(logged: Logged) -> None:
    draft = logged(digest_algorithm="MD5").new_draft()
    with draft.new_file("b") as stream:
        stream.write("x")
    draft.save()
    assert draft.digest_algorithm == "MD5"
    assert draft.get_entry("b").extra == {}


def test_content_that_was_swept_meanwhile_is_noticed(draft: Callable[..., Artifact], work: Path, root: Path) -> None:
    (work / "large").write_bytes(b"x" * (2 << 20))
    artifact = draft()
    artifact.add_file("large")
    blob = next(path for path in (root / "blobs").rglob("*") if path.is_file())
    blob.unlink()
    with pytest.raises(CommError, match="is no longer in the store"):
        artifact.save()
    assert artifact.is_draft()
