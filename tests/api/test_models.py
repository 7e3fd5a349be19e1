"""The older calls for models, and the settings that scripts for the original hand over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Api, Artifact, CommError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_model_is_logged_linked_and_used(work: Path) -> None:
    (work / "weights").mkdir()
    (work / "weights" / "a.bin").write_text("1")
    with regcli.init(project="zoo", name="train") as run:
        run.log_model("weights", "net", ["first"])
        link = run.link_model("weights", "My Net", "net", ["staging"])
        assert (link.qualified_name, link.source_name) == ("local/wandb-registry-model/My Net:v0", "net:v0")
        assert link.aliases == ["latest", "staging"]
        other = run.link_model(str(work / "weights" / "a.bin"), "My Net")
        assert (other.version, other.source_name, other.type) == ("v1", "run-train-a.bin:v0", "model")
    assert Api().artifact("zoo/net:first").type == "model"
    with regcli.init(project="zoo", name="use") as run:
        where = run.use_model("net:first")
        assert (os.path.basename(where), Path(where).read_text()) == ("a.bin", "1")
        (work / "weights" / "b.bin").write_text("2")
        run.log_model("weights", "net")
        assert sorted(os.listdir(run.use_model("net:latest"))) == ["a.bin", "b.bin"]
        assert [used.name for used in run.used_artifacts()] == ["net:v0", "net:v1"]


def test_what_is_no_model_is_refused_before_anything_is_recorded(
    logged: Callable[..., Artifact], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGCLI_PROJECT", "zoo")
    logged("data")
    (work / "file").write_text("x")
    with regcli.init(name="r") as run:
        for call in (
            lambda: run.use_model("data:v0"),
            lambda: run.link_model("file", "Net", "data"),
            lambda: run.link_model("file", "model/Net", "net"),
        ):
            with pytest.raises(AssertionError):
                call()
        with pytest.raises(CommError):
            run.use_model("nothing:v0")
        assert (list(run.used_artifacts()), list(run.logged_artifacts())) == ([], [])
    assert not Api().artifact_collection_exists("zoo/net")


@pytest.mark.parametrize("form", [regcli.Settings, dict])
def test_settings_are_defaults_of_the_arguments(form: Callable[..., Any], draft: Callable[..., Artifact]) -> None:
    settings = form(project="zoo", run_id="one", run_name="One", run_tags=("a",), run_job_type="train", silent=True)
    with regcli.init(settings=settings, job_type="eval") as run:
        assert (run.path, run.name, run.tags, run.job_type) == ("local/zoo/one", "One", ("a",), "eval")
    artifact = draft()
    artifact.save(settings=form(project="zoo", silent=True))
    assert artifact.qualified_name == "local/zoo/data:v0"
    with pytest.raises(TypeError, match="settings must be"):
        regcli.init(settings=5)  # type: ignore[arg-type]


def test_settings_are_attributes() -> None:
    settings = regcli.Settings(silent=True)
    settings.console = "off"
    assert (settings.silent, repr(settings)) == (True, "Settings(silent=True, console='off')")
    assert not hasattr(settings, "nothing")


def test_arguments_of_the_original_do_not_break_a_script(caplog: pytest.LogCaptureFixture) -> None:
    with regcli.init(name="r", force=True, anonymous="allow", monitor_gym=True, sync_tensorboard=True, mode="offline"):
        assert "TensorBoard" in caplog.text
    for further in ({"fork_from": "r?_step=1"}, {"resume_from": "r?_step=1"}):
        with pytest.raises(ValueError, match="cannot be forked"):
            regcli.init(**further)  # type: ignore[arg-type]


def test_name_notes_and_tags_of_a_run_are_stored_when_they_are_assigned() -> None:
    with regcli.init(name="r", tags=["a"]) as run:
        run.name = "Long name"
        run.notes = "tried again"
        run.tags += ("b",)
        stored = Api().run("r")
        assert (stored.name, stored.notes, stored.tags) == ("Long name", "tried again", ["a", "b"])
        with pytest.raises(TypeError):
            run.name = 5  # type: ignore[assignment]
    assert (Api().run("r").name, Api().run("r").state) == ("Long name", "finished")
