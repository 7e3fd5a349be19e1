"""Lineage: what a version was made from, and what was made from it, across links, runs and projects.

The graph has three kinds of nodes: versions (where they were logged), runs, and links. Edges point the way the data went:
`use` from a version to the run that used it, `output` from a run to what it logged, `input` from a version to one that
was logged from it without a run, `link` from a version to where it was published. All of them are read from the
logs; the markers of `store/backrefs.py` only say where to look.
"""

from __future__ import annotations

from regcli.domain import runs
from regcli.domain.collections import Collection, is_live, open_place
from regcli.domain.resolving import Version, resolve, source_of
from regcli.domain.roles import allows
from regcli.errors import RegcliError, UsageError
from regcli.model import ArtifactName, ProjectRef, RunName
from regcli.store import backrefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from regcli.domain.context import Context

    State = dict[str, Any]

UP = "up"
DOWN = "down"
BOTH = "both"

VERSION = "version"
RUN = "run"
LINK = "link"

# Where the kinds of edges lead: from left to right the data went.
INPUT = "input"
USE = "use"
OUTPUT = "output"


class Node:
    """A version, a run or a link.

    Attributes:
        kind: `version`, `run` or `link`. ref: its canonical reference, unique in the graph.
        depth: steps from where the walk began; negative towards what it was made from.
        details: what else is known: `type`, `version`, `digest`, `state`, `aliases`, `created_at`, `created_by`, …
    """

    __slots__ = ("depth", "details", "kind", "origin", "ref")

    def __init__(self, kind: str, ref: str, details: dict[str, Any], origin: Any) -> None:
        """Describe the node; `origin` is what its neighbours are found from."""
        self.kind = kind
        self.ref = ref
        self.details = details
        self.origin = origin
        self.depth = 0

    def document(self) -> dict[str, Any]:
        """Return the node as JSON shows it."""
        return {"id": self.ref, "kind": self.kind, "ref": self.ref, "depth": self.depth, **self.details}


class Graph:
    """The outcome of a walk: nodes by reference, the first is where it began, and edges `(from, to, kind)`."""

    __slots__ = ("_seen", "direction", "edges", "nodes", "truncated")

    def __init__(self, direction: str) -> None:
        """Start empty."""
        self.direction = direction
        self.nodes: dict[str, Node] = {}
        self.edges: list[tuple[str, str, str]] = []
        self.truncated = False
        self._seen: set[tuple[str, str, str]] = set()

    @property
    def start(self) -> Node:
        """The node that was asked for."""
        return next(iter(self.nodes.values()))

    def connect(self, source: str, target: str, kind: str) -> None:
        """Add an edge unless it is there."""
        edge = (source, target, kind)
        if edge not in self._seen:
            self._seen.add(edge)
            self.edges.append(edge)

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "ref": self.start.ref,
            "direction": self.direction,
            "nodes": [node.document() for node in self.nodes.values()],
            "edges": [{"from": source, "to": target, "kind": kind} for source, target, kind in self.edges],
            "truncated": self.truncated,
        }


def lineage(context: Context, text: str, *, direction: str = BOTH, depth: int | None = None) -> Graph:
    """Return what a version was made from (`up`), what was made from it (`down`), or both.

    Args:
        context: who asks, and where.
        text: a reference; of a link, the walk goes on from its source.
        direction: `up`, `down` or `both`: ancestors and descendants, not the siblings between them.
        depth: at most so many steps, runs and links counted; None for all.

    Raises:
        NotFoundError: no such version. RoleError: the user may not look into its registry.
    """
    version = resolve(context, text, deleted=True)
    walk = _Walk(context, direction)
    start = walk.link_node(version) if version.is_link else walk.version_node(version)
    walk.graph.nodes[start.ref] = start
    if direction in (UP, BOTH):
        walk.run(start, -1, depth)
    if direction in (DOWN, BOTH):
        walk.run(start, 1, depth)
    return walk.graph


