"""Each defence taken away once: the test that watches over it must fail, or it proves nothing.

The broken variants of the store itself are in `tests/reliability/broken`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest

from tests import test_formats
from tests.domain import test_sharing
from tests.domain.world import is_root, preload
from tests.security import test_hostile_bundles as bundles
from tests.security import test_hostile_manifests as manifests
from tests.security import test_hostile_names as names
from tests.security import test_races as races
from tests.security import test_signed_aliases as signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result
    from tests.security.bundles import Bundle
    from tests.security.conftest import Place
    from tests.security.hostile import Planted

    Run = Callable[..., Result]

# Fixtures of those modules, under the names by which pytest finds them here.
bundle, empty, packed = bundles.bundle, bundles.empty, bundles.packed
planted, prepared = manifests.planted, manifests.prepared
poisoned, zoo_root = names.poisoned, names.zoo_root
sample, shared = test_formats.sample, test_sharing.shared


@pytest.fixture(autouse=True)
def everything_is_imported() -> None:
    """A module that is first imported while a defence is away would keep what it found for the tests that follow."""
    import regcli.cli

    preload()
    for module in pkgutil.walk_packages(regcli.cli.__path__, "regcli.cli."):
        if not module.name.endswith(".generate"):
            importlib.import_module(module.name)


def test_manifests_whose_paths_are_believed(
    planted: Planted, invoke: Run, work: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They are checked when a manifest is read, and again when its files are written.
    for module in ("manifest", "materialize"):
        monkeypatch.setattr(f"regcli.store.{module}.problem_in_paths", lambda _: None)
    with pytest.raises(AssertionError):
        manifests.test_a_path_that_leaves_the_target_is_refused(planted, invoke, work, home, "../x")


@pytest.mark.parametrize("name", ["a negative size", "a digest in capitals"])
def test_entries_that_are_believed(
    planted: Planted, invoke: Run, work: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("regcli.store.manifest._problem_in_entries", lambda *_: None)
    with pytest.raises(AssertionError):
        manifests.test_a_malformed_manifest_is_refused(planted, invoke, work, name)


def test_links_in_a_target_that_are_followed(invoke: Run, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regcli.store import beneath, files

    monkeypatch.setattr(beneath, "_OPEN", beneath._OPEN & ~files.NOFOLLOW)
    with pytest.raises(AssertionError):
        races.test_a_link_in_the_target_is_not_followed(invoke, work, tmp_path, "download")


def test_names_that_are_printed_as_they_are(poisoned: Path, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regcli.cli.output.is_unprintable", lambda _: False)
    with pytest.raises(AssertionError):
        names.test_names_that_an_attacker_stored_steer_nothing(poisoned, invoke, ("ls", "model/zoo"))


def test_names_that_are_taken_as_they_are(zoo_root: Path, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("alias", "add", "--", "model/zoo:v0", "NAME")
    assert names.accepted(invoke, *command, names=["a\x1bb", "fine"]) == ["fine"]
    monkeypatch.setattr("regcli.model.is_unprintable", lambda _: False)
    with pytest.raises(AssertionError):
        assert names.accepted(invoke, *command, names=["a\x1bb", "fine"]) == ["fine"]


@pytest.mark.parametrize("name", ["a key of the index twice", "a key of a record twice"])
def test_json_that_is_read_as_it_comes(
    invoke: Run, empty: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from regcli.store import jsontext

    monkeypatch.setattr(jsontext, "_strict", jsontext._fast)
    with pytest.raises(AssertionError):
        bundles.test_a_document_that_is_right_but_for_one_thing(invoke, empty, bundle, tmp_path, name)


def test_a_signature_that_may_go_back(place: Place, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regcli.domain.sealing._check_counter", lambda *_: None)
    with pytest.raises(AssertionError):
        signed.test_yesterdays_copy_of_the_root_is_refused(place, invoke)


@pytest.mark.skipif(not is_root(), reason="NOT TESTED: shared roots with several user ids, which takes root")
def test_commits_that_count_whoever_made_them(shared: test_sharing.Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regcli.domain.sharing.collection_judge", lambda *_: lambda *_: None)
    with pytest.raises(AssertionError):
        test_sharing.test_a_commit_that_its_maker_had_no_right_to_is_void_and_reported(shared)


def test_a_program_that_is_older_than_the_format(
    sample: Path, invoke: Run, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regcli.store.chain.FORMAT", 0)
    with pytest.raises(AssertionError):
        test_formats.test_everything_in_a_sample_is_read(sample, invoke, work)
