"""How commands cost as a collection grows from 10 to 100,000 versions, against a bare interpreter and `import typer`.

Run by hand: `python -m tests.benchmarks.scale [VERSIONS…]`. CPU time, medians of paired runs, as ratios.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from regcli.domain.context import Context
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.model import TypeName
from regcli.store import jsontext
from regcli.store.ingest import Source
from regcli.store.trust import sha256_hex

if TYPE_CHECKING:
    from regcli.store.chain import Chain

ROUNDS = 9


def cpu(command: list[str], environment: dict[str, str]) -> float:
    """Return the CPU seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fill(context: Context, name: str, versions: int, directory: str) -> None:
    """Make a source collection of that many versions: one logged, the rest written without waiting for the disk."""
    request = LogRequest(name, TypeName.parse("model"))
    request.sources = [Source(directory)]
    logged = log_version(context, request)
    assert logged.version is not None
    collection = logged.version.collection
    repeat(collection.chain, logged.version.record, versions)


def repeat(chain: Chain, record: dict[str, object], versions: int) -> None:
    """Append versions that differ only in their digests."""
    snapshot = chain.read()
    envelope = {"time": record["created_at"], "user": "benchmark", "uid": 0, "host": "here", "command": "log"}
    for index in range(snapshot.state["next"], versions):
        row = {**record, "id": f"{index:032x}", "digest": f"{index:032x}"}
        commit = {
            "format": 1, "root": chain.root_id, "seq": snapshot.seq + 1, "prev": snapshot.chain, "txn": f"{index:016x}",
            **({"place": chain.place} if chain.place else {}), **envelope,
            "ops": [{"op": "version", "version": index, "record": row}],
        }  # fmt: skip
        data = jsontext.dumps(commit).encode() + b"\n"
        path = chain.commit_path(snapshot.seq + 1)
        with open(path, "wb") as stream:
            stream.write(data)
        chain.apply(snapshot, commit, sha256_hex(data), path)
        if index % 5000 == 0:
            chain.write_head(snapshot)
    chain.write_head(snapshot)


def measure(commands: dict[str, list[str]], environment: dict[str, str]) -> dict[str, float]:
    """Return the median CPU seconds of each command; the rounds go through all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(cpu([word.replace("{N}", str(number)) for word in command], environment))
    return {name: statistics.median(values) for name, values in times.items()}


def main(sizes: list[int]) -> None:
    """Print the table."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as top:
        environment["HOME"] = top
        data = Path(top, "data")
        data.mkdir()
        (data / "f.txt").write_text("content")
        print(f"{'versions':>9} {'command':<16} {'CPU ms':>8} {'x python':>9} {'x import typer':>15}")
        for size in sizes:
            root = f"{top}/root-{size}"
            context = Context(root_path=root, user="benchmark", uid=0, host="here", command="log")
            fill(context, "a", size, str(data))
            regcli = [sys.executable, "-m", "regcli"]
            at = ["--root", root]
            subprocess.run([*regcli, "link", "a", "model/x", *at], env=environment, stdout=subprocess.DEVNULL, check=True)
            (data / "g.txt").write_text(str(size))
            result = measure(
                {
                    "python": [sys.executable, "-c", "pass"],
                    "typer": [sys.executable, "-c", "import typer"],
                    "resolve": [*regcli, "resolve", "a:latest", *at],
                    "resolve old": [*regcli, "resolve", "a:v3", *at],
                    "alias add": [*regcli, "alias", "add", "a:v{N}", "moving", *at],
                    "log": [*regcli, "log", str(data), "-n", "a", "--new-version", *at],
                    "link": [*regcli, "link", "a:v{N}", "model/x", *at],
                },
                environment,
            )
            for name, value in result.items():
                if name not in ("python", "typer"):
                    ratios = f"{value / result['python']:>9.2f} {value / result['typer']:>15.2f}"
                    print(f"{size:>9} {name:<16} {value * 1000:>8.1f} {ratios}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [10, 1000, 100_000])
