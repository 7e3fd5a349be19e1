"""What a hostile root says never leads out of it: names become directories, ids become files of the user's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regcli.store.root import seal_marker
from tests.conftest import clean_environment
from tests.security.forgery import append, rewrite

if TYPE_CHECKING:
    from tests.security.conftest import Place

BY_LIBRARY = """
import json, sys, regcli
for name in ("download", "checkout"):
    try:
        getattr(regcli.Api().artifact(sys.argv[1]), name)()
    except Exception as error:
        assert "corrupt" in str(error), error
    else:
        raise SystemExit(name)
"""


def outside(place: Place) -> dict[str, bytes | None]:
    """Return all that lies beside the root and the home directory, with its content."""
    found: dict[str, bytes | None] = {}
    for folder, folders, names in os.walk(place.path):
        if Path(folder) == place.path:
            folders[:] = [name for name in folders if name not in ("root", "home")]
        for name in (*folders, *names):
            path = Path(folder, name)
            found[str(path)] = path.read_bytes() if path.is_file() else None
    return found


def call(name: str) -> Any:
    """Return what gives a collection another name, in every commit that makes one."""

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "create":
                    op["name"] = name

    return change


def source_log(place: Place) -> Path:
    return next(place.root.glob("projects/*/*/collections/zoo/log"))


@pytest.mark.parametrize("name", ["../../victim", "..", "/", "a/b", "victim\\x", "x\0y"])
def test_the_name_of_a_collection_is_no_path(place: Place, name: str) -> None:
    victim = place.path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("content that is stored nowhere")
    log = source_log(place)
    # By a link: nobody named the source.
    rewrite(log, call(name))
    before = outside(place)
    done = subprocess.run(
        [sys.executable, "-c", BY_LIBRARY, "model/zoo:v0"],
        cwd=place.work, env=clean_environment(place.home, place.root), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # By a redirect: what lies there may be called anything.
    other = log.parent.parent / "zoo2"
    shutil.copytree(log.parent, other)
    rewrite(log, call("zoo"))

    def moved(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            commit["place"] += "2"
            for op in commit["ops"]:
                if op["op"] == "create":
                    op["id"] = "d" * 32

    rewrite(other / "log", moved)
    append(log, [{"op": "remove"}, {"op": "redirect", "to": "zoo2", "id": "d" * 32}])
    for command in (("download", "zoo:v0"), ("lock", "zoo:v0"), ("show", "zoo:v0")):
        assert place.run(*command).code == 6, command
    assert outside(place) == before


@pytest.mark.parametrize("name", ["../../victim", "..", "a/b"])
def test_the_name_of_a_registry_is_no_path(place: Place, name: str) -> None:
    append(place.settings, [{"op": "set", "field": "name", "before": "model", "after": name}])
    assert place.run("download", "model/zoo:v0").code == 6


def test_the_id_of_a_root_is_no_path(place: Place) -> None:
    """Caches and notices of a root lie in the user's directories under its id."""
    victim = place.path / "victim"
    (victim / "done").mkdir(parents=True)
    for number in range(1200):
        (victim / f"done/{number}.jpg").write_bytes(b"")
    marker = place.root / "regcli.toml"
    text = marker.read_text()
    identity = f"../../../../../victim{'/' * 11}"
    assert len(identity) == 32
    for path in [marker, *place.root.rglob("*.json")]:
        path.chmod(0o644)
    text = re.sub(r'id = "\w+"', f'id = "{identity}"', text[: text.rindex("checksum = ")])
    marker.write_bytes(seal_marker(text))

    def move(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            commit["root"] = identity

    for log in (place.settings, place.log, source_log(place)):
        rewrite(log, move)
    (place.root / "outbox").mkdir()
    before = outside(place)
    for command in (("resolve", "zoo:v0"), ("download", "zoo:v0"), ("automation", "deliver"), ("verify",)):
        assert place.run(*command).code == 6, command
    assert outside(place) == before


def test_the_control(place: Place) -> None:
    """Without any forgery all of it works."""
    assert json.loads(place.run("download", "zoo:v0", "--json").ok().stdout)["written"] == 1
    place.run("automation", "deliver").ok()
