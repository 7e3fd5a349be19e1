"""Runs: named units of work that use versions (inputs) and log versions (outputs). Each has a log of its own."""

from __future__ import annotations

from regcli.errors import NotFoundError
from regcli.model import ArtifactName, ProjectRef, quote
from regcli.store import backrefs
from regcli.store.chain import Chain
from regcli.store.files import random_hex
from regcli.store.layout import encode_name, project_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.domain.resolving import Version
    from regcli.store.chain import Snapshot
    from regcli.store.records import Records

    State = dict[str, Any]

RUNNING = "running"
FINISHED = "finished"


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
    return Chain(base, f"{base}/log", context.root.id, reduce_run, empty_state, place)


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
    name = ArtifactName.parse(text)
    project = context.project
    chain = run_chain(context, project, name)

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        return [creation(project, name)] if snapshot.state["name"] is None else []

    return chain, run_ref(context.transact(chain, check).snapshot.state)


def edge(version: Version) -> dict[str, Any]:
    """Return what an edge keeps of the version it points to."""
    return {
        "ref": version.ref,
        "place": version.collection.place,
        "version": version.index,
        "id": version.record["id"],
        "digest": version.digest,
    }


def record_use(context: Context, chain: Chain, version: Version) -> Change:
    """Record that a run used a version; using it again changes nothing."""

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        if any(used["id"] == version.record["id"] for used in snapshot.state["used"]):
            return []
        backrefs.add_backref(context.root.path, version.record["id"], backrefs.USE, place_of(chain), 0)
        return [{"op": "use", "before": None, "after": {**edge(version), "at": context.now()}}]

    return context.transact(chain, check)


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
    parts = place.split("/")
    if len(parts) != 5 or parts[0] != "projects" or parts[3] != "runs" or any(part in ("", ".", "..") for part in parts):
        return []
    state = chain_of(context, f"{context.root.path}/{place}").read().state
    return [run_ref(state)] if any(used["id"] == artifact_id for used in state["used"]) else []
