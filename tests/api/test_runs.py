"""Runs: metrics, configuration, artifacts in and out, how they end, and several processes for one version."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Api, Artifact, CommError
from regcli.api import session
from regcli.domain.history import history as read_events
from regcli.domain.processes import describe_process, is_dead

if TYPE_CHECKING:
    from collections.abc import Callable

    Draft = Callable[..., Artifact]


def python(code: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, encoding="utf-8", timeout=timeout, check=False
    )


def history(run: regcli.Run) -> list[dict[str, Any]]:
    rows = list(Api().run(run.path).scan_history())
    return [{key: value for key, value in row.items() if key not in ("_timestamp", "_runtime")} for row in rows]


def test_a_run_as_a_context_manager() -> None:
    with regcli.init(entity="team", project="zoo", job_type="train", name="first", config={"lr": 0.1}, tags=["a"]) as run:
        assert regcli.run is run
        assert (run.entity, run.project, run.id, run.name, run.job_type) == ("team", "zoo", "first", "first", "train")
        assert (run.path, run.state, run.tags) == ("team/zoo/first", "running", ("a",))
        assert Api().run("team/zoo/first").state == "running"
    assert regcli.run is None
    stored = Api().run("team/zoo/first")
    assert (stored.state, stored.config, stored.job_type, stored.tags) == ("finished", {"lr": 0.1}, "train", ["a"])


def test_a_run_that_raises_has_failed() -> None:
    with pytest.raises(KeyError), regcli.init(name="bad"):
        raise KeyError
    assert Api().run("bad").state == "failed"


def test_a_run_by_hand() -> None:
    run = regcli.init(name="hand")
    regcli.log({"a": 1})
    regcli.finish()
    run.finish()
    assert (run.state, regcli.run) == ("finished", None)
    for call in (lambda: run.log({"a": 1}), lambda: regcli.log({"a": 1}), lambda: run.log_artifact(Artifact("a", "b"))):
        with pytest.raises(ValueError, match=r"is finished|call init"):
            call()


def test_the_active_runs_settings_and_summary() -> None:
    assert regcli.login(key="anything")
    for name in ("config", "summary"):
        assert not hasattr(regcli, name)
    with regcli.init(config={"lr": 0.1}):
        assert regcli.config.lr == 0.1
        regcli.config.update({"lr": 0.2})
        regcli.summary["best"] = 1
        assert regcli.run is not None
        assert (regcli.run.config.lr, regcli.run.summary.best) == (0.2, 1)


def test_init_returns_the_active_run_unless_told_otherwise() -> None:
    run = regcli.init(name="one")
    assert regcli.init(name="ignored") is run
    second = regcli.init(name="two", reinit="finish_previous")
    assert (run.state, second.state) == ("finished", "running")
    third = regcli.init(name="three", reinit="create_new")
    assert (second.state, regcli.run) == ("running", third)


def test_names_of_runs() -> None:
    ids = []
    for _ in range(2):
        with regcli.init(name="same") as run:
            assert run.name == "same"
            ids.append(run.id)
    assert ids[0] == "same" != ids[1]
    with regcli.init(name="for people: only") as run:
        assert (run.name, len(run.id)) == ("for people: only", 8)
    with pytest.raises(ValueError, match="not allowed"):
        regcli.init(id="not/plain")
    with pytest.raises(ValueError, match="mode"):
        regcli.init(mode="disabled")


def test_a_run_that_goes_on() -> None:
    with regcli.init(id="long", config={"a": 1}) as run:
        run.log({"x": 1})
        run.log({"x": 2})
    with regcli.init(id="long", resume="must", config={"b": 2}) as run:
        assert (run.resumed, run.step, run.summary["x"]) == (True, 2, 2)
        run.log({"x": 3})
    assert [row["x"] for row in history(run)] == [1, 2, 3]
    assert Api().run("long").config == {"a": 1, "b": 2}
    with pytest.raises(CommError, match="exists already"):
        regcli.init(id="long", resume="never")
    with pytest.raises(CommError, match="there is no run"):
        regcli.init(id="other", resume="must")


# Metrics


def test_metrics_by_step() -> None:
    with regcli.init() as run:
        assert run.step == 0
        run.log({"loss": 1.0})
        run.log({"loss": 0.5}, commit=False)
        run.log({"acc": 0.9})
        run.log({"loss": 0.4}, step=10)
        run.log({"acc": 0.95}, step=10)
        run.log({"loss": 0.3}, step=11, commit=True)
        assert run.step == 12
    assert history(run) == [
        {"_step": 0, "loss": 1.0},
        {"_step": 1, "loss": 0.5, "acc": 0.9},
        {"_step": 10, "loss": 0.4, "acc": 0.95},
        {"_step": 11, "loss": 0.3},
    ]
    stored = Api().run(run.path)
    assert stored.summary == {"loss": 0.3, "acc": 0.95}
    assert stored.lastHistoryStep == 11
    assert stored.history(samples=2) == [*stored.scan_history()][::2]
    assert stored.history(keys=["acc", "_step"]) == [{"acc": 0.9, "_step": 1}, {"acc": 0.95, "_step": 10}]


def test_a_step_that_goes_back_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with regcli.init() as run:
        run.log({"a": 1}, step=5, commit=True)
        run.log({"a": 2}, step=3)
    assert [row["_step"] for row in history(run)] == [5]
    assert "below the current step" in caplog.text


def test_values_that_are_logged() -> None:
    class Scalar:
        def item(self) -> float:
            return 0.25

    with regcli.init() as run:
        run.log({"n": float("nan"), "i": float("-inf"), "t": (1, 2), "d": {"e": True}, "s": "text", "np": Scalar()})
    assert history(run)[0] == {
        "_step": 0, "n": "NaN", "i": "-Infinity", "t": [1, 2], "d": {"e": True}, "s": "text", "np": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("data", [5, {1: 2}, {"a": object()}])
def test_values_that_cannot_be_logged(data: Any) -> None:
    with regcli.init() as run:
        with pytest.raises(TypeError):
            run.log(data)
        assert run.step == 0
    assert history(run) == []


def test_summary_that_is_set_wins() -> None:
    with regcli.init() as run:
        run.summary["best"] = 0.99
        run.summary.note = "x"
        run.log({"best": 0.5, "loss": 1})
        assert run.summary.best == 0.99
    assert Api().run(run.path).summary == {"best": 0.99, "note": "x", "loss": 1}


def test_configuration_is_stored_at_once() -> None:
    run = regcli.init(config=argparse.Namespace(lr=0.1, skip=1), config_exclude_keys=["skip"])
    run.config.batch = 32
    run.config["deep"] = {"a": (1, 2)}
    run.config.update({"lr": 0.2}, allow_val_change=True)
    assert run.config.setdefaults({"lr": 5, "new": 1})["lr"] == 0.2
    assert dict(run.config.items()) == {"lr": 0.2, "batch": 32, "deep": {"a": [1, 2]}, "new": 1}
    assert Api().run(run.path).config == run.config.as_dict()
    assert run.config == run.config.as_dict()
    with pytest.raises(AttributeError):
        _ = run.config.nothing
    with pytest.raises(TypeError):
        run.config["x"] = object()
    with pytest.raises(TypeError):
        regcli.init(reinit=True, config=5)


def test_threads_may_log() -> None:
    with regcli.init() as run:
        threads = [threading.Thread(target=lambda: [run.log({"a": 1}) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [row["_step"] for row in history(run)] == list(range(200))


# Artifacts


def test_an_artifact_records_run_step_and_metrics(draft: Draft) -> None:
    with regcli.init(name="maker") as run:
        before = run.log_artifact(draft("before"))
        run.log({"acc": 0.5, "text": "x", "nested": {"f1": 0.25}, "bad": float("nan")})
        run.log({"acc": 0.75})
        after = run.log_artifact(draft("after"))
        assert [artifact.name for artifact in run.logged_artifacts()] == ["before:v0", "after:v0"]
    assert (before.history_step, before.metrics) == (None, {})
    assert (after.history_step, after.metrics) == (1, {"acc": 0.75, "nested.f1": 0.25})
    producer = after.logged_by()
    assert producer is not None
    assert (producer.id, producer.state) == ("maker", "finished")
    assert [artifact.name for artifact in producer.logged_artifacts()] == ["before:v0", "after:v0"]


def test_paths_are_logged_as_artifacts(work: Path) -> None:
    (work / "in").mkdir()
    (work / "in" / "ä b.txt").write_text("x")
    with regcli.init(id="r1") as run:
        single = run.log_artifact("in/ä b.txt")
        whole = run.log_artifact(work / "in", name="whole", type="dataset", aliases=["best"])
        reference = run.log_artifact(f"file://{work}/in/%C3%A4%20b.txt", name="elsewhere")
    assert (single.name, single.type, list(single.manifest.entries)) == ("run-r1-__b.txt:v0", "unspecified", ["ä b.txt"])
    assert (whole.name, whole.type, whole.aliases) == ("whole:v0", "dataset", ["latest", "best"])
    assert reference.files()[0].path_uri.startswith("file:///")


def test_an_artifact_that_is_logged_already_takes_aliases_and_tags(draft: Draft) -> None:
    with regcli.init() as run:
        artifact = run.log_artifact(draft())
        run.log_artifact(artifact, aliases=["best"], tags=["red"])
    assert (artifact.version, artifact.aliases, artifact.tags) == ("v0", ["latest", "best"], ["red"])


def test_use_records_an_input_once(draft: Draft) -> None:
    with regcli.init(name="maker") as run:
        link = run.link_artifact(run.log_artifact(draft()), "wandb-registry-model/Zoo", aliases=["best"])
    with regcli.init(name="user") as run:
        for name in ("data:latest", "local/default/data", "wandb-registry-model/Zoo:best", "default/data:v0"):
            assert run.use_artifact(name, type="dataset").digest == link.digest
        run.use_artifact(link)
        assert [artifact.name for artifact in run.used_artifacts()] == ["data:v0"]
        with pytest.raises(ValueError, match="has type 'dataset', not 'model'"):
            run.use_artifact("data:v0", type="model")
        with pytest.raises(CommError, match="no collection"):
            run.use_artifact("nothing:v0")
    assert [user.id for user in link.used_by()] == [user.id for user in Api().artifact("data").used_by()] == ["user"]


def test_use_of_a_draft_logs_it(draft: Draft) -> None:
    with regcli.init() as run:
        artifact = run.use_artifact(draft())
        assert artifact.version == "v0"
        assert [used.id for used in run.used_artifacts()] == [artifact.id]
        assert [made.id for made in run.logged_artifacts()] == [artifact.id]


def test_save_without_a_run_makes_one(draft: Draft) -> None:
    artifact = draft()
    artifact.save(project="elsewhere")
    run = artifact.logged_by()
    assert run is not None
    assert (run.job_type, run.state, run.project, artifact.project) == ("auto", "finished", "elsewhere", "elsewhere")


def test_save_uses_the_active_run(draft: Draft) -> None:
    with regcli.init(name="active"):
        artifact = draft()
        artifact.save()
    assert artifact.logged_by().id == "active"  # type: ignore[union-attr]


def test_runs_are_listed() -> None:
    for number in range(3):
        with regcli.init(project="p", name=f"r{number}", group="g" if number else None, tags=["t"]):
            pass
    assert [run.id for run in Api().runs("p")] == ["r0", "r1", "r2"]
    assert [run.id for run in Api().runs("local/p", {"group": "g"}, "-created_at")] == ["r2", "r1"]
    assert len(Api().runs("p", {"state": "finished", "tags": {"$in": ["t"]}})) == 3
    with pytest.raises(ValueError, match="unknown field"):
        Api().runs("p", {"nope": 1})
    with pytest.raises(CommError, match="there is no run"):
        Api().run("p/nope")


# How runs end

DYING = """
import os, signal, sys, regcli
run = regcli.init(name="dying", project="p")
run.use_artifact("seen:latest")
for number in range(100):
    run.log({"n": number})
