"""Lineage: edges are recorded, walked in both directions, across links, runs and projects, and end in cycles."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain.context import Context
from regcli.domain.documents import version_document
from regcli.domain.lineage import Graph, lineage, use
from regcli.domain.linking import link_version, unlink
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.registries import create_registry
from regcli.domain.resolving import resolve
from regcli.domain.runs import ensure_run, record_output, record_use
from regcli.errors import InvalidNameError, NotFoundError, RoleError, UsageError
from regcli.model import Alias, RegistryName, TypeName
from regcli.store.ingest import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

RAW, CLEAN, MODEL = "local/default/raw:v0", "local/default/clean:v0", "ml/train/model:v0"


def context_of(root: Path, user: str = "ada", project: str | None = None) -> Context:
    return Context(root_path=str(root), user=user, uid=os.getuid(), host="here", command="test", project=project)


class Logger:
    """Logs one-file versions."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.file = folder / "content.txt"

    def __call__(self, name: str, content: str, *, project: str | None = None, **more: Any) -> str:
        self.file.write_text(content)
        request = LogRequest(name, TypeName.parse("dataset"))
        request.sources = [Source(str(self.file))]
        for key, value in more.items():
            setattr(request, key, value)
        version = log_version(context_of(self.root, project=project), request).version
        assert version is not None
        return version.ref


@pytest.fixture
def log(root: Path, tmp_path: Path) -> Logger:
    return Logger(root, tmp_path)


@pytest.fixture
def context(root: Path, log: Logger) -> Context:
    """raw -> (run prepare) -> clean -> link dataset/clean -> (run fit, another project) -> model -> link model/m."""
    log("raw", "r")
    log("clean", "c", inputs=["raw:v0"], run="prepare")
    context = context_of(root)
    link_version(context, "clean:v0", "dataset/clean", aliases=[Alias.parse("prod")])
    log("model", "m", project="ml/train", inputs=["dataset/clean:prod"], run="fit")
    link_version(context, MODEL, "model/m")
    return context


def refs(graph: Graph) -> dict[str, int]:
    return {ref: node.depth for ref, node in graph.nodes.items()}


def test_a_walk_goes_both_ways_across_links_runs_and_projects(context: Context) -> None:
    graph = lineage(context, "dataset/clean:prod")
    assert refs(graph) == {
        "dataset/clean:v0": 0,
        CLEAN: -1,
        "local/default/prepare": -2,
        RAW: -3,
        "ml/train/fit": 1,
        MODEL: 2,
        "model/m:v0": 3,
    }
    assert set(graph.edges) == {
        (CLEAN, "dataset/clean:v0", "link"),
        ("local/default/prepare", CLEAN, "output"),
        (RAW, "local/default/prepare", "use"),
        ("dataset/clean:v0", "ml/train/fit", "use"),
        ("ml/train/fit", MODEL, "output"),
        (MODEL, "model/m:v0", "link"),
    }


def test_a_publication_on_the_way_is_no_second_maker(context: Context) -> None:
    """Nothing that was made before a link existed, or under another name, is said to come of the link."""
    link_version(context, CLEAN, "dataset/later")
    graph = lineage(context, RAW)
    assert {edge for edge in graph.edges if edge[1] == "ml/train/fit"} == {(CLEAN, "ml/train/fit", "use")}
    assert {(CLEAN, "dataset/clean:v0", "link"), (CLEAN, "dataset/later:v0", "link")} <= set(graph.edges)
    assert [edge for edge in graph.edges if edge[0].startswith("dataset/")] == []
    assert ("dataset/later:v0", "ml/train/fit", "use") in lineage(context, "dataset/later").edges


def test_directions_and_depth(context: Context) -> None:
    assert list(refs(lineage(context, MODEL, direction="up"))) == [MODEL, "ml/train/fit", CLEAN, "local/default/prepare", RAW]
    down = lineage(context, RAW, direction="down")
    assert refs(down)[MODEL] == 4
    assert refs(down)["dataset/clean:v0"] == 3
    near = lineage(context, RAW, direction="down", depth=2)
    assert list(refs(near)) == [RAW, "local/default/prepare", CLEAN]
    assert near.truncated
    assert not lineage(context, RAW, direction="up", depth=1).truncated


