"""More than two hundred hostile names through every command that takes one: refused with exit 2, or kept exactly."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from regcli.model import fold
from tests.cli.terminal import on_terminal
from tests.security.forgery import read_log, seal_head, write_log
from tests.security.hostile import ESCAPES, STRANGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

CONTROLS = [chr(code) for code in (*range(1, 32), *range(127, 160))]
INVISIBLE = [
    chr(c) for c in (0x61C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF, 0xFFF9, 0xE0041)
]
NAMES = sorted(
    {
        *(name for name in (*ESCAPES, *STRANGE) if "\0" not in name and len(name) < 300),
        *(f"a{character}b" for character in (*CONTROLS, *INVISIBLE)),
        *(f"{character}x" for character in "-.~@:/\\ %#?*[]{}()<>|&;!$`'\"=+,^"),
        "v0", "v1", "V1", "v01", "latest", "LATEST", "Latest", "v" + "9" * 30, "none", "job", "wandb-x", "wandb-registry-x",
        "x" * 128,
        "x" * 129, "x" * 10_000, "\u00e9" * 128, "true", "null", "0", "-1", "1e9", "@xxh128:" + "0" * 32, "a@b", "a~1", "~",
        "a:b", "a/b/c",
        "a/b/c/d", "model", "models", "\u0661", "v\u0661", "\u00b2", "\u1e9e", "\u0130", "i\u0307", "A\u030a", "\u212b",
        "\u00c5", "\u2160",
        "\U0001f4a9", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u3042" * 60, "a\u0300" * 60, "${IFS}", "%(x)s",
        "[bold]x[/bold]", "[/]", ":smile:",
        "\u202dab\u202c", "</script>", "a=b", "=1+1", "Robert'); DROP TABLE", "\\N{BELL}", "\\u001b[0m", "^[[31m",
    }
)  # fmt: skip
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def steering(text: str) -> set[str]:
    """Return the characters of an output that steer a terminal, colours of our own left out."""
    plain = COLORS.sub("", text)
    return {c for c in plain if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c in INVISIBLE}


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) > 200


@pytest.fixture
def zoo_root(invoke: Run, zoo: Path) -> Path:
    """A root with `zoo:v0`, linked as `model/zoo:v0`."""
    invoke("log", zoo, "-n", "zoo", "-t", "dataset").ok()
    invoke("link", "zoo", "model/zoo").ok()
    return zoo


def accepted(invoke: Run, *command: str, names: list[str] = NAMES) -> list[str]:
    """Return the names that a command takes; every other must be refused in words."""
    taken = []
    for name in names:
        done = invoke(*(part.replace("NAME", name) if "NAME" in part else part for part in command))
        assert done.code in (0, 2, 3, 4, 5), (name, done)
        assert not steering(done.stdout + done.stderr), (name, done)
        assert len(done.stderr) < 3000, name
        if done.code == 0:
            taken.append(name)
    return taken


def require_exact(shown: list[str], taken: list[str]) -> None:
    """Names come back as they were first written; those that are one by case or normalization are one."""
    assert {fold(name) for name in shown} >= {fold(name) for name in taken}
    first: dict[str, str] = {}
    for name in taken:
        first.setdefault(fold(name), name)
    assert set(first.values()) <= set(shown)


def test_aliases(invoke: Run, zoo_root: Path) -> None:
    taken = accepted(invoke, "alias", "add", "--", "model/zoo:v0", "NAME")
    assert taken
    assert not {"latest", "LATEST", "v0", "V1", "a\x1bb"} & set(taken)
    rows = invoke("alias", "ls", "model/zoo", "--json").ok().json["aliases"]
    require_exact([row["alias"] for row in rows], taken)
    for name in taken[::9]:
        assert invoke("resolve", "--", f"model/zoo:{name}").ok().lines == ["model/zoo:v0"]


def test_tags(invoke: Run, zoo_root: Path) -> None:
    taken = accepted(invoke, "tag", "add", "--", "zoo:v0", "NAME")
    require_exact(invoke("show", "zoo:v0", "--json").ok().json["tags"], taken)


def test_registries(invoke: Run, zoo_root: Path) -> None:
    taken = [name.removeprefix("wandb-registry-") for name in accepted(invoke, "registry", "create", "--", "NAME")]
    require_exact([row["name"] for row in invoke("registry", "ls", "--json").ok().json["registries"]], taken)
    assert not steering(invoke("ls").ok().stdout)


def test_collections(invoke: Run, zoo_root: Path) -> None:
    taken = accepted(invoke, "link", "--", "zoo", "model/NAME", names=[name for name in NAMES if "/" not in name])
    require_exact([row["name"] for row in invoke("ls", "model/", "--json").ok().json["collections"]], taken)


def test_artifacts_types_and_projects(invoke: Run, zoo_root: Path) -> None:
    plain = re.compile(r"[A-Za-z0-9_.-]{1,128}")
    names = NAMES[::3]
    for command in (
        ("log", "zoo.csv", "-t", "dataset", "--name=NAME"),
        ("log", "zoo.csv", "-n", "fresh", "--type=NAME", "--dry-run"),
        ("log", "zoo.csv", "-n", "x", "-t", "dataset", "--project=NAME", "--dry-run"),
    ):
        for name in accepted(invoke, *command, names=names):
            assert all(plain.fullmatch(part) for part in name.split("/")), (command, name)


@pytest.mark.parametrize(
    "command",
    [
        ("resolve", "--", "NAME"),
        ("show", "--", "model/NAME"),
        ("search", "--", "NAME"),
        ("member", "add", "--role", "viewer", "--", "model", "NAME"),
        ("cat", "--", "zoo", "NAME"),
        ("edit", "--description=NAME", "zoo"),
        ("history", "--", "NAME"),
        ("help", "--", "NAME"),
        ("trust", "rm", "--", "NAME"),
    ],
    ids=" ".join,
)
def test_whatever_else_takes_a_name(invoke: Run, zoo_root: Path, command: tuple[str, ...]) -> None:
    accepted(invoke, *command, names=NAMES[::6])


@pytest.fixture
def poisoned(zoo_root: Path, root: Path) -> Path:
    """A root whose logs have names that no command would have taken."""
    log = root / "projects/local/default/collections/zoo/log"
    commits = read_log(log)
    create = commits[0]["ops"][0]
    create.update(
        name="zoo\x1b[31m\u202e", description="\x1b]0;title\x07\x9b2J", type="data\x1b[2Jset", tags=["\x1b[5m", "[bold]"]
    )
    record = next(op for op in commits[0]["ops"] if op["op"] == "version")["record"]
    record.update(
        description="line\r\x1b[1Aover", metadata={"\x1b[31m": "\u202e\x9b"}, metrics={"\x1b[7m": 1}, created_by="\x1b[31mroot",
        run="local/default/\x1b[0m",
    )  # fmt: skip
    hostile = {"op": "alias", "alias": "al\x1b[31mias\u202e\x07", "before": None, "after": 0}
    commits.append(
        {**commits[0], "ops": [hostile], "user": "\x1b[31mmallory", "host": "\x9bhost", "command": "\x07", "reason": "\x1b[8m"}
    )
    write_log(log, commits)
    settings = root / "registries/model/settings"
    settings.mkdir(exist_ok=True)
    head = root / "registries/model/collections/zoo"
    seal_head(head, lambda document: document["state"].update(description="\x1b[31m", tags=["\x07", "\u202e"]))
    return root


LOOKS = (
    ("ls",), ("ls", "local/default/"), ("ls", "model/"), ("ls", "model/zoo"), ("show", "model/zoo:v0"), ("history",),
    ("search", "o"),
    ("lineage", "model/zoo:v0"), ("collection", "show", "model/zoo"), ("registry", "ls"), ("alias", "ls", "model/zoo"),
    ("verify",), ("du",),
)  # fmt: skip


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_names_that_an_attacker_stored_steer_nothing(poisoned: Path, invoke: Run, command: tuple[str, ...]) -> None:
    for form in ((), ("--json",), ("-v",), ("--color", "always")):
        done = invoke(*command, *form)
        assert done.code in (0, 1, 3, 6), done
        assert not steering(done.stdout), (form, done.stdout)
        assert not steering(done.stderr), (form, done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("command", LOOKS[::3], ids=" ".join)
def test_on_a_terminal_neither(poisoned: Path, command: tuple[str, ...]) -> None:
    shown = on_terminal("-m", "regcli", "--root", str(poisoned), *command)
    assert shown.strip()
    assert not steering(shown), shown


def test_completion_offers_nothing_that_steers(poisoned: Path, invoke: Run) -> None:
    offered = 0
    for kind in (
        "ref",
        "collection",
        "registry",
        "project",
        "source",
        "alias",
        "tag",
        "type",
        "version",
        "entry",
        "run",
        "user",
    ):
        for word in ("", "z", "model/", "local/default/", "model/zoo:", "zoo:"):
            done = invoke("__complete", kind, word, "--of", "model/zoo:v0")
            assert done.code == 0
            assert not steering(done.stdout), (kind, word, done.stdout)
            offered += len(done.lines)
    assert offered
