"""Runs: named units of work that use versions (inputs) and log versions (outputs). Each has a log of its own."""

from __future__ import annotations

from regcli.domain.shapes import check_run
from regcli.errors import BusyError, ConflictError, NotFoundError, RegcliError
from regcli.model import ProjectRef, RunName, quote
from regcli.store import backrefs
from regcli.store.chain import Chain
from regcli.store.files import random_hex
from regcli.store.layout import encode_name, project_path, run_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.domain.resolving import Version
    from regcli.store.chain import Snapshot
    from regcli.store.records import Records

    State = dict[str, Any]

RUNNING = "running"
FINISHED = "finished"
FAILED = "failed"
CRASHED = "crashed"


def empty_state() -> State:
    """Return the state before the first commit."""
    return {
        "id": None,
        "name": None,
        "entity": None,
        "project": None,
        "job_type": None,
        "config": {},
        "summary": {},
        "state": None,
        "used": [],
        "logged": [],
        "title": None,
        "group": None,
        "tags": [],
        "notes": None,
        "process": None,
        "history": None,
        "created_at": None,
        "created_by": None,
        "updated_at": None,
    }


def reduce_run(state: State, records: Records, commit: dict[str, Any]) -> None:  # noqa: ARG001 - runs have no records
    """Apply one commit of a run's log."""
    for op in commit["ops"]:
        name = op["op"]
        if name == "create":
            state.update({key: op[key] for key in ("id", "name", "entity", "project", "job_type", "config")})
            state.update({key: op[key] for key in ("title", "group", "tags", "notes", "process") if key in op})
            state.update(state=RUNNING, created_at=commit["time"], created_by=commit["user"])
        elif name == "use":
            state["used"].append(op["after"])
        elif name == "output":
            state["logged"].append(op["after"])
        elif name == "set":
            state[op["field"]] = op["after"]
        else:
            raise ValueError(f"unknown operation {name!r}")
        state["updated_at"] = commit["time"]


def run_chain(context: Context, project: ProjectRef, name: str) -> Chain:
    """Return the log of a run."""
    base = f"{project_path(context.root.path, project.entity, project.project)}/runs/{encode_name(name)}"
    return chain_of(context, base)


def chain_of(context: Context, base: str) -> Chain:
    """Return the log of the run that lies in a directory."""
    place = "/".join(base.split("/")[-5:])
    derived = context.root.derived(base)
    return Chain(base, f"{base}/log", context.root.id, reduce_run, empty_state, place, derived=derived, check_state=check_run)


def place_of(chain: Chain) -> str:
    """Return a run's directory relative to the root."""
    return chain.base[chain.base.rindex("/projects/") + 1 :]


def run_ref(state: State) -> str:
    """Return a run's reference, `ENTITY/PROJECT/NAME`."""
    return f"{state['entity']}/{state['project']}/{state['name']}"