artifact = regcli.Artifact("half", "dataset")
with artifact.new_file("a") as stream:
    stream.write("x" * 100000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def lineage_of(ref: str, invoke: Callable[..., Any]) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = invoke("lineage", ref, "--json").ok().json["nodes"]
    return nodes


def test_a_killed_process_leaves_a_crashed_run_and_nothing_half_logged(draft: Draft, invoke: Callable[..., Any]) -> None:
    with regcli.init(project="p") as before:
        before.log_artifact(draft("seen"))
    assert python(DYING).returncode == -signal.SIGKILL
    run = Api().run("p/dying")
    assert run.state == "crashed"
    states = {node["ref"]: node["state"] for node in lineage_of("local/p/seen", invoke) if node["kind"] == "run"}
    assert states == {"local/p/dying": "crashed", before.path: "finished"}
    assert "local/p/dying  [run, crashed]" in invoke("lineage", "local/p/seen").ok().stdout
    assert [row["n"] for row in run.scan_history()] == list(range(100))
    assert run.summary == {"n": 99}
    assert not Api().artifact_exists("local/p/half:v0")
    with regcli.init(project="p", id="dying", resume="must") as again:
        again.log({"n": 100})
    assert (Api().run("p/dying").state, Api().run("p/dying").lastHistoryStep) == ("finished", 100)


@pytest.mark.parametrize(
    ("last", "state"),
    [("", "finished"), ("raise KeyError", "failed"), ("os._exit(3)", "crashed")],
    ids=["end", "raise", "exit"],
)
def test_a_process_that_ends_without_finishing(last: str, state: str) -> None:
    code = f"import os, regcli\nrun = regcli.init(name='left', project='p')\nrun.log({{'a': 1}}, step=3)\n{last}\n"
    python(code)
    run = Api().run("p/left")
    assert run.state == state
    assert [row["_step"] for row in run.scan_history()] == ([3] if state != "crashed" else [])


def test_a_forked_child_does_not_end_its_parents_run() -> None:
    code = """
import os, sys, regcli
run = regcli.init(name="parent", project="p")
if os.fork() == 0:
    sys.exit(0)
os.wait()
assert regcli.Api().run("p/parent").state == "running"
run.log({"a": 1})
"""
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert Api().run("p/parent").state == "finished"


def test_a_script_ends_quietly(work: Path) -> None:
    code = """
import regcli
artifact = regcli.Artifact("data", "dataset")
with artifact.new_file("a", "xb") as stream:
    stream.write(b"x" * (2 << 20))
artifact.add_dir(".", name="here")
run = regcli.init()
run.log_artifact(artifact).download()
"""
    (work / "small").write_text("x")
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_row_that_was_cut_off_is_left_out_and_cut(root: Path) -> None:
    with regcli.init(id="cut") as run:
        run.log({"a": 1})
        run.log({"a": 2})
    path = Path(run._chain.base) / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"_step":2,"_timest')
    assert [row["a"] for row in Api().run("cut").scan_history()] == [1, 2]
    with regcli.init(id="cut") as run:
        run.log({"a": 3})
    assert [row["a"] for row in Api().run("cut").scan_history()] == [1, 2, 3]
    path.write_bytes(b"garbage\n" + whole)
    with pytest.raises(regcli.RegcliError, match="corrupt"):
        list(Api().run("cut").scan_history())


def test_processes_are_told_apart() -> None:
    own = describe_process("here")
    assert not is_dead(own, "here")
    assert not is_dead({**own, "host": "there", "pid": 2**22 + 1}, "here")
    assert is_dead({**own, "started": 1}, "here")
    assert is_dead({**own, "boot": "another"}, "here")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = describe_process("here", child.pid)
    assert not is_dead(process, "here")
    child.kill()
    deadline = time.monotonic() + 30
    while not is_dead(process, "here") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_dead(process, "here")
    child.communicate()
    assert is_dead(process, "here")
    assert not is_dead(None, "here")


# One version of several processes

PART = """
import sys, regcli
number = sys.argv[1]
with regcli.init(project="p", name=f"part-{number}", group="experiment") as run:
    artifact = regcli.Artifact("whole", "dataset", metadata={f"part{number}": int(number)})
    with artifact.new_file(f"part-{number}.txt") as stream:
        stream.write(number)
    run.upsert_artifact(artifact, aliases=[f"has-{number}"])
"""


def test_several_processes_build_one_version() -> None:
    parts = [
        subprocess.Popen([sys.executable, "-c", PART, str(number)], stderr=subprocess.PIPE, encoding="utf-8")
        for number in range(4)
    ]
    for part in parts:
        _, errors = part.communicate(timeout=120)
        assert part.returncode == 0, errors
    assert not Api().artifact_exists("local/p/whole")
    with regcli.init(project="p", group="experiment") as run:
        last = Artifact("whole", "dataset")
        with last.new_file("last.txt") as stream:
            stream.write("end")
        made = run.finish_artifact(last, aliases=["done"])
    assert made.version == "v0"
    assert sorted(made.manifest.entries) == ["last.txt", *(f"part-{number}.txt" for number in range(4))]
    assert made.metadata == {f"part{number}": number for number in range(4)}
    assert set(made.aliases) == {"latest", "done", *(f"has-{number}" for number in range(4))}
    assert made.logged_by().id == run.id  # type: ignore[union-attr]
    made.download("out")
    assert Path("out/part-3.txt").read_text() == "3"
    with regcli.init(project="p", group="experiment") as run, pytest.raises(CommError, match="no process has added a part"):
        run.finish_artifact(Artifact("whole", "dataset"))


def test_parts_that_do_not_fit(draft: Draft) -> None:
    with regcli.init() as run:
        with pytest.raises(TypeError, match="distributed_id"):
            run.upsert_artifact(draft())
        run.upsert_artifact(draft(files={"a": "1"}), distributed_id="d")
        with pytest.raises(ValueError, match="has type"):
            run.upsert_artifact(draft(type="model"), distributed_id="d")
        with pytest.raises(CommError, match="different content"):
            run.upsert_artifact(draft(files={"a": "2"}), distributed_id="d")
        with pytest.raises(CommError, match="digests"):
            run.upsert_artifact(draft(files={"b": "2"}, digest_algorithm="MD5"), distributed_id="d")
        made = run.finish_artifact(draft(files={"b": "2"}), distributed_id="d")
        assert sorted(made.manifest.entries) == ["a", "b"]
        again = run.upsert_artifact(draft(files={"c": "1"}), distributed_id="d")
        assert (again.is_draft(), again.distributed_id) == (True, "d")
        assert sorted(run.finish_artifact(draft(files={}), distributed_id="d").manifest.entries) == ["c"]


def test_history_lines_are_json(root: Path) -> None:
    with regcli.init() as run:
        run.log({"é": "日本"})
    rows = (Path(run._chain.base) / "metrics.jsonl").read_text(encoding="ascii").splitlines()
    assert json.loads(rows[0])["é"] == "日本"
    assert os.stat(Path(run._chain.base) / "metrics.jsonl").st_size == len(rows[0]) + 1


# What verify and gc know of them


def test_damaged_metrics_are_found_by_verify(root: Path, invoke: Callable[..., Any]) -> None:
    with regcli.init(id="damaged") as run:
        run.log({"a": 1})
        run.log({"a": 2})
    path = Path(run._chain.base) / "metrics.jsonl"
    whole = path.read_bytes()
    for damaged in (whole.replace(b'"a":1', b'"a":7'), whole[: whole.index(b"\n") + 1], b"garbage\n" + whole, b""):
        path.write_bytes(damaged)
        problems = invoke("verify", "--json").json["problems"]
        assert [(problem["kind"], problem["path"]) for problem in problems] == [("history", str(path))], damaged
    path.unlink()
    assert invoke("verify").code == 1
    path.write_bytes(whole + b'{"_step":2,')
    assert invoke("verify").code == 0


def test_parts_that_wait_are_kept_and_verified(draft: Draft, root: Path, invoke: Callable[..., Any]) -> None:
    with regcli.init() as run:
        run.upsert_artifact(draft(files={"a": "waiting"}), distributed_id="d")
        invoke("gc", "--grace", "0").ok()
        assert invoke("verify").code == 0
        made = run.finish_artifact(draft(files={"b": "last"}), distributed_id="d")
        made.download("out")
    assert Path("out/a").read_text() == "waiting"


def test_the_history_of_a_run_names_its_events(invoke: Callable[..., Any], draft: Draft) -> None:
    with regcli.init(name="told") as run:
        run.log_artifact(draft())
    events = invoke("history", "--json").ok().json["events"]
    assert {"version-created"} <= {event["action"] for event in events}


def test_the_history_says_how_many_steps_a_run_logged() -> None:
    with regcli.init(project="zoo", name="measured") as run:
        run.log({"loss": 1.0})
        run.log({"loss": 0.5})
    context = session.context_for("test")
    events = read_events(context, None)
    assert context.warnings == []
    changes = [(event["ref"], event["before"], event["after"]) for event in events if event["action"] == "history-changed"]
    assert changes == [("local/zoo/measured", None, "2 steps")]


def test_a_part_of_the_history_is_read_by_step() -> None:
    with regcli.init(name="long") as run:
        for step in range(5):
            run.log({"loss": step})
    stored = Api().run("long")
    assert [row["loss"] for row in stored.scan_history(["loss"], min_step=1, max_step=3)] == [1, 2]


def test_parts_of_a_version_are_in_the_history(draft: Draft) -> None:
    with regcli.init(project="zoo", name="worker", group="night") as run:
        run.upsert_artifact(draft("whole", {"a": "1"}))
        run.finish_artifact(draft("whole", {"b": "2"}))
    context = session.context_for("test")
    events = [event for event in read_events(context, "local/zoo/") if event["action"].startswith("part")]
    assert context.warnings == []
    assert [(event["action"], event["ref"]) for event in events] == [
        ("parts-begun", "local/zoo/whole"),
        ("part-added", "local/zoo/whole"),
        ("part-added", "local/zoo/whole"),
        ("parts-finished", "local/zoo/whole"),
    ]
    assert events[0]["after"] == {"name": "whole", "type": "dataset", "distributed_id": "night"}
    assert (events[1]["after"]["run"], events[3]["after"]) == ("worker", "local/zoo/whole:v0")
    assert [event["command"] for event in events[1:]] == ["Run.upsert_artifact", "Run.finish_artifact", "Run.finish_artifact"]


def test_a_part_that_waits_for_the_next_version_is_one_event(draft: Draft) -> None:
    from regcli.domain import distributed

    with regcli.init(project="zoo", name="worker", group="night") as run:
        run.upsert_artifact(draft("whole", {"a": "1"}))
        chain = distributed.parts_chain(session.context_for("test", "zoo"), "whole", "night")
        late = {**chain.read().state["parts"][0]}
        session.context_for("test").transact(
            chain,
            lambda _: [
                {"op": "finish", "before": 1, "after": "local/zoo/whole:v0"},
                {"op": "part", "before": None, "after": late},
            ],
        )
    actions = [event["action"] for event in read_events(session.context_for("test"), None, action="part-added")]
    assert actions == ["part-added"]