class _Walk:
    """Walks the graph breadth first, opening each collection and run once."""

    def __init__(self, context: Context, direction: str) -> None:
        self._context = context
        self.graph = Graph(direction)
        self._collections: dict[str, Collection | None] = {}
        self._runs: dict[str, State | None] = {}

    def run(self, start: Node, step: int, limit: int | None) -> None:
        """Visit everything in one direction, level by level; a node is expanded once, so cycles end."""
        done = {start.ref}
        level = [start]
        depth = 0
        while level:
            depth += 1
            reached = []
            for node in level:
                if node.kind == LINK and node is not start and step > 0:
                    # What came of it hangs on its source, where it was recorded: another publication made nothing.
                    continue
                for other, kind in self._neighbours(node, step):
                    if limit is not None and depth > limit:
                        self.graph.truncated = True
                        return
                    known = self.graph.nodes.get(other.ref)
                    if known is None:
                        other.depth = depth * step
                        known = self.graph.nodes[other.ref] = other
                    ends = (known.ref, node.ref) if step < 0 else (node.ref, known.ref)
                    self.graph.connect(*ends, kind)
                    if known.ref not in done:
                        done.add(known.ref)
                        reached.append(known)
            level = reached

    def _neighbours(self, node: Node, step: int) -> Iterator[tuple[Node, str]]:
        if node.kind == RUN:
            yield from self._of_run(node.origin, step)
        elif node.kind == LINK:
            yield from self._of_link(node.origin, step)
        elif step < 0:
            yield from self._above(node.origin)
        else:
            yield from self._below(node.origin)

    def _of_run(self, state: State, step: int) -> Iterator[tuple[Node, str]]:
        for item in state["used"] if step < 0 else state["logged"]:
            yield self._edge_node(item), USE if step < 0 else OUTPUT

    def _of_link(self, version: Version, step: int) -> Iterator[tuple[Node, str]]:
        source = self._source(version)
        if source is None:
            kept = version.record["source"]
            ref = f"{kept['entity']}/{kept['project']}/{kept['name']}:v{kept['version']}"
            if step < 0:
                yield Node(VERSION, ref, {"type": version.collection.state["type"], "state": "MISSING"}, None), LINK
            return
        node = self.version_node(source)
        if step < 0:
            yield node, LINK
        else:
            # Whoever used the artifact used it whatever the name: what came of a link is what came of its source.
            for other, kind in self._below(source):
                if kind != LINK:
                    yield other, kind

    def _above(self, version: Version | None) -> Iterator[tuple[Node, str]]:
        if version is None:
            return
        run = self._producer(version)
        covered: set[str] = set()
        if run is not None:
            covered = {item["id"] for item in run["used"]}
            yield self._run_node(run), OUTPUT
        for item in version.record["inputs"]:
            # What the run used leads here through the run.
            if item["id"] not in covered:
                yield self._edge_node(item), INPUT

    def _producer(self, version: Version) -> State | None:
        name = version.record["run"]
        if not name:
            return None
        parts = name.split("/")
        if len(parts) != 3:
            return None
        try:
            chain = runs.run_chain(self._context, ProjectRef(parts[0], parts[1]), ArtifactName.parse(parts[2]))
        except RegcliError:
            return None
        return self._run_at(runs.place_of(chain))

    def _below(self, version: Version | None) -> Iterator[tuple[Node, str]]:
        if version is None:
            return
        identity = version.record["id"]
        context = self._context
        for kind, place, number in backrefs.read_backrefs(context.root.path, identity, unread=context.warnings):
            if kind == backrefs.USE:
                run = self._run_at(place)
                if run is not None and runs.uses(run, identity):
                    yield self._run_node(run), USE
                continue
            collection = self._collection(place)
            record = collection.snapshot.records.get(number) if collection is not None else None
            if collection is None or record is None:
                continue
            other = Version(collection, number, record)
            if kind == backrefs.INPUT and any(item["id"] == identity for item in record["inputs"]):
                run = self._producer(other)
                if run is None or not runs.uses(run, identity):
                    yield self.version_node(other), INPUT
            elif kind == backrefs.LINK and record["id"] == identity and is_live(record) and collection.exists:
                registry = collection.registry
                if registry is None or allows(registry.state, context.user, "view"):
                    yield self.link_node(other), LINK

    def _edge_node(self, item: dict[str, Any]) -> Node:
        """Return the node that an edge of a record or a run points to, even when the version itself cannot be read."""
        collection = self._collection(item["place"])
        record = collection.snapshot.records.get(item["version"]) if collection is not None else None
        if collection is None or record is None or record["id"] != item["id"]:
            return Node(VERSION, item["ref"], {"digest": item["digest"], "state": "MISSING"}, None)
        version = Version(collection, item["version"], record)
        if version.is_link:
            # The edge was recorded under the name that was used; the graph knows the artifact where it was logged.
            source = self._source(version)
            if source is None:
                return Node(VERSION, item["ref"], {"digest": item["digest"], "state": "MISSING"}, None)
            version = source
        return self.version_node(version)

    def version_node(self, version: Version) -> Node:
        """Return a node for a version where it was logged."""
        return Node(VERSION, version.ref, _details(version), version)

    def link_node(self, version: Version) -> Node:
        """Return a node for a link."""
        return Node(LINK, version.ref, {**_details(version), "protected_aliases": version.protected_aliases()}, version)

    def _run_node(self, state: State) -> Node:
        details = {key: state[key] for key in ("job_type", "created_at", "created_by")}
        details["state"] = runs.run_state(self._context, state)
        return Node(RUN, runs.run_ref(state), {"name": state["name"], **details}, state)

    def _source(self, version: Version) -> Version | None:
        try:
            return source_of(self._context, version)
        except (RegcliError, KeyError) as error:
            self._warn(error)
            return None

    def _collection(self, place: str) -> Collection | None:
        if place not in self._collections:
            try:
                self._collections[place] = open_place(self._context, place)
            except RegcliError as error:
                self._warn(error)
                self._collections[place] = None
        return self._collections[place]

    def _run_at(self, place: str) -> State | None:
        if place not in self._runs:
            try:
                state = runs.read_place(self._context, place)
            except RegcliError as error:
                self._warn(error)
                state = None
            self._runs[place] = state
        return self._runs[place]

    def _warn(self, error: Exception) -> None:
        if isinstance(error, RegcliError):
            self._context.warnings.append(error.message)


