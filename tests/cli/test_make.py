"""Real GNU Make: nothing is rebuilt when the alias did not move, exactly the right things when it did."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from regcli.domain.stamps import escape_name, write_depfile, write_stamp
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]
    Make = Callable[..., str]


@pytest.fixture
def make(invoke: Invoke, home: Path, work: Path, root: Path) -> Make:
    """Return a function that writes regcli.mk and a Makefile and runs `make` on it; it returns what Make printed."""
    if shutil.which("make") is None:
        pytest.skip("NOT TESTED: the rules for Make, which is not installed")
    (work / "regcli.mk").write_text(invoke("mk").ok().stdout)
    program = home / "regcli"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
    program.chmod(0o755)
    environment = clean_environment(home, root)
    environment["PATH"] = f"{home}:{environment['PATH']}"

    def run_make(*arguments: str, makefile: str | None = None, code: int = 0) -> str:
        if makefile is not None:
            (work / "Makefile").write_text(makefile)
        done = subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=work,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run_make


def log(invoke: Invoke, work: Path, **files: str) -> None:
    source = work.parent / "source"
    source.mkdir(exist_ok=True)
    for name, text in files.items():
        (source / f"{name}.csv").write_text(text)
    invoke("log", source, "-n", "zoo", "-t", "dataset").ok()


FETCH = """\
include regcli.mk
all: whole.txt a.txt b.txt
data/zoo.fetched: REGCLI_REF = model/zoo:production
-include data/zoo.fetched.d
whole.txt: data/zoo.fetched; cat data/zoo/*.csv > $@; echo made-$@
a.txt: data/zoo/a.csv; cp $< $@; echo made-$@
b.txt: data/zoo/b.csv; cp $< $@; echo made-$@
"""


@pytest.fixture
def fetched(invoke: Invoke, make: Make, work: Path) -> Make:
    """Version v0 is in production, and everything is made from it."""
    log(invoke, work, a="a0", b="b0")
    invoke("link", "zoo", "model/zoo", "-a", "production").ok()
    make("data/zoo.fetched", makefile=FETCH)
    out = make()
    assert [name for name in ("whole", "a", "b") if f"made-{name}.txt\n" in out] == ["whole", "a", "b"]
    return make


def made(output: str) -> list[str]:
    return [line.removeprefix("made-") for line in output.splitlines() if line.startswith("made-")]


def test_nothing_is_rebuilt_while_the_alias_stands(fetched: Make, invoke: Invoke, work: Path) -> None:
    log(invoke, work, a="a1")
    before = {path: path.stat().st_mtime_ns for path in (work / "data").rglob("*")}
    for _ in range(2):
        assert made(fetched()) == []
    assert {path: path.stat().st_mtime_ns for path in (work / "data").rglob("*")} == before


def test_exactly_what_changed_is_rebuilt_when_it_moved(fetched: Make, invoke: Invoke, work: Path) -> None:
    log(invoke, work, a="a1")
    invoke("link", "zoo", "model/zoo", "-a", "production").ok()
    # b.csv is the same in both versions: only what depends on a.csv or on the version as a whole is made.
    assert sorted(made(fetched())) == ["a.txt", "whole.txt"]
    assert (work / "whole.txt").read_text() == "a1b0"
    assert made(fetched()) == []


def test_an_alias_that_moves_to_the_same_content_rebuilds_nothing(fetched: Make, invoke: Invoke) -> None:
    invoke("log", "data/zoo", "-n", "zoo", "-t", "dataset", "--new-version").ok()
    invoke("link", "zoo:v1", "model/zoo", "-a", "production").ok()
    assert invoke("resolve", "model/zoo:production").lines == ["model/zoo:v1"]
    assert made(fetched()) == []


def test_a_directory_that_vanished_is_fetched_again(fetched: Make, work: Path) -> None:
    for path in (work / "data" / "zoo").iterdir():
        path.unlink()
    (work / "data" / "zoo").rmdir()
    fetched("data/zoo.fetched")
    assert sorted(os.listdir(work / "data" / "zoo")) == ["a.csv", "b.csv"]


def test_a_reference_that_is_gone_stops_make(fetched: Make, work: Path) -> None:
    (work / "Makefile").write_text(FETCH.replace("production", "no-such-alias"))
    assert "no-such-alias" in fetched(code=2)


def test_a_missing_variable_is_named(make: Make) -> None:
    assert "set REGCLI_REF on the target data/zoo.fetched" in make("data/zoo.fetched", makefile="include regcli.mk\n", code=2)


PROMOTE = """\
include regcli.mk
model.bin: source.txt; cp $< $@
model.bin.logged: REGCLI_TYPE = model
model.bin.logged: REGCLI_INPUTS = dataset/zoo:v0
model.bin.promoted: REGCLI_TO = model/It's mine
model.bin.promoted: REGCLI_ALIASES = staging next
"""


def test_log_and_promote(make: Make, invoke: Invoke, work: Path) -> None:
    log(invoke, work, a="a0")
    invoke("link", "zoo", "dataset/zoo").ok()
    (work / "source.txt").write_text("weights")
    make("model.bin.promoted", makefile=PROMOTE)
    assert (work / "model.bin.logged").read_text() == "local/default/model:v0\n"
    assert (work / "model.bin.promoted").read_text() == "model/It's mine:v0\n"
    shown = invoke("show", "model/It's mine:staging", "--json").ok().json
    assert shown["aliases"] == ["latest", "next", "staging"]
    assert [item["ref"] if isinstance(item, dict) else item for item in shown["inputs"]] == ["local/default/zoo:v0"]
    assert "up to date" in make("model.bin.promoted")
    (work / "source.txt").write_text("other weights")
    os.utime(work / "model.bin", (1, 1))
    make("model.bin.promoted")
    assert (work / "model.bin.promoted").read_text() == "model/It's mine:v1\n"


def test_a_failed_log_leaves_no_target(make: Make, work: Path) -> None:
    (work / "source.txt").write_text("weights")
    make("model.bin.logged", makefile=PROMOTE.replace("dataset/zoo:v0", "dataset/nothing:v0"), code=2)
    assert sorted(os.listdir(work)) == ["Makefile", "model.bin", "regcli.mk", "source.txt"]


ODD = (
    """
plain.csv|a b.csv|a#b|a$b|a$(shell touch pwned)b|a%b|100%|a:b|a;b|a=b|a*b|a?b|a[b]c|a\\b|a\\ b|a\\\\:b|a&b|a'b"c|한국어|a(b)c
photo (1).jpg|-x|a:=b|define x|include y|`id`|sub/a b.csv|a,b|@x|.PHONY|!|a{b,c}|a\\%b|a\\#b|a\\=b|%|*
""".strip()
    .replace("\n", "|")
    .split("|")
)


@pytest.mark.parametrize("name", ODD)
def test_every_name_that_make_can_spell_is_spelled(name: str, make: Make, work: Path) -> None:
    (work / "d" / name).parent.mkdir(parents=True, exist_ok=True)
    (work / "d" / name).write_text("")
    for stamp in ("t.stamp", f"{name.replace('/', '-')}.stamp"):
        (work / stamp).write_text("")
        assert write_depfile(str(work / "t.d"), stamp, "d", [name]) == []
        # The rule is the first, so it is what Make makes, unless there is a "%"; the recipe tells of what it sees.
        goal = [f"d/{name}"] if "%" in name else []
        told = make("-r", "-R", "-B", *goal, makefile=(work / "t.d").read_text().replace(" ;\n", " ; $(info <$@|$<>)\n"))
        assert f"<d/{name}|{stamp}>\n" in told
    assert not (work / "pwned").exists()


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a(b)", "a\\", "~root", "a&", "a\x1b"])
def test_what_make_cannot_spell_is_told(name: str, tmp_path: Path) -> None:
    assert escape_name(name) is None
    assert write_depfile(str(tmp_path / "x.d"), "x", ".", [name, "b"]) == [name]
    assert "\nb: x ;\n" in (tmp_path / "x.d").read_text()


def test_a_stamp_is_rewritten_only_when_it_says_something_new(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.stamp"
    assert write_stamp(str(path), "a" * 32)
    os.utime(path, (1, 1))
    assert not write_stamp(str(path), "a" * 32)
    assert path.stat().st_mtime == 1
    assert write_stamp(str(path), "b" * 32)
    assert path.read_text() == "b" * 32 + "\n"


def test_depfile_without_stamp_is_wrong_usage(invoke: Invoke, work: Path) -> None:
    log(invoke, work, a="a")
    assert invoke("download", "zoo", "-o", "x", "--depfile", "x.d").code == 2
    assert not (work / "x").exists()


def test_quiet_download_says_only_where(invoke: Invoke, work: Path) -> None:
    log(invoke, work, a="a")
    result = invoke("download", "zoo", "-o", "x", "--stamp", "x.stamp", "--depfile", "x.d", "-q").ok()
    assert (result.lines, result.stderr) == ([str(work / "x")], "")
    assert (work / "x.d").read_text().endswith("x/a.csv: x.stamp ;\n")
