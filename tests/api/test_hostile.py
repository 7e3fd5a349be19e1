"""Values that nobody should give, given everywhere: each is refused, and what is stored can still be read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Api, Artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Logged = Callable[..., Artifact]

LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP
BAD_TEXT = [5, b"bytes", "\ud800", ["list"], "x" * 2_000_000]
BAD_VALUES = [{"a": 10**50}, {"a": "\ud800"}, {"\ud800": 1}, LOOP, {"a": object()}, {"a": {1, 2, "\ud800"}}]


def ids(value: object) -> str:
    return repr(value)[:30]


@pytest.mark.parametrize("text", BAD_TEXT, ids=ids)
def test_text_that_is_none(text: Any, logged: Logged, invoke: Callable[..., Any]) -> None:
    artifact = logged()
    collection = artifact.collection
    registry = Api().create_registry("one", "organization")
    calls: list[Callable[[], object]] = [
        lambda: Artifact("x", "y", description=text),
        lambda: Artifact(text, "y"),
        lambda: Artifact("x", text),
        lambda: setattr(artifact, "description", text),
        lambda: setattr(artifact, "tags", [text]),
        lambda: setattr(collection, "description", text),
        lambda: setattr(collection, "name", text),
        lambda: setattr(registry, "description", text),
        lambda: setattr(registry, "name", text),
        lambda: Api().create_registry(text, "organization"),
        lambda: Api().create_registry("two", "organization", description=text),
        lambda: Api().artifact(text),
        lambda: Api().registry(text),
        lambda: Api().run(text),
        lambda: artifact.link(text),
        lambda: artifact.link("wandb-registry-model/Zoo", aliases=[text]),
        lambda: artifact.new_draft().add_reference(text),
        lambda: regcli.init(project=text),
        lambda: regcli.init(entity=text),
        lambda: regcli.init(id=text),
        lambda: regcli.init(notes=text),
        lambda: regcli.init(group=text),
        lambda: regcli.init(job_type=text),
        lambda: regcli.init(tags=[text]),
    ]
    for number, call in enumerate(calls):
        with pytest.raises((TypeError, ValueError, regcli.CommError)):
            call()
        assert regcli.run is None, number
    artifact.aliases.append(text)
    with pytest.raises((TypeError, ValueError)):
        artifact.save()
    assert invoke("verify").code == 0
    assert Api().artifact("data").linked_artifacts == []


@pytest.mark.parametrize("values", BAD_VALUES)
def test_values_that_are_no_json(values: Any, logged: Logged, invoke: Callable[..., Any]) -> None:
    artifact = logged()
    with pytest.raises((TypeError, ValueError)):
        Artifact("x", "y", metadata=values)
    with pytest.raises((TypeError, ValueError)):
        artifact.metadata = values
    artifact.metadata.update(values)
    with pytest.raises((TypeError, ValueError)):
        artifact.save()
    with pytest.raises((TypeError, ValueError)):
        regcli.init(config=values)
    with regcli.init() as run:
        changes: list[Callable[[], object]] = [
            lambda: run.log(values), lambda: run.config.update(values), lambda: run.summary.update(values),
        ]  # fmt: skip
        for change in changes:
            with pytest.raises((TypeError, ValueError)):
                change()
        run.log({"fine": 1})
    assert Api().run(run.path).summary == {"fine": 1}
    assert Api().artifact("data").metadata == {}
    assert invoke("verify").code == 0


def test_a_number_that_is_too_long_on_the_command_line(work: Path, invoke: Callable[..., Any]) -> None:
    (work / "a").write_text("a")
    assert invoke("log", "a", "-n", "data", "-t", "dataset", "--meta", f"n={10**60}").code == 2
    invoke("log", "a", "-n", "data", "-t", "dataset", "--metric", f"n={10**60}").ok()
    assert Api().artifact("data").metrics == {"n": 1e60}


def test_metrics_that_are_too_large_do_not_stop_the_run() -> None:
    with regcli.init() as run:
        with pytest.raises(ValueError, match="bytes"):
            run.log({"text": "x" * 2_000_000})
        run.log({"a": 1})
        with pytest.raises(ValueError, match="bytes"):
            run.log({"text": "x" * 2_000_000}, step=7)
        for step in ("x", -1, None.__class__, 2**60):
            with pytest.raises(ValueError, match="whole number"):
                run.log({"a": 2}, step=step)  # type: ignore[arg-type]
    assert [row["a"] for row in Api().run(run.path).scan_history()] == [1]


def test_files_that_are_none(work: Path) -> None:
    os.mkfifo(work / "fifo")
    (work / "dir").mkdir()
    os.mkfifo(work / "dir" / "fifo")
    (work / "broken").mkdir()
    (work / "broken" / "link").symlink_to("nowhere")
    artifact = Artifact("data", "dataset")
    for path in ("fifo", "/dev/zero", "dir", "x" * 5000):
        with pytest.raises((ValueError, regcli.CommError)):
            artifact.add_file(path, name="x")
    for path in ("dir", "broken"):
        with pytest.raises(ValueError, match=r"FIFO|leads nowhere"):
            artifact.add_dir(path)
    with pytest.raises(FileNotFoundError, match="leads nowhere"):
        artifact.add_dir("broken")
    assert not artifact.manifest.entries


def test_a_download_to_what_is_no_directory(logged: Logged, work: Path) -> None:
    (work / "file").write_text("mine")
    artifact = logged()
    for method in (artifact.download, artifact.checkout):
        with pytest.raises(regcli.CommError, match="file"):
            method("file")
    assert (work / "file").read_text() == "mine"
