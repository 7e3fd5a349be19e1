"""A registry or collection whose whole directory is gone: what else in the root tells of it, and what tells of nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from regcli.store import backrefs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def grown(invoke: Invoke, work: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Two versions of `zoo`, which others link, use, were made from, and were renamed beside."""
    monkeypatch.setenv("REGCLI_AUTOMATIONS", "manual")

    def log(name: str, text: str, *arguments: str) -> None:
        (work / "f").write_text(text)
        invoke("log", "f", "-n", name, "-t", "model", *arguments).ok()

    invoke("registry", "create", "team").ok()
    for number in range(2):
        log("zoo", f"zoo {number}")
        invoke("link", f"zoo:v{number}", "team/Zoo").ok()
    invoke("link", "zoo:v0", "model/Zoo").ok()
    log("raw", "raw")
    log("used", "used")
    log("logged", "logged", "--run", "train")
    log("trained", "trained", "--input", "raw:v0")
    log("trained", "trained again", "--input", "zoo:v0")
    invoke("use", "used:v0", "--run", "train").ok()
    log("old", "old")
    invoke("collection", "edit", "old", "--rename", "new").ok()
    invoke("registry", "create", "before").ok()
    invoke("registry", "edit", "before", "--rename", "after").ok()
    return invoke


def found(invoke: Invoke) -> list[dict[str, Any]]:
    document: dict[str, Any] = invoke("verify", "--json").json
    assert {problem["kind"] for problem in document["problems"]} <= {"history"}
    problems: list[dict[str, Any]] = document["problems"]
    return problems


LOCAL = "projects/local/default/collections"
LOST = [
    # (directory, the log that is missing, name, who tells)
    (f"{LOCAL}/zoo", "log", "collection 'local/default/zoo'", "has links to it"),
    (f"{LOCAL}/raw", "log", "collection 'local/default/raw'", "trained:v0 was made from it"),
    (f"{LOCAL}/used", "log", "collection 'local/default/used'", "runs/train used a version of it"),
    (f"{LOCAL}/logged", "log", "collection 'local/default/logged'", "runs/train logged a version of it"),
    (f"{LOCAL}/trained", "log", "collection 'local/default/trained'", "a marker (input) in backrefs/ tells of v1"),
    (f"{LOCAL}/old", "log", "collection 'local/default/old'", "new gives its name to it"),
    (f"{LOCAL}/new", "log", "collection 'local/default/new'", "old was renamed to it"),
    ("registries/team/collections/zoo", "log", "collection 'team/zoo'", "a marker (link) in backrefs/ tells of v1"),
    ("registries/team", "settings", "registry 'team' is gone, with 'team/zoo'", "a marker (link) in backrefs/ tells of v"),
    ("registries/before", "settings", "registry 'before'", "registries/after gives its name to it"),
    ("registries/after", "settings", "registry 'after'", "registries/before was renamed to it"),
]


@pytest.mark.parametrize(("place", "log", "name", "witness"), LOST, ids=[row[0] for row in LOST])
def test_verify_names_what_vanished_with_its_directory(
    grown: Invoke, root: Path, place: str, log: str, name: str, witness: str
) -> None:
    assert found(grown) == []
    shutil.rmtree(root / "cache", ignore_errors=True)
    shutil.move(root / place, root.parent / "elsewhere")
    (problem,) = found(grown)
    assert problem["path"] == f"{root}/{place}/{log}"
    assert name in problem["message"]
    assert witness in problem["message"]
    # Emptied is as gone as taken away.
    (root / place / log).mkdir(parents=True)
    (problem,) = found(grown)
    assert name in problem["message"]


def test_the_catalog_and_deliveries_remember_what_nothing_points_to(grown: Invoke, root: Path, work: Path) -> None:
    (work / "f").write_text("alone")
    grown("log", "f", "-n", "alone", "-t", "model").ok()
    grown("search", "alone").ok()
    grown("automation", "add", "tell", "--on", "version-created", "--webhook", "http://127.0.0.1:9/").ok()
    grown("log", "f", "-n", "told", "-t", "model").ok()
    grown("automation", "rm", "tell").ok()
    grown("automation", "deliver", "--now").ok()
    assert found(grown) == []
    shutil.rmtree(root / LOCAL / "alone")
    (problem,) = found(grown)
    assert "collection 'local/default/alone' is gone, but cache/ tells of its commit 1" in problem["message"]
    shutil.rmtree(root / "cache")
    # Without the catalog there is nothing that knew of it, as FORMAT.md says.
    assert found(grown) == []
    shutil.rmtree(root / LOCAL / "told")
    (problem,) = found(grown)
    assert "collection 'local/default/told' is gone, but outbox/done/ tells" in problem["message"]


def test_what_was_deleted_or_renamed_is_not_called_lost(grown: Invoke, root: Path) -> None:
    grown("search", "o").ok()
    grown("collection", "rm", "team/Zoo", "-y").ok()
    grown("registry", "rm", "team", "-y").ok()
    grown("collection", "rm", "zoo", "-y", "--force", "--delete-aliases").ok()
    grown("collection", "edit", "new", "--rename", "NEW").ok()
    grown("collection", "edit", "NEW", "--rename", "old").ok()
    grown("gc", "--grace", "0").ok()
    assert found(grown) == []


def test_a_marker_whose_commit_never_came_is_no_proof(grown: Invoke, root: Path) -> None:
    record = grown("show", "zoo:v0", "--json").ok().json
    backrefs.add_backref(str(root), record["id"], backrefs.LINK, "registries/dataset/collections/never", 0)
    backrefs.add_backref(str(root), record["id"], backrefs.INPUT, f"{LOCAL}/never", 0)
    backrefs.add_backref(str(root), record["id"], backrefs.LINK, "../../etc/collections/x", 3)
    assert found(grown) == []


def test_a_link_in_the_place_of_the_catalog_is_one_problem_among_others(grown: Invoke, root: Path) -> None:
    shutil.rmtree(root / "cache", ignore_errors=True)
    (root / "cache").mkdir()
    (root / "cache" / "catalog").symlink_to("/etc")
    shutil.rmtree(root / LOCAL / "raw")
    problems = grown("verify", "--json").json["problems"]
    assert sorted(problem["kind"] for problem in problems) == ["history", "index"]


def test_a_bundle_speaks_of_places_of_another_root(grown: Invoke, root: Path, work: Path, monkeypatch: Any) -> None:
    grown("export", "trained", "-o", "b.tar").ok()
    monkeypatch.setenv("REGCLI_ROOT", str(work / "other"))
    grown("import", "b.tar").ok()
    assert found(grown) == []
