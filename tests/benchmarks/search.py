"""Search and `ls` over many collections: CPU over the start of the program, with a warm cache and without.

    python -m tests.benchmarks.search [COLLECTIONS …]

Half of the collections are sources with 100 versions each, half are links to them. Prints one line per size.
"""

from __future__ import annotations

import sys
import tempfile

from tests.benchmarks.fixtures import cpu, make_context, record, write_links, write_source

VERSIONS = 100
COMMANDS = {
    "text": ["search", "node77"],
    "tag": ["search", "--tag", "set7", "--kind", "version", "--limit", "5"],
    "where": ["search", "--where", "metadata.accuracy > 0.9 and metrics.loss < 0.1", "--limit", "5"],
    "ls": ["ls", "model/", "--json"],
}


def build(path: str, collections: int) -> None:
    """Write the root."""
    context = make_context(path)
    for number in range(collections // 2):
        records = [record(number, index, context.now()) for index in range(VERSIONS)]
        source = write_source(context, f"set{number}", records)
        write_links(context, "model", f"linked{number}", source, records)


def main() -> None:
    """Measure each size."""
    for collections in [int(word) for word in sys.argv[1:]] or [10, 100, 1000]:
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/root"
            build(path, collections)
            empty = f"{directory}/empty"
            make_context(empty)
            cold = cpu(path, COMMANDS["text"])
            start = min(cpu(empty, ["search", "x"]) for _ in range(3))
            figures = {name: min(cpu(path, words) for _ in range(3)) - start for name, words in COMMANDS.items()}
            shown = "  ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in figures.items())
            head = f"{collections} collections x {VERSIONS}: start {start * 1000:.0f} ms, cold {(cold - start) * 1000:.0f} ms"
            print(f"{head}; {shown}")


if __name__ == "__main__":
    main()