def test_an_input_without_a_run_is_an_edge_between_versions(context: Context, log: Logger) -> None:
    log("direct", "d", inputs=["raw:v0"])
    graph = lineage(context, "direct")
    assert graph.edges == [(RAW, "local/default/direct:v0", "input")]
    assert ("local/default/raw:v0", "local/default/direct:v0", "input") in lineage(context, "raw", direction="down").edges


def test_use_records_an_edge_once(context: Context) -> None:
    first = use(context, "model/m", run="evaluate")
    assert (first.run, first.created, first.version.ref) == ("local/default/evaluate", True, "model/m:v0")
    again = use(context, MODEL, run="evaluate")
    assert (again.created, again.seq) == (False, first.seq)
    assert ("ml/train/model:v0", "local/default/evaluate", "use") in lineage(context, MODEL, direction="down").edges
    assert version_document(context, resolve(context, MODEL))["used_by"] == ["local/default/evaluate"]


def test_use_without_a_run_is_the_users_own(root: Path, context: Context) -> None:
    assert use(context, "raw").run == "local/default/cli-ada"
    assert use(context_of(root, "Jörg Müller"), "raw").run == "local/default/cli-J-rg-M-ller"


def test_what_a_run_logs_later_came_from_what_it_used(context: Context, log: Logger) -> None:
    use(context, "raw:v0", run="late")
    log("result", "x", run="late")
    assert refs(lineage(context, "result", direction="up")) == {
        "local/default/result:v0": 0, "local/default/late": -1, RAW: -2,
    }  # fmt: skip


def test_wrong_uses_change_nothing(context: Context) -> None:
    with pytest.raises(NotFoundError):
        use(context, "nothing", run="new-run")
    with pytest.raises(InvalidNameError):
        use(context, "raw", run="two words")
    with pytest.raises(UsageError):
        use(context, "raw", run="other/project/run")
    assert list(refs(lineage(context, "raw", direction="down", depth=1))) == [RAW, "local/default/prepare"]


def test_cycles_end(context: Context) -> None:
    """A run that uses its own output, as an incremental training does."""
    chain, _ = ensure_run(context, "loop")
    version = resolve(context, "raw")
    record_use(context, chain, version)
    record_output(context, chain, version)
    graph = lineage(context, "raw")
    assert (RAW, "local/default/loop", "use") in graph.edges
    record = version.record
    assert record["run"] is None
    second = resolve(context, "clean")
    chain, _ = ensure_run(context, "prepare")
    record_use(context, chain, second)
    graph = lineage(context, "clean")
    assert (CLEAN, "local/default/prepare", "use") in graph.edges
    assert ("local/default/prepare", CLEAN, "output") in graph.edges


def test_deleted_and_unlinked_neighbours(context: Context) -> None:
    unlink(context, "model/m:v0")
    assert "model/m:v0" not in refs(lineage(context, MODEL))
    from regcli.domain.deletion import delete_version

    delete_version(context, "raw:v0", force=True)
    node = lineage(context, CLEAN).nodes[RAW]
    assert node.details["state"] == "DELETED"
    # A deleted version can still be asked where it went.
    assert CLEAN in refs(lineage(context, "raw:v0"))


def test_links_in_registries_that_the_user_may_not_see_are_left_out(root: Path, context: Context) -> None:
    create_registry(context, RegistryName.parse("secret"), visibility="restricted")
    link_version(context, "raw:v0", "secret/hidden")
    assert "secret/hidden:v0" in refs(lineage(context, "raw"))
    stranger = context_of(root, "eve")
    assert "secret/hidden:v0" not in refs(lineage(stranger, "raw"))
    with pytest.raises(RoleError):
        lineage(stranger, "secret/hidden:v0")
    with pytest.raises(RoleError):
        use(stranger, "secret/hidden:v0")


