"""Every other file of a root, its user or a project, changed by one value and sealed again: refused, or made anew, no more.

Logs, collections' heads and bundles have tests of their own (`test_hostile_logs.py`, `test_hostile_bundles.py`).
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.domain.world import memory
from tests.reliability.harness import LONG, scaled
from tests.security.derived import KINDS, call, furnish
from tests.security.test_hostile_logs import VALUES, places, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.derived import Kind, Place

    Change = tuple[Path, Place, Any]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


MORE: tuple[Any, ...] = (
    *VALUES, float("nan"), float("inf"), 1e308, 0, 1, False, 10**38, "x" * 70_000, nested(30), nested(100), [[]], [1, 2],
    {"a": 1}, "v0", "9" * 5000, "1970-01-01T00:00:00Z", ["a", 1], "\0", "projects/local/default/collections/\ud800",
    "projects/local/default/collections/a\0b", "registries/\ud800", "projects/local/default/runs/\ud800", "n" * 300, "a/b/c",
    "projects/local/default/collections/tree", "registries/model/collections/zoo", "registries/model",
)  # fmt: skip
EXTRA = "extra-key"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("resolve", "model/zoo:production"),
    ("resolve", "model/zoo:golden"),
    ("show", "model/zoo:golden", "--json"),
    ("show", "zoo:v1"),
    ("show", "many:v5"),
    ("ls",),
    ("ls", "model/"),
    ("ls", "many", "--json"),
    ("ls", "model/zoo"),
    ("search", "zoo"),
    ("search", "o", "--sort", "-size", "--json"),
    ("search", "--where", "metrics.loss < 2 or metadata.x = 1 or tags = good or ttl != none or inputs ~ zoo"),
    (
        "search",
        "--kind",
        "version",
        "--sort",
        "created_at",
        "--where",
        "created_at > 2000 and logged_by != x or expires_at > 1",
    ),
    ("search", "--where", "links ~ a or used_by ~ b or source ~ c or aliases = d or description ~ e or version > 1"),
    ("compare", "zoo"),
    ("compare", "model/zoo", "--json"),
    ("download", "model/zoo:production", "-o", "out"),
    ("download", "tree", "-o", "out2"),
    ("history",),
    ("history", "many", "--json"),
    ("lineage", "model/zoo:production"),
    ("lineage", "zoo:v1", "--json"),
    ("member", "ls", "model"),
    ("protect", "--ls", "model"),
    ("registry", "show", "model"),
    ("registry", "ls"),
    ("registry", "apply", "registry.toml"),
    ("automation", "ls"),
    ("automation", "log"),
    ("automation", "log", "--json"),
    ("trust", "ls"),
    ("lock", "--check"),
    ("sync",),
    ("config", "show"),
    ("du",),
    ("doctor",),
    ("verify",),
    ("gc", "--dry-run"),
    ("export", "model/", "zoo", "-o", "bundle.tar"),
    ("diff", "zoo:v0", "zoo:v1"),
    ("files", "tree"),
    ("cat", "tree:v0", "small.txt"),
    ("collection", "show", "model/zoo"),
    ("alias", "ls", "model/zoo"),
    ("ls", "zoo", "--metric", "loss"),
    ("automation", "test", "mine"),
    ("automation", "test", "hook"),
    ("edit", "zoo:v1", "--meta", "y=2"),
    ("registry", "edit", "model", "--description", "new"),
    ("alias", "add", "model/zoo:v0", "candidate"),
    ("tag", "add", "zoo:v0", "new"),
    ("log", "../in/tree", "-n", "tree"),
    ("use", "zoo:v0", "--run", "train"),
    ("link", "fromrun", "model/zoo"),
    ("automation", "deliver", "--now"),
    ("delete", "many:v4"),
    ("undelete", "many:v3"),
    ("show", "old"),
    ("log", "../in/tree", "-n", "old"),
    ("gc",),
)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="regcli-hostile-", dir=memory()))
    furnish(path / "prepared")
    yield path / "prepared"
    shutil.rmtree(path)


def changes(kind: Kind, top: Path, seed: int) -> Iterator[Change]:
    """Yield changes of one value without end: where below the top, where in the document, and what (`...` takes it out)."""
    draw = random.Random(seed)
    known = []
    for path in kind.paths(top):
        document = kind.read(path.read_bytes())
        more = [(EXTRA,)] if isinstance(document, dict) else []
        known.append((path.relative_to(top), [*places(document), *more]))
    while True:
        path, spots = draw.choice(known)
        place, value = draw.choice(spots), draw.choice((..., *MORE))
        if place != (EXTRA,) or value is not ...:
            yield path, place, value


def commands_of(kind: Kind) -> tuple[tuple[str, ...], ...]:
    """Return the commands that read a kind of file; in the short form some of them, where they are all that there are."""
    if kind.commands:
        return tuple(command for command in COMMANDS if command[0] in kind.commands)
    return COMMANDS if LONG else COMMANDS[::3]


def try_one(prepared: Path, top: Path, kind: Kind, change: Change) -> list[str]:
    """Run the commands after one change; returns what went wrong."""
    relative, place, value = change
    shutil.rmtree(top, ignore_errors=True)
    shutil.copytree(prepared, top, symlinks=True)
    document = kind.read((top / relative).read_bytes())
    put(document, place, value)
    kind.put(top, top / relative, document)
    wrong = []
    for command in commands_of(kind):
        done = call(top, *command)
        # 8: nobody listens where automations deliver to; a name is longer than the file system takes.
        if (
            done.code not in (0, 1, 2, 3, 4, 5, 6, *((8,) if command[0] in ("automation", "sync") else ()))
            or "Traceback" in done.stderr
            or len(done.stderr) > 20_000
        ):
            wrong.append(f"{command}: exit {done.code}: {done.stderr[:500]}")
        elif set(done.stdout + done.stderr) & {"\x1b", "\u202e", "\x9b"}:
            wrong.append(f"{command}: steers the terminal")
    return wrong


@pytest.mark.parametrize("name", KINDS)
def test_one_value_of_a_file_is_changed(prepared: Path, name: str) -> None:
    kind = KINDS[name]
    top = prepared.parent / f"top-{os.getpid()}"
    for change in islice(changes(kind, prepared, 3), scaled(1, 1000)):
        assert not try_one(prepared, top, kind, change), change


def test_without_any_change_all_of_it_works(prepared: Path) -> None:
    """The control: whatever fails above fails because of the change."""
    top = prepared.parent / "unchanged"
    shutil.copytree(prepared, top, symlinks=True)
    for command in COMMANDS:
        expected = 8 if command[:2] in (("automation", "deliver"), ("automation", "test")) else 3 if "old" in command else 0
        assert call(top, *command).code == expected, command


CATALOG_LIES: dict[str, tuple[Place, Any]] = {
    "an infinite metric": (("columns", "metrics", 0), {"loss": float("inf")}),
    "a metric that is no number": (("columns", "metrics", 0), {"loss": float("nan")}),
    "a metric of 500 digits": (("columns", "metrics", 0), {"loss": 10**500}),
    "a metric that is a text": (("columns", "metrics", 0), {"loss": "low"}),
    "metrics that are a list": (("columns", "metrics", 0), ["loss"]),
    "no metadata": (("columns", "metadata", 0), None),
    "metadata of 500 digits": (("columns", "metadata", 0), {"x": 10**500}),
    "infinite metadata": (("columns", "metadata", 0), {"x": {"y": [float("-inf")]}}),
    "tags that are a text": (("columns", "tags", 0), "good"),
    "a tag that is a number": (("columns", "tags", 0), [1]),
    "a description that is a number": (("columns", "description", 0), 1),
    "a size of 500 digits": (("columns", "size", 0), 10**500),
    "a negative size": (("columns", "size", 0), -1),
    "a size that is true": (("columns", "size", 0), True),
    "no size": (("columns", "size", 0), None),
    "a number in a list": (("columns", "version", 0), [0]),
    "no numbers": (("columns", "version"), {}),
    "too few states": (("columns", "state"), ["COMMITTED"]),
    "a state that is none": (("columns", "state", 0), None),
    "a source where there is none": (("columns", "origin", 0), 7),
    "a time that is a number": (("columns", "created_at", 0), 1),
    "a run that is a number": (("columns", "run", 0), 5),
    "an input that is a number": (("columns", "inputs", 0), [5]),
    "a lifetime that is a list": (("columns", "ttl", 0), []),
    "more versions than there are": (("header", "count"), 3),
    "a negative count": (("header", "count"), -1),
    "a commit that is a text": (("header", "seq"), "1"),
    "no state": (("header", "state"), {}),
    "an alias without a version": (("header", "state", "aliases"), {"best": ["best"]}),
    "no kind": (("header", "state", "kind"), None),
    "no column": (("header", "columns"), {}),
    "a column that ends before it begins": (("header", "columns", "size"), [5, -1]),
    "a column beyond the end": (("header", "columns", "size"), [0, 1 << 40]),
    "places that are none": (("header", "places"), [1]),
}


SEARCHES = (
    ("search", "--where", "size > 0 and metrics.loss < 2 or metadata.x = 1 or tags = good or description ~ x", "--json"),
    ("search", "o", "--sort", "created_at", "--where", "ttl != x and inputs != y and logged_by != z", "--json"),
    ("compare", "zoo", "--json"),
)


@pytest.fixture(scope="module")
def searched(prepared: Path) -> tuple[Path, list[str]]:
    """A root, and what SEARCHES say of it."""
    top = prepared.parent / "searched"
    shutil.copytree(prepared, top, symlinks=True)
    return top, [call(top, *command).ok().stdout for command in SEARCHES]


def catalog_of(top: Path, place: str) -> Path:
    """Return the file of the catalog about a collection."""
    return next(path for path in KINDS["catalog"].paths(top) if f'"base":"{place}"'.encode() in path.read_bytes())


@pytest.mark.parametrize("name", CATALOG_LIES)
def test_a_catalog_that_lies_is_read_from_the_log(searched: tuple[Path, list[str]], name: str) -> None:
    """Whatever the cache says that no log can add up to, search and compare say what the logs do."""
    top, said = searched
    kind = KINDS["catalog"]
    path = catalog_of(top, "projects/local/default/collections/zoo")
    honest = path.read_bytes()
    document = kind.read(honest)
    place, value = CATALOG_LIES[name]
    put(document, place, value)
    for command, answer in zip(SEARCHES, said, strict=True):
        kind.put(top, path, document)
        assert call(top, *command).ok().stdout == answer, command
    path.write_bytes(honest)


def test_a_catalog_that_fits_is_believed(searched: tuple[Path, list[str]]) -> None:
    """The control: what is written here is read, and what it says that a log might say is said."""
    top, said = searched
    kind = KINDS["catalog"]
    path = catalog_of(top, "projects/local/default/collections/zoo")
    honest = path.read_bytes()
    document = kind.read(honest)
    document["columns"]["metrics"][0] = {"loss": 1.5}
    kind.put(top, path, document)
    data = path.read_bytes()
    told = call(top, *SEARCHES[2]).ok().stdout
    assert told != said[2]
    assert "1.5" in told
    assert path.read_bytes() == data
    path.write_bytes(honest)


def test_the_source_of_a_link_in_the_catalog_is_one_of_its_places(searched: tuple[Path, list[str]]) -> None:
    top, said = searched
    kind = KINDS["catalog"]
    path = catalog_of(top, "registries/model/collections/zoo")
    for name, value in (("origin", 1), ("origin", -1), ("origin", None), ("origin_version", -1), ("origin_version", "0")):
        document = kind.read(path.read_bytes())
        document["columns"][name][0] = value
        kind.put(top, path, document)
        assert call(top, *SEARCHES[0]).ok().stdout == said[0], (name, value)


SURROGATE = "projects/local/default/collections/\ud800"
OTHERS: dict[str, tuple[str, Place, Any, tuple[str, ...]]] = {
    "pages that are an object": ("head of a run", ("records", "pages"), {"a": 1}, ("use", "zoo:v0", "--run", "train")),
    "a part at no time": ("parts", ("ops", 1, "after", "at"), {"x": None}, ("gc", "--dry-run")),
    "a part without a manifest": ("parts", ("ops", 1, "after", "manifest"), ..., ("verify",)),
    "a marker of a place that no path has": ("marker of a pointer", ("place",), SURROGATE, ("verify",)),
    "a catalog of a place that no path has": ("catalog", ("header", "base"), SURROGATE, ("verify",)),
    "a mark that is a text": (
        "what was seen",
        ("aliases", "registries/model/collections/zoo"),
        "x",
        ("resolve", "model/zoo:golden"),
    ),
    "an automation with an empty table": (
        "settings",
        ("ops", 0, "after"),
        {"id": "x", "a": {"b": None}, "c": [None]},
        ("registry", "apply", "registry.toml"),
    ),
    "a text that no file holds": (
        "settings",
        ("ops", 0, "settings", "visibility"),
        "\ud800",
        ("registry", "apply", "registry.toml"),
    ),
    "a notice of one's own that is a number": ("notice of one's own", ("entry",), 0, ("automation", "deliver", "--now")),
    "a command that is a list": ("own automations", ("automations", "mine", "command"), [[]], ("automation", "test", "mine")),
    "a URL that is a number": ("settings of the root", ("ops", 0, "after", "url"), 1, ("automation", "test", "hook")),
    "a visibility of 70,000 characters": (
        "settings by hand",
        ("visibility",),
        "x" * 70_000,
        ("registry", "apply", "registry.toml"),
    ),
    "a directory of 70,000 characters": ("lock", ("artifact", 0, "directory"), "x" * 70_000, ("sync",)),
    "notices that are a number": ("source", ("outbox",), 1, ("automation", "deliver", "--now")),
    "a notice without its automation": ("source", ("outbox", 0, "store"), ..., ("automation", "deliver", "--now")),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_was_malformed_once_brings_nothing_down(prepared: Path, name: str) -> None:
    kind_name, place, value, command = OTHERS[name]
    kind = KINDS[kind_name]
    top = prepared.parent / f"other-{os.getpid()}"
    for path in kind.paths(prepared)[:4]:
        document = kind.read(path.read_bytes())
        try:
            put(document, place, value)
        except (LookupError, TypeError):
            continue
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(prepared, top, symlinks=True)
        kind.put(top, top / path.relative_to(prepared), document)
        done = call(top, *command)
        assert done.code in (0, 1, 2, 3, 5, 6, 8), done
        assert len(done.stderr) < 5000, done.stderr[:300]


def test_a_line_without_an_end_is_not_read_into_memory(prepared: Path) -> None:
    top = prepared.parent / "endless"
    shutil.copytree(prepared, top, symlinks=True)
    path = next(top.glob("root/projects/local/default/runs/train/metrics.jsonl"))
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)
    done = call(top, "verify")
    assert done.code == 1
    assert "a line is longer than" in done.stdout + done.stderr