def creation(
    project: ProjectRef, name: str, job_type: str | None = None, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the operation that begins a run."""
    return {
        "op": "create",
        "id": random_hex(16),
        "name": name,
        "entity": project.entity,
        "project": project.project,
        "job_type": job_type,
        "config": config or {},
    }


def ensure_run(context: Context, text: str) -> tuple[Chain, str]:
    """Begin the run of that name in the current project unless it is there; returns its log and reference."""
    name = RunName.parse(text)
    project = context.project
    chain = run_chain(context, project, name)
    state = chain.read().state
    if state["name"] is not None:
        # Whatever is recorded in its log next makes its beginning durable too.
        return chain, run_ref(state)

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        return [creation(project, name)] if snapshot.state["name"] is None else []

    return chain, run_ref(context.transact(chain, check).snapshot.state)


def begin_run(
    context: Context,
    name: str,
    *,
    job_type: str | None = None,
    config: dict[str, Any] | None = None,
    title: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    resume: bool | None = None,
) -> tuple[Chain, Snapshot, bool]:
    """Begin a run in the current project, as this process.

    Args:
        context: who runs it, and where.
        name: its unique name in the project.
        job_type: what kind of work it is.
        config: its settings, JSON values.
        title: how it is shown, the name by default.
        group: name of the experiment that it is a part of.
        tags: words to find it by.
        notes: free text.
        resume: True goes on with a run that must be there, False refuses one that is, None does either.

    Returns:
        Its log, its state, and whether it was there before.

    Raises:
        ConflictError: `resume` is False and there is one. NotFoundError: `resume` is True and there is none.
        BusyError: a living process runs it.
    """
    from regcli.domain.processes import describe_process, is_alive

    context.make_root()
    name = RunName.parse(name)
    project = context.project
    chain = run_chain(context, project, name)
    process = describe_process(context.host)
    existed = False

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        nonlocal existed
        before = snapshot.state
        existed = before["name"] is not None
        if existed and resume is False:
            raise ConflictError(f"run {quote(run_ref(before))} exists already", hint="choose another name")
        if not existed and resume:
            raise NotFoundError(f"there is no run {quote(f'{project}/{name}')} to go on with")
        if existed and before["state"] == RUNNING and is_alive(before.get("process"), context.host):
            raise BusyError(
                f"run {quote(run_ref(before))} is being run by process {before['process']['pid']}",
                hint="finish it first, or give each process a run of its own in one group",
            )
        if existed:
            return _changes(before, {
                "state": RUNNING, "process": process, "config": {**before["config"], **(config or {})},
                "job_type": job_type or before["job_type"], "notes": notes or before.get("notes"),
            })  # fmt: skip
        further = {"title": title, "group": group, "tags": list(tags), "notes": notes, "process": process}
        return [{**creation(project, name, job_type, config), **further}]

    snapshot = context.transact(chain, check).snapshot
    return chain, snapshot, existed


def _changes(state: State, after: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"op": "set", "field": field, "before": state.get(field), "after": value}
        for field, value in after.items()
        if state.get(field) != value
    ]


def update_run(context: Context, chain: Chain, fields: dict[str, Any]) -> Change:
    """Set fields of a run (`state`, `config`, `summary`, `history`, …) in one transaction."""

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        return _changes(snapshot.state, fields)

    return context.transact(chain, check)


def run_state(context: Context, state: State) -> str:
    """Return `running`, `finished`, `failed`, or `crashed` for a run whose process ended without saying so."""
    from regcli.domain.processes import is_dead

    said: str = state["state"]
    return CRASHED if said == RUNNING and is_dead(state.get("process"), context.host) else said


def list_runs(context: Context, project: ProjectRef) -> list[tuple[Chain, Snapshot]]:
    """Return the runs of a project, newest first; a damaged one is skipped with a warning."""
    found = []
    for base in run_paths(project_path(context.root.path, project.entity, project.project)):
        chain = chain_of(context, base)
        try:
            snapshot = chain.read()
        except RegcliError as error:
            context.warnings.append(error.message)
            continue
        if snapshot.state["name"] is not None:
            found.append((chain, snapshot))
    return sorted(found, key=lambda item: str(item[1].state["created_at"]), reverse=True)


def edge(version: Version) -> dict[str, Any]:
    """Return what an edge keeps of the version it points to."""
    return {
        "ref": version.ref,
        "place": version.collection.place,
        "version": version.index,
        "id": version.record["id"],
        "digest": version.digest,
    }


def uses(state: State, artifact_id: str) -> bool:
    """Tell whether a run of this state used an artifact."""
    return any(used["id"] == artifact_id for used in state["used"])


def _use_operations(context: Context, chain: Chain, state: State, version: Version) -> list[dict[str, Any]]:
    """Return the operation that a run uses a version, after writing the marker; using it again changes nothing."""
    artifact_id = version.record["id"]
    if uses(state, artifact_id):
        return []
    backrefs.add_backref(context.root.path, artifact_id, backrefs.USE, place_of(chain), 0)
    return [{"op": "use", "before": None, "after": {**edge(version), "at": context.now()}}]


def record_use(context: Context, chain: Chain, version: Version) -> Change:
    """Record that a run used a version; using it again changes nothing."""
    return context.transact(chain, lambda snapshot: _use_operations(context, chain, snapshot.state, version))


def use_in(context: Context, name: str, version: Version, *, job_type: str | None = None) -> tuple[Change, str]:
    """Record that the run of that name in the current project used a version; begins the run in the same commit.

    Returns:
        What changed in the run's log, and the run's reference.
    """
    project = context.project
    chain = run_chain(context, project, name)

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        begun = [] if snapshot.state["name"] is not None else [creation(project, name, job_type)]
        return begun + _use_operations(context, chain, snapshot.state, version)

    change = context.transact(chain, check)
    return change, run_ref(change.snapshot.state)


def read_place(context: Context, place: str) -> State | None:
    """Return the state of the run at a place of the root, or None where there is none."""
    parts = place.split("/")
    if len(parts) != 5 or parts[0] != "projects" or parts[3] != "runs" or any(part in ("", ".", "..") for part in parts):
        return None
    state = chain_of(context, f"{context.root.path}/{place}").read().state
    return state if state["name"] is not None else None


def record_output(context: Context, chain: Chain, version: Version) -> Change:
    """Record that a run logged a version."""

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        if any(item["id"] == version.record["id"] for item in snapshot.state["logged"]):
            return []
        return [{"op": "output", "before": None, "after": edge(version)}]

    return context.transact(chain, check)


def read_run(context: Context, text: str) -> tuple[Chain, Snapshot]:
    """Find a run by `NAME` or `ENTITY/PROJECT/NAME`.

    Raises:
        NotFoundError: there is none.
    """
    parts = text.split("/")
    project = context.project if len(parts) != 3 else ProjectRef(parts[0], parts[1])
    chain = run_chain(context, project, parts[-1])
    snapshot = chain.read()
    if snapshot.state["name"] is None:
        raise NotFoundError(f"there is no run {quote(text)}")
    return chain, snapshot


def run_used(context: Context, place: str, artifact_id: str) -> list[str]:
    """Return the reference of the run at a place if it used the artifact, else nothing."""
    state = read_place(context, place)
    return [run_ref(state)] if state is not None and uses(state, artifact_id) else []


def runs_that_used(context: Context, artifact_id: str) -> list[tuple[Chain, Snapshot]]:
    """Return the runs that used an artifact, through whichever of its memberships, ordered by reference."""
    found = {}
    for _, place, _ in backrefs.read_backrefs(context.root.path, artifact_id, backrefs.USE, unread=context.warnings):
        if run_used(context, place, artifact_id):
            chain = chain_of(context, f"{context.root.path}/{place}")
            snapshot = chain.read()
            found[run_ref(snapshot.state)] = (chain, snapshot)
    return [found[ref] for ref in sorted(found)]


def edge_version(context: Context, item: dict[str, Any]) -> Version | None:
    """Return the version that an edge of a run leads to, or None where it is gone."""
    from regcli.domain.collections import open_place
    from regcli.domain.resolving import Version

    collection = open_place(context, item["place"])
    record = collection.snapshot.records.get(item["version"])
    if record is None or record["id"] != item["id"] or not collection.exists:
        return None
    return Version(collection, item["version"], record)
