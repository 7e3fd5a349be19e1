"""`Api`, registries, collections and their queries."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Api, Artifact, ArtifactCollection, CommError, Registry
from regcli.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Logged = Callable[..., Artifact]
    Invoke = Callable[..., Any]


# Artifacts


def test_an_artifact_by_every_spelling(logged: Logged) -> None:
    source = logged()
    link = source.link("wandb-registry-Model/Zoo", aliases=["best"])
    api = Api()
    for name in ("data", "data:latest", "data:v0", "default/data:v0", "local/default/data", f"data@xxh128:{source.digest}"):
        assert api.artifact(name).qualified_name.startswith("local/default/data:"), name
    for name in ("model/Zoo", "models/zoo:v0", "wandb-registry-model/Zoo:best", "any/wandb-registry-model/Zoo"):
        assert api.artifact(name).id == link.id, name
        assert api.artifact(name).is_link, name
    assert api.artifact("data:latest").name == "data:latest"
    assert api.artifact("data").name == "data:v0"
    assert Api({"project": "default", "entity": "local"}).artifact("data").id == source.id
    assert api.default_entity == "local"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nope", CommError), ("data:nope", CommError), ("data:v7", CommError), ("nope/data", CommError),
        ("wandb-registry-nope/x", CommError), ("a/b/c/d:v0", ValueError), ("data:", ValueError), ("", ValueError),
        ("da ta", ValueError), (5, TypeError),
    ],
    ids=str,
)  # fmt: skip
def test_artifacts_that_are_not_there(name: Any, kind: type[Exception], logged: Logged) -> None:
    logged()
    with pytest.raises(kind):
        Api().artifact(name)


def test_a_missing_root_is_not_made_by_looking(root: Path) -> None:
    with pytest.raises(CommError):
        Api().artifact("data")
    assert not Api().artifact_exists("data")
    with pytest.raises(CommError):
        list(Api().registries())
    assert not root.exists()


def test_the_type_is_checked(logged: Logged) -> None:
    logged()
    assert Api().artifact("data", type="dataset").type == "dataset"
    with pytest.raises(ValueError, match="has type 'dataset'"):
        Api().artifact("data", type="model")


def test_existence(logged: Logged) -> None:
    logged()
    api = Api()
    assert api.artifact_exists("data:v0", "dataset")
    assert not api.artifact_exists("data:v0", "model")
    assert not api.artifact_exists("data:v1")
    assert not api.artifact_exists("nope")
    assert api.artifact_collection_exists("data", "dataset")
    assert not api.artifact_collection_exists("data", "model")
    assert not api.artifact_collection_exists("nope")
    with pytest.raises(ValueError, match=r"too many|invalid"):
        api.artifact_exists("a/b/c/d")


def test_versions_of_a_collection(logged: Logged) -> None:
    for number in range(5):
        artifact = logged(files={"a": "x" * (number + 1)})
        artifact.tags = ["even", "all"] if number % 2 == 0 else ["all"]
        artifact.save()
    api = Api()
    pages = api.artifacts("dataset", "data", per_page=2)
    assert [artifact.version for artifact in pages] == ["v4", "v3", "v2", "v1", "v0"]
    first = api.artifacts("dataset", "data", per_page=2)
    assert first[1].version == "v3"
    assert [artifact.version for artifact in api.artifacts("dataset", "data", start=first.cursor)] == ["v2", "v1", "v0"]
    assert [a.version for a in api.artifacts("dataset", "data", tags=["even", "all"])] == ["v4", "v2", "v0"]
    assert [a.version for a in api.artifacts("dataset", "data", order="+version_index")] == [f"v{n}" for n in range(5)]
    assert [a.size for a in api.artifacts("dataset", "data", order="-artifact_size")] == [5, 4, 3, 2, 1]
    assert api.artifacts("dataset", "data", order="-version_index")[0].version == "v4"
    with pytest.raises(ValueError, match="ordered by"):
        api.artifacts("dataset", "data", order="nope")
    with pytest.raises(ValueError, match="has type"):
        api.artifacts("model", "data")
    with pytest.raises(CommError, match="no collection"):
        api.artifacts("dataset", "nope")


def test_types_and_collections_of_a_project(logged: Logged) -> None:
    for name, kind in (("b", "model"), ("a", "model"), ("c", "dataset")):
        logged(name, type=kind)
    api = Api()
    assert [kind.name for kind in api.artifact_types()] == ["dataset", "model"]
    assert [c.name for c in api.artifact_type("model").collections()] == ["a", "b"]
    assert api.artifact_type("model", "local/default").collection("A").name == "a"
    assert [c.name for c in api.artifact_collections("default", "model", per_page=1)] == ["a", "b"]
    assert api.artifact_collection("model", "a").type == "model"
    with pytest.raises(CommError):
        api.artifact_type("nope")
    with pytest.raises(CommError):
        api.artifact_types("nope")
    with pytest.raises(CommError):
        api.artifact_type("model").collection("c")
    with pytest.raises(ValueError, match="has type"):
        api.artifact_collection("dataset", "a")
    api.artifact("a").link("wandb-registry-model/Zoo")
    assert [c.name for c in api.artifact_collections("wandb-registry-model", "model")] == ["Zoo"]


# Collections


def test_a_collection(logged: Logged) -> None:
    artifact = logged()
    artifact.aliases.append("best")
    artifact.save()
    collection = Api().artifact_collection("dataset", "data")
    assert (collection.entity, collection.project, collection.name, collection.type) == ("local", "default", "data", "dataset")
    assert (collection.description, collection.tags, collection.aliases) == ("", [], ["latest", "best"])
    assert len(collection.id) == 32
    assert collection.created_at <= collection.updated_at
    assert [version.name for version in collection.artifacts()] == ["data:v0"]
    collection.description = "words"
    collection.tags = ["b", "a", "b"]
    assert Api().artifact_collection("dataset", "data").tags == []
    collection.save()
    again = Api().artifact_collection("dataset", "data")
    assert (again.description, again.tags, again) == ("words", ["b", "a"], collection)
    with pytest.raises(ValueError, match="tags must only"):
        collection.tags = ["a.b"]
    with pytest.raises(ValueError, match="at most 20"):
        collection.tags = [f"t{number}" for number in range(21)]


def test_renaming_a_collection(logged: Logged) -> None:
    artifact = logged()
    link = artifact.link("wandb-registry-model/Zoo", aliases=["best"])
    collection = Api().artifact_collection("dataset", "data")
    collection.name = "renamed"
    assert Api().artifact_collection_exists("data")
    collection.save()
    assert collection.name == "renamed"
    assert Api().artifact("renamed:v0").id == artifact.id
    assert link.source_name == "renamed:v0"
    with pytest.raises((CommError, NotFoundError), match="renamed"):
        Api().artifact("data:v0")
    shown = link.collection
    shown.name = "Golden Zoo"
    shown.save()
    assert Api().artifact("wandb-registry-model/Golden Zoo:best").id == artifact.id
    for wrong in ("a/b", "", "x" * 129, "a:b"):
        with pytest.raises(ValueError, match="collection name"):
            shown.name = wrong
    assert shown.name == "Golden Zoo"


def test_renaming_to_a_name_that_is_taken(logged: Logged) -> None:
    logged("one")
    logged("two")
    collection = Api().artifact_collection("dataset", "one")
    collection.name = "two"
    with pytest.raises(ValueError, match="exists already"):
        collection.save()


def test_the_type_of_a_collection(logged: Logged) -> None:
    collection = logged().collection
    collection.change_type("model")
    assert Api().artifact("data").type == "model"
    link = Api().artifact("data").link("wandb-registry-model/Zoo")
    with pytest.raises(ValueError, match="cannot be changed"):
        link.collection.type = "dataset"
    with pytest.raises(ValueError, match="reserved"):
        collection.type = "job"


def test_deleting_collections(logged: Logged) -> None:
    link = logged().link("wandb-registry-model/Zoo")
    with pytest.raises(CommError, match="link"):
        Api().artifact_collection("dataset", "data").delete()
    link.collection.delete()
    assert not Api().artifact_exists("model/Zoo")
    assert Api().artifact_exists("data:v0")
    Api().artifact_collection("dataset", "data").delete()
    assert not Api().artifact_collection_exists("data")


# Registries


def test_creating_a_registry(root: Path) -> None:
    registry = Api().create_registry("Golden Datasets", "restricted", description="d", artifact_types=["dataset"])
    assert (registry.name, registry.full_name) == ("Golden Datasets", "wandb-registry-Golden Datasets")
    assert registry.path == ["local", "wandb-registry-Golden Datasets"]
    assert (registry.description, registry.visibility, registry.artifact_types) == ("d", "restricted", ["dataset"])
    assert not registry.allow_all_artifact_types
    assert [(member.user, member.role) for member in registry.members()] == [(getpass.getuser(), "admin")]
    assert Api().registry("wandb-registry-golden datasets") == registry
    with pytest.raises(ValueError, match="exists already"):
        Api().create_registry("golden datasets", "organization")


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a#b", "a?b", "a%b", "a\\b", "a\nb", "x" * 114])
def test_registry_names_that_are_not_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="registry name"):
        Api().create_registry(name, "nonsense")


def test_a_visibility_that_is_not_allowed(root: Path) -> None:
    with pytest.raises(ValueError, match="Invalid visibility"):
        Api().create_registry("fine", "nonsense")
    assert Api().create_registry("x" * 113, "organization").name == "x" * 113


def test_editing_a_registry() -> None:
    registry = Api().create_registry("one", "organization")
    identity = registry.id
    registry.description = "words"
    registry.name = "two"
    registry.visibility = "restricted"
    registry.save()
    again = Api().registry("two")
    assert (again.description, again.visibility, again.id) == ("words", "restricted", identity)
    with pytest.raises(CommError):
        Api().registry("one")
    again.visibility = "organization"
    with pytest.raises((ValueError, CommError)):
        again.save()
    with pytest.raises(ValueError, match="Invalid visibility"):
        again.visibility = "nope"


def test_accepted_types_are_only_added() -> None:
    registry = Api().create_registry("one", "organization")
    assert registry.allow_all_artifact_types
    registry.artifact_types.append("model")
    with pytest.raises(ValueError, match="allow_all_artifact_types"):
        registry.save()
    registry.allow_all_artifact_types = False
    registry.save()
    registry.artifact_types.append("dataset")
    registry.artifact_types.remove("dataset")
    registry.artifact_types += ["code"]
    registry.save()
    assert Api().registry("one").artifact_types == ["model", "code"]
    registry.artifact_types = ["code"]
    with pytest.raises(ValueError, match="Cannot remove artifact type 'model'"):
        registry.save()
    with pytest.raises(ValueError, match="only ever added"):
        registry.allow_all_artifact_types = True
    registry.load()
    registry.artifact_types.append("a/b")
    with pytest.raises(ValueError, match="type"):
        registry.save()


def test_a_registry_that_does_not_accept_the_type(logged: Logged) -> None:
    Api().create_registry("narrow", "organization", artifact_types=["model"])
    with pytest.raises(CommError, match="does not accept"):
        logged().link("wandb-registry-narrow/Zoo")


def test_members() -> None:
    registry = Api().create_registry("one", "restricted")
    registry.add_members("ann", "bob", role="viewer").update_member("bob", "member")
    registry.add_members("bob", role="admin")
    roles = {member.user: member.role for member in registry.user_members()}
    assert (roles["ann"], roles["bob"]) == ("viewer", "member")
    assert registry.team_members() == []
    registry.remove_members(registry.members()[0] if registry.members()[0].user == "ann" else "ann")
    assert "ann" not in {member.user for member in registry.members()}
    for wrong in (registry.add_members, registry.remove_members):
        with pytest.raises(TypeError, match="at least one member"):
            wrong()
    with pytest.raises(ValueError, match="role"):
        registry.update_member("bob", "king")
    with pytest.raises(CommError, match="no admin left"):
        registry.remove_members(getpass.getuser())


def test_deleting_a_registry(logged: Logged) -> None:
    registry = Api().create_registry("one", "organization")
    logged().link("wandb-registry-one/Zoo")
    registry.delete()
    assert Api().artifact_exists("data:v0")
    assert not Api().artifact_exists("wandb-registry-one/Zoo")
    with pytest.raises(ValueError, match="no registry"):
        registry.delete()


def test_a_registry_that_the_user_may_not_see(invoke: Invoke, logged: Logged) -> None:
    registry = Api().create_registry("secret", "restricted")
    logged().link("wandb-registry-secret/Zoo")
    registry.add_members("boss", role="admin").remove_members(getpass.getuser())
    assert "secret" not in [found.name for found in Api().registries()]
    assert list(Api().registries().versions()) == []
    with pytest.raises(CommError, match="has no access"):
        Api().registry("secret")
    with pytest.raises(CommError, match="has no access"):
        Api().artifact("wandb-registry-secret/Zoo")
    assert Api().artifact("data").linked_artifacts == []


def test_a_restricted_viewer_sees_but_does_not_get(logged: Logged) -> None:
    registry = Api().create_registry("window", "restricted")
    logged().link("wandb-registry-window/Zoo")
    registry.add_members("boss", role="admin").update_member(getpass.getuser(), "restricted_viewer")
    link = Api().artifact("wandb-registry-window/Zoo")
    assert link.get_entry("file1.txt").size == 5
    for denied in (link.download, lambda: link.files()[0], link.file, link.checkout):
        with pytest.raises(CommError, match="may not download from"):
            denied()
    with regcli.init() as run, pytest.raises(CommError, match="may not use"):
        run.use_artifact("wandb-registry-window/Zoo")


# Queries


@pytest.fixture
def shelf(logged: Logged) -> Api:
    """Two registries with collections `zoo` (v0, v1) and `trees` (v0)."""
    api = Api()
    api.create_registry("first-models", "organization", description="one")
    api.create_registry("second-models", "organization")
    for number in range(2):
        artifact = logged(files={"a": "x" * (number + 1)}, metadata={"acc": 0.5 + number / 4, "deep": {"k": "v"}})
        artifact.tags = ["even"] if number == 0 else ["odd", "good"]
        artifact.save()
        artifact.link("wandb-registry-first-models/zoo", aliases=[f"a{number}"])
        if number == 0:
            artifact.link("wandb-registry-second-models/trees")
    trees = api.artifact("second-models/trees").collection
    trees.tags = ["green"]
    trees.save()
    return api


def names(results: Any) -> list[str]:
    return [result.name for result in results]


def refs(results: Any) -> list[str]:
    return [f"{result.project.removeprefix('wandb-registry-')}/{result.name}" for result in results]


def test_registries_by_filter_and_order(shelf: Api) -> None:
    assert names(shelf.registries()) == ["dataset", "first-models", "model", "second-models"]
    assert names(shelf.registries(filter={"name": {"$regex": "models$"}})) == ["first-models", "second-models"]
    assert names(shelf.registries(filter={"name": "wandb-registry-model"})) == ["model"]
    assert names(shelf.registries(filter={"description": "one"})) == ["first-models"]
    assert names(shelf.registries(order="-name"))[0] == "second-models"
    assert names(shelf.registries(filter={"created_at": {"$gte": "2020-01-01"}}, order="created_at"))[-1] == "second-models"
    assert names(shelf.registries(filter={"created_at": {"$lt": "2020-01-01 00:00:00"}})) == []


def test_collections_of_registries(shelf: Api) -> None:
    found = shelf.registries().collections()
    assert refs(found) == ["first-models/zoo", "second-models/trees"]
    assert isinstance(found[0], ArtifactCollection)
    assert names(shelf.registries().collections(filter={"tag": "green"})) == ["trees"]
    assert names(shelf.registries().collections(order="-name")) == ["zoo", "trees"]
    assert names(shelf.registry("second-models").collections()) == ["trees"]
    assert names(shelf.registries(filter={"name": {"$regex": "first"}}).collections(filter={"name": "trees"})) == []


def test_versions_of_registries(shelf: Api) -> None:
    assert refs(shelf.registries().versions()) == ["first-models/zoo:v1", "first-models/zoo:v0", "second-models/trees:v0"]
    either = {"$or": [{"tag": "good"}, {"alias": "a0"}]}
    assert refs(shelf.registries(filter={"name": {"$regex": "model"}}).versions(filter=either)) == [
        "first-models/zoo:v1",
        "first-models/zoo:v0",
    ]
    assert refs(shelf.registry("first-models").versions(filter={"metadata.acc": {"$gt": 0.6}})) == ["first-models/zoo:v1"]
    assert refs(shelf.registries().collections(filter={"name": "trees"}).versions(filter={"alias": "latest"})) == [
        "second-models/trees:v0"
    ]
    assert refs(shelf.registries().versions(filter={"version": "v1"})) == ["first-models/zoo:v1"]
    assert refs(shelf.registries().versions(filter={"artifact_size": {"$lt": 2}}, order="-linked_at")) == [
        "second-models/trees:v0",
        "first-models/zoo:v0",
    ]


def test_queries_go_on_from_a_cursor(shelf: Api) -> None:
    registries = shelf.registries(per_page=2)
    assert registries[1].name == "first-models"
    assert names(shelf.registries(start=registries.cursor)) == ["model", "second-models"]
    collections = shelf.registries().collections(per_page=1)
    assert collections[0].name == "zoo"
    assert names(shelf.registries().collections(start=collections.cursor)) == ["trees"]
    versions = shelf.registries().versions(per_page=1)
    assert versions[0].name == "zoo:v1"
    assert refs(shelf.registries().versions(start=versions.cursor)) == ["first-models/zoo:v0", "second-models/trees:v0"]
    ordered = shelf.registries(order="name")
    assert len(ordered) == 4
    assert ordered.cursor is None
    with pytest.raises(ValueError, match="cannot be resumed"):
        shelf.registries(order="name", start=registries.cursor)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"nope": 1}, "unknown field 'nope'"),
        ({"$nope": 1}, "unknown operator '\\$nope'"),
        ({"name": {"$nope": 1}}, "unknown operator '\\$nope'"),
        ({"name": {"$regex": "("}}, "regular expression"),
        ({"tag": "a", "tags": "b"}, "Duplicate fields"),
        ({"tag": {"$in": "a"}}, "takes a list"),
        ({"$or": {}}, "takes a list"),
        ({"created_at": "yesterday"}, "is not a date"),
        ({"name.sub": 1}, "unknown field"),
        ("name", "must be a dictionary"),
    ],
    ids=str,
)
def test_filters_that_are_not_allowed(condition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Api().registries().collections(filter=condition)


def test_a_registry_is_typed_in_results(shelf: Api) -> None:
    assert isinstance(shelf.registries()[0], Registry)
    assert bool(shelf.registries(filter={"name": "nope"})) is False


def test_arguments_stand_where_the_original_has_them(logged: Callable[..., Artifact]) -> None:
    for name in ("b", "a"):
        logged(name)
        logged(name, {"x": "2"})
    logged("other", type="model")
    api = Api()
    assert [item.name for item in api.artifacts("dataset", "a", "+version_index", 1)] == ["a:v0", "a:v1"]
    assert [item.name for item in api.artifact_collections("default", "dataset", "-name", 1)] == ["b", "a"]
    kind = api.artifact_type("dataset")
    assert [item.name for item in kind.collections({"name": {"$ne": "a"}}, "-created_at")] == ["b"]
    pages = api.artifact_collection("dataset", "a").artifacts(1)
    assert next(pages).name == "a:v1"
    assert [item.name for item in api.artifact_collection("dataset", "a").artifacts(1, pages.cursor)] == ["a:v0"]
    for call in (
        lambda: api.artifact_collections("default", "dataset", "size"),
        lambda: kind.collections({"nope": 1}),
        lambda: api.registries(filter=["name"]),  # type: ignore[arg-type]
        lambda: api.registries(filter="name"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"cannot be ordered|unknown field|must be a dictionary"):
            call()


def test_a_collection_is_saved_together_or_not_at_all(logged: Callable[..., Artifact]) -> None:
    logged("one")
    logged("taken")
    collection = Api().artifact_collection("dataset", "one")
    before = collection._collection.snapshot.seq
    collection.name, collection.description, collection.tags = "two", "Text", ["b", "a"]
    collection.save()
    assert (collection.name, collection.description, collection.tags) == ("two", "Text", ["b", "a"])
    assert collection._collection.reread().snapshot.seq == before + 1
    collection.name, collection.tags = "taken", ["c"]
    with pytest.raises(ValueError, match="taken"):
        collection.save()
    collection = Api().artifact_collection("dataset", "two")
    collection.name = "three"
    collection.tags.append("no!")
    with pytest.raises(ValueError, match="invalid tag"):
        collection.save()
    collection.tags[:] = [f"t{number}" for number in range(21)]
    with pytest.raises(ValueError, match="at most 20"):
        collection.save()
    assert Api().artifact_collection("dataset", "two").tags == ["b", "a"]