def test_a_damaged_run_is_a_warning(root: Path, context: Context) -> None:
    base = root / "projects/local/default/runs/prepare"
    (base / "head.json").unlink()
    commit = base / "log/0000000001.json"
    commit.chmod(0o644)
    commit.write_text("{}")
    graph = lineage(context, CLEAN, direction="up")
    # The version itself says what it was made from.
    assert graph.edges == [(RAW, CLEAN, "input")]
    assert any("0000000001.json" in warning for warning in context.warnings)


def test_a_long_chain_and_a_wide_fan(root: Path, tmp_path: Path) -> None:
    from tests.benchmarks.fixtures import make_context, record, write_source

    context = make_context(str(root))
    time = context.now()
    before = None
    records = []
    for index in range(1500):
        item = record(1, index, time)
        if before is not None:
            place = "projects/local/default/collections/chain"
            item["inputs"] = [
                {
                    "ref": f"local/default/chain:v{index - 1}",
                    "place": place,
                    "version": index - 1,
                    "id": before,
                    "digest": "0" * 32,
                }
            ]
        before = item["id"]
        records.append(item)
    write_source(context, "chain", records)
    graph = lineage(context, "local/default/chain:latest", direction="up")
    assert len(graph.edges) == 1499
    from regcli.cli.graphs import dot_lines, mermaid_lines, tree_lines

    lines = list(tree_lines(graph))
    assert len(lines) < 150
    assert "deeper than 100 levels" in lines[-1]
    assert len(list(mermaid_lines(graph))) == 1500 + 1499 + 2
    assert len(list(dot_lines(graph))) == 1500 + 1499 + 3


def test_drawings_survive_hostile_names(root: Path, context: Context) -> None:
    from regcli.cli.graphs import dot_lines, mermaid_lines, tree_lines

    link_version(context, "raw", 'model/a"] --> x["<b>', aliases=[Alias.parse('"];rm"')])
    graph = lineage(context, "raw")
    mermaid = "\n".join(mermaid_lines(graph))
    assert "<b>" not in mermaid
    assert mermaid.count('"') % 2 == 0
    dot = [line for line in dot_lines(graph) if "model/a" in line]
    assert all(line.replace('\\"', "").count('"') in (4, 6) for line in dot)
    assert any('model/a"] --> x["<b>:v0  [link' in line for line in tree_lines(graph))


def test_the_command_line(invoke: Callable[..., Result], context: Context) -> None:
    document = invoke("lineage", "dataset/clean:prod", "--json").ok().json
    assert {node["ref"] for node in document["nodes"]} >= {RAW, CLEAN, MODEL, "model/m:v0"}
    assert {"from": CLEAN, "to": "dataset/clean:v0", "kind": "link"} in document["edges"]
    assert json.loads(invoke("lineage", "dataset/clean:prod", "--format", "json").ok().stdout) == document
    tree = invoke("lineage", RAW).ok().lines
    assert tree[0] == f"{RAW}  [dataset]"
    assert tree[1] == "└── went into"
    assert tree[2].endswith("local/default/prepare  [run]")
    assert invoke("lineage", RAW, "--format", "mermaid").ok().lines[0] == "flowchart LR"
    assert invoke("lineage", RAW, "--format", "dot").ok().lines[0] == "digraph lineage {"
    used = invoke("use", "model/m", "--run", "serve", "--json").ok().json
    assert (used["ref"], used["run"], used["created"], used["seq"]) == ("model/m:v0", "local/default/serve", True, 1)
    assert invoke("use", "model/m", "--run", "serve").ok().lines == ["model/m:v0"]
    assert invoke("use", "nothing:v3").code == 3
    events = invoke("history", "--action", "version-used", "--json").ok().json["events"]
    assert [event["after"]["ref"] for event in events][-1] == MODEL