def _details(version: Version) -> dict[str, Any]:
    record = version.record
    return {
        "type": version.collection.state["type"],
        "version": version.version,
        "digest": record["digest"],
        "state": "COMMITTED" if is_live(record) and version.collection.exists else "DELETED",
        "aliases": version.aliases,
        "created_at": record["created_at"],
        "created_by": record["created_by"],
    }


class Used:
    """The outcome of `use`: the version, the run that used it, whether that is new, and the commit of the run's log."""

    __slots__ = ("created", "run", "seq", "version")

    def __init__(self, version: Version, run: str, seq: int, *, created: bool) -> None:
        """Bundle the outcome."""
        self.version = version
        self.run = run
        self.seq = seq
        self.created = created


def default_run(user: str) -> str:
    """Return the run that `use` without `--run` records under: one for each user."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "-" for c in user)
    return f"cli-{kept}"[:128]


def use(context: Context, text: str, *, run: str | None = None) -> Used:
    """Record that a run uses a version; the run is made when it is missing.

    Args:
        context: who asks, and where.
        text: a reference; the edge leads to the source of a link.
        run: the run's name in the current project, or None for the user's own.

    Raises:
        NotFoundError: no such version. RoleError: the user may not use versions of the registry.
    """
    if run is not None and "/" in run:
        raise UsageError("the run is named without its project", hint="choose the project with --project ENTITY/PROJECT")
    name = RunName.parse(run if run is not None else default_run(context.user))
    # Under the lock that a deletion takes exclusively, so that no edge is made to what is being deleted.
    with context.lock("content"):
        version = resolve(context, text, action="use")
        source = source_of(context, version)
        change, ref = runs.use_in(context, name, source, job_type="cli" if run is None else None)
    return Used(version, ref, change.seq, created=change.commit is not None)
