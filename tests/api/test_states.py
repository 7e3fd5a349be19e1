"""Every property and method of `Artifact` in every state: draft, logged, link, deleted."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from regcli import Api, Artifact, ArtifactFinalizedError, ArtifactNotLoggedError, CommError

if TYPE_CHECKING:
    from collections.abc import Callable

    Logged = Callable[..., Artifact]

PROPERTIES = sorted(name for name, value in inspect.getmembers(Artifact) if isinstance(value, property))
# What a draft knows of itself.
OF_DRAFTS = {
    "id", "name", "source_name", "is_link", "type", "description", "metadata", "use_as", "state", "incremental",
    "distributed_id", "storage_region", "digest", "digest_algorithm", "size", "manifest",
}  # fmt: skip
# Methods that change contents, and those that a draft may be asked.
CONTENTS: dict[str, tuple[Any, ...]] = {
    "add_file": ("file",), "add_dir": (".",), "add_reference": ("ref://x/y", "y"), "add": ([1], "x"), "new_file": ("x",),
    "remove": ("file1.txt",), "__setitem__": ("x", [1]),
}  # fmt: skip
READING: dict[str, tuple[Any, ...]] = {
    "get_entry": ("file1.txt",), "get_path": ("file1.txt",), "get": ("nope",), "__getitem__": ("nope",), "files": (),
    "file": (), "download": (), "checkout": (), "json_encode": (), "default_directory": (), "logged_by": (), "used_by": (),
    "new_draft": (), "wait": (),
}  # fmt: skip
ANYWHERE = {"is_draft", "finalize", "get_added_local_path_name", "save"}
OTHER = {"verify", "link", "unlink", "delete", "download_entries"}
METHODS = {
    name
    for name, value in inspect.getmembers(Artifact, inspect.isfunction)
    if not name.startswith("_") or name in ("__getitem__", "__setitem__")
}


def test_every_method_is_asked_here() -> None:
    assert (set(CONTENTS) | set(READING) | ANYWHERE | OTHER) == METHODS
    assert set(PROPERTIES) >= OF_DRAFTS


@pytest.fixture
def states(logged: Logged, draft: Callable[..., Artifact]) -> dict[str, Artifact]:
    source = logged("source")
    gone = logged("gone")
    gone.delete()
    return {"draft": draft(), "logged": source, "link": source.link("wandb-registry-model/Zoo"), "deleted": gone}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_in_every_state(name: str, states: dict[str, Artifact]) -> None:
    for state, artifact in states.items():
        if state == "draft" and name not in OF_DRAFTS:
            with pytest.raises(ArtifactNotLoggedError):
                getattr(artifact, name)
        else:
            getattr(artifact, name)


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_contents_change_only_in_a_draft(name: str, states: dict[str, Artifact], work: Any) -> None:
    (work / "file").write_text("x")
    for state, artifact in states.items():
        if state == "draft":
            getattr(artifact, name)(*CONTENTS[name])
        else:
            with pytest.raises(ArtifactFinalizedError):
                getattr(artifact, name)(*CONTENTS[name])


@pytest.mark.parametrize("name", sorted(READING))
def test_reading_takes_a_logged_artifact(name: str, states: dict[str, Artifact]) -> None:
    for state, artifact in states.items():
        if state == "draft":
            with pytest.raises(ArtifactNotLoggedError):
                getattr(artifact, name)(*READING[name])
        elif state == "deleted" and name == "checkout":
            with pytest.raises(CommError, match="was deleted"):
                artifact.checkout()
        else:
            getattr(artifact, name)(*READING[name])


def test_what_a_deleted_artifact_refuses(states: dict[str, Artifact]) -> None:
    gone = states["deleted"]
    gone.description = "new"
    calls: list[Callable[[], object]] = [gone.save, gone.delete, lambda: gone.link("wandb-registry-model/Zoo")]
    for call in calls:
        with pytest.raises(CommError, match="was deleted"):
            call()
    with pytest.raises(ValueError, match="was deleted"):
        gone.verify(".")
    link = states["link"]
    link.unlink()
    for call in (link.unlink, link.save, link.delete):
        with pytest.raises(CommError, match="was unlinked"):
            call()
    assert Api().artifact("source").linked_artifacts == []
