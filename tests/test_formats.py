"""Roots written by every released format are read by this program, and what it writes into them is whole."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result

    Invoke = Callable[..., Result]

SAMPLES = sorted((Path(__file__).parent / "data").glob("format-*.tar.xz"))


@pytest.fixture(params=SAMPLES, ids=lambda path: path.name.partition(".")[0])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A root as `make_format_sample.sh` made it with the program of that format."""
    with tarfile.open(request.param) as tar:
        tar.extractall(tmp_path / "sample", filter="data")
    return tmp_path / "sample" / "root"


def test_there_is_a_sample_of_the_format_of_today() -> None:
    from regcli.store.chain import FORMAT

    assert f"format-{FORMAT}.tar.xz" in {path.name for path in SAMPLES}


def test_everything_in_a_sample_is_read(sample: Path, invoke: Invoke, work: Path) -> None:
    at = ("--root", str(sample))
    assert invoke("verify", "--json", *at).ok().json["problems"] == []
    shown = invoke("show", "Golden Datasets/animals:production", "--json", *at).ok().json
    assert (shown["ref"], shown["source"]) == ("Golden Datasets/animals:v0", "local/default/zoo:v0")
    assert shown["aliases"] == ["production", "production-us"]
    assert shown["protected_aliases"] == ["production"]
    assert (shown["tags"], shown["metadata"], shown["metrics"]) == (["small"], {"rows": 101}, {"accuracy": 0.5})
    assert shown["digest"] == invoke("resolve", "zoo:first", "--digest", *at).ok().stdout.strip()
    assert (shown["logged_by"], shown["file_count"]) == ("local/default/prepare", 5)
    assert "local/default/evaluate" in shown["used_by"]
    assert invoke("resolve", "plenty:n7", *at).ok().stdout == "local/default/plenty:v6\n"
    assert "plenty" in invoke("resolve", "many", *at).stderr
    assert invoke("ls", "plenty", "--json", *at).ok().json["total"] == 80
    assert invoke("show", "gone:v0", *at).code == 3
    assert invoke("tag", "ls", "Golden Datasets/animals", *at).ok().lines == ["a collection tag"]
    assert {"user": "visitor", "role": "viewer"} in invoke("member", "ls", "model", "--json", *at).ok().json["members"]
    assert invoke("search", "--where", "metrics.accuracy > 0.7", "--json", *at).ok().json["results"] != []
    reasons = [event["reason"] for event in invoke("history", "Golden Datasets/animals", "--json", *at).ok().json["events"]]
    assert "passed the review" in reasons
    invoke("download", "Golden Datasets/animals:production", "-o", "out", *at).ok()
    assert (work / "out" / "a.txt").read_text() == "one\n"
    assert (work / "out" / "deep" / "ü 동물.txt").read_text() == "x"
    assert (work / "out" / "run.sh").stat().st_mode & 0o100
    assert (work / "out" / "large.bin").stat().st_size == 1_500_000


def test_a_sample_can_be_written_to(sample: Path, invoke: Invoke, work: Path) -> None:
    at = ("--root", str(sample), "--project", "new/place")
    (work / "f.txt").write_text("new")
    invoke("log", "f.txt", "-n", "fresh", "-t", "dataset", *at).ok()
    invoke("log", "f.txt", "-n", "local/default/plenty", *at).ok()
    assert invoke("resolve", "local/default/plenty", *at).ok().stdout == "local/default/plenty:v80\n"
    invoke("link", "fresh", "Golden Datasets/animals", *at).ok()
    invoke("undelete", "local/default/gone:v0", *at).ok()
    invoke("gc", "--grace", "0", *at).ok()
    assert invoke("verify", "--json", *at).ok().json["problems"] == []
