"""Draws a lineage: as a tree for reading, as Mermaid and DOT for documents and Graphviz."""

from __future__ import annotations

from regcli.model import is_unprintable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.domain.lineage import Graph, Node

# Every level of the tree is indented further, so a chain of thousands of versions would print gigabytes of blanks.
DEEPEST = 100


def tree_lines(graph: Graph) -> Iterator[str]:
    """Yield the tree: first what the version was made from, then what was made from it; a node is expanded once."""
    yield label(graph.start)
    parents: dict[str, list[str]] = {}
    children: dict[str, list[str]] = {}
    for source, target, _ in graph.edges:
        parents.setdefault(target, []).append(source)
        children.setdefault(source, []).append(target)
    sections = []
    if graph.direction != "down" and graph.start.ref in parents:
        sections.append(("made from", {ref: parents.get(ref, []) for ref in graph.nodes if graph.nodes[ref].depth <= 0}))
    if graph.direction != "up" and graph.start.ref in children:
        sections.append(("went into", {ref: children.get(ref, []) for ref in graph.nodes if graph.nodes[ref].depth >= 0}))
    for position, (title, neighbours) in enumerate(sections, 1):
        last = position == len(sections)
        yield f"{'└── ' if last else '├── '}{title}"
        yield from _branches(graph, neighbours, "    " if last else "│   ")
    if graph.truncated:
        yield "… and further: raise --depth"


def _branches(graph: Graph, neighbours: dict[str, list[str]], indent: str) -> Iterator[str]:
    """Yield what lies below the start, without recursion: a lineage may be thousands of steps long."""
    shown = {graph.start.ref}
    todo = [(indent, ref, number == 0) for number, ref in enumerate(reversed(neighbours[graph.start.ref]))]
    while todo:
        indent, ref, last = todo.pop()
        if ref not in neighbours:
            continue
        below = neighbours[ref]
        again = ref in shown and bool(below)
        yield f"{indent}{'└── ' if last else '├── '}{label(graph.nodes[ref])}{'  (see above)' if again else ''}"
        if again:
            continue
        shown.add(ref)
        further = indent + ("    " if last else "│   ")
        if below and len(further) > 4 * DEEPEST:
            yield f"{further}└── … deeper than {DEEPEST} levels: use --format json, or start from here"
            continue
        todo.extend((further, other, number == 0) for number, other in enumerate(reversed(below)))


def label(node: Node) -> str:
    """Return a node in one line: its reference, and in brackets what it is."""
    details = node.details
    words = [node.kind if node.kind != "version" else str(details.get("type") or "version")]
    words += [alias for alias in details.get("aliases", []) if alias != "latest"]
    # Of a run it is worth saying only that something went wrong.
    if details.get("state", "COMMITTED") not in ("COMMITTED", "running", "finished"):
        words.append(str(details["state"]).lower())
    return f"{node.ref}  [{', '.join(words)}]"


_SHAPES = {"version": ('["', '"]'), "run": ('(["', '"])'), "link": ('[/"', '"/]')}


def mermaid_lines(graph: Graph) -> Iterator[str]:
    """Yield a Mermaid flow chart."""
    yield "flowchart LR"
    numbers = {ref: f"n{number}" for number, ref in enumerate(graph.nodes)}
    for ref, node in graph.nodes.items():
        opening, closing = _SHAPES[node.kind]
        yield f"    {numbers[ref]}{opening}{_mermaid_text(label(node))}{closing}"
    for source, target, kind in graph.edges:
        yield f"    {numbers[source]} {'-.->' if kind == 'link' else '-->'} {numbers[target]}"
    yield f"    style {numbers[graph.start.ref]} stroke-width:3px"


def _mermaid_text(text: str) -> str:
    # Entity codes keep quotes, brackets and markup in names from being read as Mermaid or HTML.
    return "".join(f"#{ord(c)};" if c in '"<>&#;`[]{}|\\' or is_unprintable(c) else c for c in text)


_DOT_SHAPES = {"version": "box", "run": "ellipse", "link": "parallelogram"}


def dot_lines(graph: Graph) -> Iterator[str]:
    """Yield a Graphviz graph."""
    yield "digraph lineage {"
    yield "    rankdir=LR;"
    for ref, node in graph.nodes.items():
        style = ", penwidth=3" if node is graph.start else ""
        yield f"    {_dot_text(ref)} [label={_dot_text(label(node))}, shape={_DOT_SHAPES[node.kind]}{style}];"
    for source, target, kind in graph.edges:
        yield f"    {_dot_text(source)} -> {_dot_text(target)}{' [style=dashed]' if kind == 'link' else ''};"
    yield "}"


def _dot_text(text: str) -> str:
    plain = "".join("?" if is_unprintable(c) else c for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
