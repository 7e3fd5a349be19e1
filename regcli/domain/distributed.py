"""One version built by several processes: each adds its part, and whoever finishes makes the version of all parts.

The parts of a version lie in a log of their own beside the project's collections (FORMAT.md 4): a part is published with
its content, so nothing of it is lost when its process ends. Source: the W&B SDK's `upsert_artifact`/`finish_artifact`.
"""

from __future__ import annotations

from regcli.domain.log import log_version
from regcli.domain.log_request import Logged, LogRequest, collect, merge_tags
from regcli.domain.shapes import check_parts
from regcli.errors import ConflictError, NotFoundError, TypeMismatchError
from regcli.model import Alias, ArtifactName, Tag, quote
from regcli.store.chain import Chain
from regcli.store.layout import encode_name, part_paths, project_path, project_paths
from regcli.store.manifest import decode_manifest, encode_manifest
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.model import TypeName
    from regcli.store.chain import Snapshot
    from regcli.store.manifest import Entry
    from regcli.store.records import Records

    State = dict[str, Any]


def empty_state() -> State:
    """Return the state before the first part."""
    return {"name": None, "distributed_id": None, "type": None, "algorithm": None, "parts": [], "finished": []}


def reduce_parts(state: State, records: Records, commit: dict[str, Any]) -> None:  # noqa: ARG001 - there are no records
    """Apply one commit of the log of a version's parts."""
    for op in commit["ops"]:
        name = op["op"]
        if name == "create":
            state.update({key: op[key] for key in ("name", "distributed_id", "type", "algorithm")})
        elif name == "part":
            state["parts"].append(op["after"])
        elif name == "finish":
            state["parts"] = []
            state["finished"].append(op["after"])
        else:
            raise ValueError(f"unknown operation {name!r}")


def parts_chain(context: Context, name: str, distributed_id: str) -> Chain:
    """Return the log of the parts of one version in the current project."""
    project = context.project
    owner = project_path(context.root.path, project.entity, project.project)
    return chain_of(context, f"{owner}/parts/{encode_name(name)}/{encode_name(distributed_id)}")


def all_chains(context: Context) -> Iterator[Chain]:
    """Yield the logs of all parts in the root."""
    for project in project_paths(context.root.path):
        for base in part_paths(project):
            yield chain_of(context, base)


def open_parts(context: Context, since: str) -> list[dict[str, Any]]:
    """Return the parts that were added after a time and wait to be finished: what a sweep of content must keep.

    Each has `manifest` and `manifest_sha256`, as a version's record has. Older ones count as abandoned.

    Raises:
        IntegrityError: a log cannot be read.
    """
    return [part for chain in all_chains(context) for part in chain.read().state["parts"] if part["at"] > since]


def chain_of(context: Context, base: str) -> Chain:
    """Return the log of the parts that lies in a directory."""
    # Their commits name no place, so that the root has to be said.
    return Chain(
        base, f"{base}/log", context.root.id, reduce_parts, empty_state, root=context.root.path, check_state=check_parts
    )


def add_part(context: Context, request: LogRequest, distributed_id: str) -> int:
    """Publish one process's part of a version; returns how many parts there are now.

    Args:
        context: who adds it; the current project is the version's.
        request: name, type, contents and what is recorded with the version.
        distributed_id: what the parts of one version have in common.

    Raises:
        TypeMismatchError: another part has another type. ConflictError: another part has another digest algorithm, or
        other content under one path; nothing was added.
    """
    context.make_root()
    name = ArtifactName.parse(request.name)
    chain = parts_chain(context, name, distributed_id)
    with context.lock("content"), context.root.content.batch() as batch:
        entries, _ = collect(context, batch, request)
        data = encode_manifest(entries, request.algorithm)
        part = {
            "manifest": batch.put_bytes(data),
            "manifest_sha256": sha256_hex(data),
            "description": request.description,
            "metadata": request.metadata or {},
            "aliases": [str(alias) for alias in request.aliases],
            "tags": [str(tag) for tag in request.tags],
            "run": request.run,
            "at": context.now(),
        }
        batch.publish()

        def check(snapshot: Snapshot) -> list[dict[str, Any]]:
            state = snapshot.state
            ops: list[dict[str, Any]] = []
            if state["name"] is None:
                ops.append({
                    "op": "create", "name": str(name), "distributed_id": distributed_id, "type": str(request.type),
                    "algorithm": request.algorithm,
                })  # fmt: skip
            else:
                _check_alike(request, state)
                _merge(context, [*state["parts"], part])
            return [*ops, {"op": "part", "before": None, "after": part}]

        return len(context.transact(chain, check).snapshot.state["parts"])


def finish_parts(context: Context, name: str, distributed_id: str, request: LogRequest) -> Logged:
    """Make the next version of all parts that were added; `request` carries what the finishing process adds to it.

    Raises:
        NotFoundError: there are no parts.
    """
    artifact = ArtifactName.parse(name)
    chain = parts_chain(context, artifact, distributed_id)
    snapshot = chain.read()
    parts = snapshot.state["parts"]
    if not parts:
        raise NotFoundError(f"no process has added a part of {quote(name)} as {quote(distributed_id)}")
    request.algorithm = snapshot.state["algorithm"]
    request.entries = _merge(context, parts)
    for part in parts:
        request.metadata = {**part["metadata"], **(request.metadata or {})}
        request.description = request.description or part["description"]
        request.aliases = list({**dict.fromkeys(request.aliases), **dict.fromkeys(_aliases(part))})
        request.tags = _tags(request, part)
    logged = log_version(context, request)
    made = logged.version.ref if logged.version is not None else logged.ref
    count = len(parts)

    def check(now: Snapshot) -> list[dict[str, Any]]:
        # A part that came while the version was made stays for the next one.
        late = now.state["parts"][count:]
        ops: list[dict[str, Any]] = [{"op": "finish", "before": count, "after": made}]
        return ops + [{"op": "part", "before": None, "after": part} for part in late]

    context.transact(chain, check)
    return logged


def _aliases(part: dict[str, Any]) -> list[Any]:
    return [Alias.parse(alias) for alias in part["aliases"]]


def _tags(request: LogRequest, part: dict[str, Any]) -> list[Any]:
    return [Tag(tag) for tag in merge_tags(part["tags"], request.tags)]


def _check_alike(request: LogRequest, state: State) -> None:
    kind: TypeName | None = request.type
    if kind is not None and str(kind) != state["type"]:
        raise TypeMismatchError(f"another part of {quote(request.name)} has type {quote(state['type'])}, not {quote(kind)}")
    if request.algorithm != state["algorithm"]:
        raise ConflictError(f"another part of {quote(request.name)} has digests of {state['algorithm']}")


def _merge(context: Context, parts: list[dict[str, Any]]) -> list[Entry]:
    merged: dict[str, Entry] = {}
    for part in parts:
        where = f"manifest {part['manifest']}"
        for entry in decode_manifest(context.root.content.read(part["manifest"]), where)[1]:
            before = merged.setdefault(entry[0], entry)
            if before[1] != entry[1]:
                raise ConflictError(
                    f"two parts give the path {quote(entry[0])} different content", hint="give each process names of its own"
                )
    return list(merged.values())
