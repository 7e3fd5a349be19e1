"""`regcli compare` and `ls --metric`: values, changes, the best, trends and the forms they are printed in."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain.comparing import compare, lower_is_better, numbers, sparkline
from regcli.domain.context import Context
from regcli.domain.editing import edit
from regcli.domain.linking import link_version
from regcli.domain.registries import create_registry
from regcli.domain.runs import ensure_run, update_run
from regcli.errors import NotFoundError, RoleError, UsageError
from regcli.model import RegistryName

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]

VALUES = [(0.5, 1.0), (0.9, 0.4), (0.7, 0.6), (0.9, 0.2)]


@pytest.fixture
def zoo(invoke: Invoke, work: Path) -> str:
    for accuracy, loss in VALUES:
        (work / "f").write_text(f"{accuracy} {loss}")
        metrics = ["--metric", f"accuracy={accuracy}", "--metric", f"val_loss={loss}"]
        invoke("log", "f", "-n", "zoo", "-t", "model", *metrics, "--meta", "epoch=3").ok()
    invoke("alias", "add", "zoo:v1", "prod|uction").ok()
    return "zoo"


@pytest.fixture
def context(root: Path, zoo: str) -> Context:
    return Context(root_path=str(root), user="root" if os.getuid() == 0 else "ada", uid=os.getuid(), host="h")


def test_values_changes_and_the_best(invoke: Invoke, zoo: str) -> None:
    document = invoke("compare", zoo, "--json").ok().json
    assert document["metrics"] == ["accuracy", "val_loss", "epoch"]
    assert [row["version"] for row in document["versions"]] == ["v3", "v2", "v1", "v0"]
    assert document["versions"][1]["metrics"] == {"accuracy": 0.7, "val_loss": 0.6, "epoch": 3}
    assert document["versions"][1]["deltas"]["accuracy"] == pytest.approx(-0.2)
    assert document["versions"][3]["deltas"] == {}
    # The first of equals is the best: nothing has beaten it since.
    # A number in metadata is a setting.
    assert document["best"] == {"accuracy": "v1", "val_loss": "v3"}
    assert document["lower_is_better"] == ["val_loss"]
    assert document["trends"]["accuracy"] == "▁█▅█"


def test_the_table(invoke: Invoke, zoo: str) -> None:
    lines = invoke("compare", zoo, "-m", "accuracy").ok().lines
    assert lines == [
        "v3\tlatest\t0.9 (+0.2)",
        "v2\t\t0.7 (-0.2)",
        "v1\tprod|uction\t0.9 (+0.4) *",
        "v0\t\t0.5",
        "trend\t\t▁█▅█",
    ]


def test_markdown_and_csv(invoke: Invoke, zoo: str) -> None:
    lines = invoke("compare", zoo, "-m", "val_loss", "--md").ok().lines
    assert lines[:2] == ["| Version | Aliases | val\\_loss |", "| --- | --- | ---: |"]
    assert lines[2] == "| v3 | latest | **0.2 (-0.4)** |"
    assert lines[4] == "| v1 | prod\\|uction | 0.4 (-0.6) |"
    rows = list(csv.DictReader(invoke("compare", zoo, "--csv").ok().lines))
    assert (rows[0]["version"], rows[0]["accuracy"], rows[0]["val_loss"]) == ("v3", "0.9", "0.2")
    assert rows[2]["aliases"] == "prod|uction"
    assert invoke("compare", zoo, "--csv", "--md").code == 2


def test_markdown_says_what_a_name_says(invoke: Invoke, work: Path) -> None:
    (work / "f").write_text("f")
    invoke("log", "f", "-n", "a", "-t", "model", "--metric", "<b>_f1_`*|=1").ok()
    invoke("alias", "add", "a:v0", "[x](httpevil)").ok()
    lines = invoke("compare", "a", "--md").ok().lines
    assert lines[0] == "| Version | Aliases | \\<b\\>\\_f1\\_\\`\\*\\| |"
    assert lines[2] == "| v0 | latest, \\[x\\](httpevil) | **1** |"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("accuracy", [3, 1, 2, 0]),
        ("-accuracy", [0, 2, 3, 1]),
        ("val_loss", [3, 1, 2, 0]),
        ("version", [3, 2, 1, 0]),
        ("-created", [0, 1, 2, 3]),
        (None, [3, 2, 1, 0]),
    ],
)
def test_order(context: Context, sort: str | None, order: list[int]) -> None:
    assert [row.index for row in compare(context, "zoo", sort=sort).rows] == order


def test_only_metrics_have_a_best_unless_a_direction_is_said(invoke: Invoke, context: Context) -> None:
    for number, rate in enumerate((0.1, 0.3, 0.2)):
        edit(context, f"zoo:v{number}", metadata={"lr": rate, "epoch": 3})
    assert "*" not in invoke("compare", "zoo", "-m", "lr").ok().stdout
    assert "**" not in invoke("compare", "zoo", "-m", "metadata.lr", "--md").ok().stdout
    assert compare(context, "zoo", metrics=["lr"]).trends["lr"] == "▁█▅"
    assert compare(context, "zoo", metrics=["lr"], higher=["lr"]).best == {"lr": 1}
    assert compare(context, "zoo", lower=["metadata.lr"]).best == {"accuracy": 1, "val_loss": 3, "lr": 0}


def test_direction_can_be_said(context: Context) -> None:
    found = compare(context, "zoo", lower=["accuracy"], higher=["val_loss"])
    assert (found.best["accuracy"], found.best["val_loss"]) == (0, 0)


def test_limit_keeps_the_best_and_the_trend_of_all(context: Context) -> None:
    found = compare(context, "zoo", limit=1)
    assert (len(found.rows), found.total, found.best["accuracy"], len(found.trends["accuracy"])) == (1, 4, 1, 4)


def test_metrics_of_runs_and_numbers_in_metadata_count_too(invoke: Invoke, work: Path, context: Context) -> None:
    (work / "f").write_text("run")
    invoke("log", "f", "-n", "zoo", "--run", "fit", "--metric", "accuracy=0.95").ok()
    chain, _ = ensure_run(context, "fit")
    summary = {"accuracy": 0.1, "f1": 0.8, "nested": {"auc": 0.7}, "_step": 9, "note": "text", "flag": True}
    update_run(context, chain, {"summary": summary})
    edit(context, "zoo:v4", metadata={"epoch": 5, "lr": {"peak": 0.01}, "name": "x"})
    found = compare(context, "zoo")
    assert found.rows[0].values == {"accuracy": 0.95, "f1": 0.8, "nested.auc": 0.7, "epoch": 5, "lr.peak": 0.01}
    assert set(found.names) == {"accuracy", "val_loss", "epoch", "f1", "nested.auc", "lr.peak"}
    assert compare(context, "zoo", metrics=["metadata.lr.peak", "metrics.accuracy"]).names == ["lr.peak", "accuracy"]
    rows = invoke("ls", "zoo", "--metric", "accuracy", "--metric", "f1", "--json").ok().json["versions"]
    assert [row["columns"] for row in rows][:2] == [{"accuracy": 0.95, "f1": 0.8}, {"accuracy": 0.9, "f1": None}]
    assert invoke("ls", "zoo", "--metric", "val_loss").ok().lines[1].split("\t")[-1] == "0.2"
    assert invoke("ls", "--metric", "val_loss").code == 2


def test_links_show_the_metrics_of_their_sources(context: Context) -> None:
    link_version(context, "zoo:v1", "model/Zoo")
    edit(context, "zoo:v1", metadata={"late": 7})
    found = compare(context, "model/Zoo")
    assert found.rows[0].values == {"accuracy": 0.9, "val_loss": 0.4, "epoch": 3, "late": 7}


def test_refusals(invoke: Invoke, context: Context, root: Path) -> None:
    with pytest.raises(NotFoundError, match="no collection"):
        compare(context, "nothing")
    with pytest.raises(NotFoundError) as caught:
        compare(context, "zoo", metrics=["acuracy"])
    assert caught.value.hint == "did you mean 'accuracy'?"
    with pytest.raises(UsageError):
        compare(context, "zoo", sort="colour")
    create_registry(context, RegistryName.parse("secret"), visibility="restricted")
    link_version(context, "zoo", "secret/zoo")
    with pytest.raises(RoleError):
        compare(Context(root_path=str(root), user="eve", uid=1, host="h"), "secret/zoo")
    assert invoke("compare", "zoo", "-m", "x").code == 3


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("loss", True),
        ("val_loss", True),
        ("val/Loss", True),
        ("valLoss", True),
        ("RMSE", True),
        ("train.time", True),
        ("latency_ms", True),
        ("accuracy", False),
        ("glossary", False),
        ("timestamp", False),
        ("f1", False),
    ],
)
def test_direction_by_name(name: str, lower: bool) -> None:
    assert lower_is_better(name) is lower


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([1], "▄"), ([2, 2], "▄▄"), ([0, 1], "▁█"), ([-1e308, 1e308, 0], "▁█▅"), (list(range(60)), None)],
)
def test_sparklines(values: list[Any], line: str | None) -> None:
    if line is None:
        assert (len(sparkline(values)), sparkline(values)[-1]) == (40, "█")
    else:
        assert sparkline(values) == line


def test_numbers_in_objects_of_any_depth() -> None:
    """A parser may bear deeper nesting than the interpreter's stack."""
    document: dict[str, Any] = {"x": 1}
    for _ in range(5000):
        document = {"a": document, "n": 2}
    found = dict(numbers(document))
    assert found["n"] == 2
    assert len(found) < 100
