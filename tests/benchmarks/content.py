"""Measure the content store against its floors: `python -m tests.benchmarks.content [--rounds N] [--large MIB] [DIR]`.

Every figure is the median over rounds of (ours / floor), where both ran one after the other in the same round, each in a
fresh process, so that start-up counts. Wall time and CPU time (user and system, children included).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

OURS = {
    "log": """
from regcli.store.content import Content
from regcli.store.ingest import Source, ingest
from regcli.store.manifest import encode_manifest, manifest_digest
from regcli.store.statcache import StatCache
content = Content(root)
with content.batch() as batch:
    found = ingest(batch, [Source(source)], cache=StatCache(cache))
    manifest_digest(found.entries)
    if batch.added:
        batch.put_bytes(encode_manifest(found.entries))
        batch.publish()
""",
    "download": """
from regcli.store.content import Content
from regcli.store.manifest import decode_manifest
from regcli.store.materialize import materialize
from regcli.store.statcache import StatCache
content = Content(root)
algorithm, entries = decode_manifest(content.read(open(root + "/manifest").read()), "manifest")
materialize(content, entries, target, cache=StatCache(cache))
""",
    "verify": """
from regcli.store.content import Content
assert not list(Content(root).check())
""",
    "compare": """
from regcli.store.compare import compare_directory
from regcli.store.content import Content
from regcli.store.manifest import decode_manifest
content = Content(root)
algorithm, entries = decode_manifest(content.read(open(root + "/manifest").read()), "manifest")
assert not compare_directory(content, entries, target)
""",
}
# Two threads, 256 KiB at a time, nothing but reading and hashing: the floor for `verify`.
FLOOR_HASH = """
import os, threading, xxhash
paths = [os.path.join(d, n) for d, _, names in os.walk(source) for n in names]
paths.sort(key=os.path.getsize)
def work():
    view = memoryview(bytearray(256 << 10))
    while paths:
        try:
            path = paths.pop()
        except IndexError:
            break
        descriptor = os.open(path, os.O_RDONLY)
        hasher = xxhash.xxh3_128()
        while count := os.readv(descriptor, [view]):
            hasher.update(view[:count])
        hasher.digest()
        os.close(descriptor)
threads = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


class Bench:
    """One working directory with its trees."""

    def __init__(self, top: str, rounds: int, large: int) -> None:
        self.top = top
        self.rounds = rounds
        self.tree = f"{top}/tree"
        self.big = f"{top}/big"
        for directory in range(200):
            os.makedirs(f"{self.tree}/d{directory:03}")
            for number in range(100):
                with open(f"{self.tree}/d{directory:03}/f{number:03}.bin", "wb") as file:
                    file.write(os.urandom(8192))
        os.makedirs(self.big)
        with open(f"{self.big}/model.bin", "wb") as file:
            file.writelines(os.urandom(1 << 20) for _ in range(large))
        # Older than the grain of the clock.
        time.sleep(0.3)
        os.sync()

    def run(self, *command: str) -> tuple[float, float]:
        """Return wall and CPU seconds of a command."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def python(self, script: str, **names: str) -> tuple[float, float]:
        """Run a script in a fresh interpreter with these variables set."""
        lines = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        return self.run(sys.executable, "-c", f"import sys\nsys.path.insert(0, {HERE!r})\n{lines}{script}")

    def clean(self, *names: str) -> None:
        """Remove results, and wait until the disk is quiet."""
        for name in names:
            shutil.rmtree(f"{self.top}/{name}", ignore_errors=True)
        os.sync()

    def places(self, source: str) -> dict[str, str]:
        """Return the variables that the scripts use."""
        top = self.top
        return {"root": f"{top}/root", "cache": f"{top}/cache", "source": source, "target": f"{top}/target"}

    def log_once(self, source: str) -> None:
        """Make a store with the source in it, and note its manifest."""
        self.clean("root", "cache", "target")
        self.python(
            OURS["log"] + "open(root + '/manifest', 'w').write(batch.put_bytes(encode_manifest(found.entries)))",
            **self.places(source),
        )
        os.sync()


Measure = tuple[float, float]


def report(name: str, target: float, rounds: list[tuple[Measure, Measure]]) -> None:
    """Print one line of the table."""
    wall = statistics.median([ours[0] / floor[0] for ours, floor in rounds])
    cpu = statistics.median([ours[1] / floor[1] for ours, floor in rounds])
    ours = statistics.median([pair[0][0] for pair in rounds])
    floor = statistics.median([pair[1][0] for pair in rounds])
    verdict = "met" if wall <= target else "MISSED"
    sys.stdout.write(
        f"{name:42} {ours:8.3f} s  {floor:8.3f} s  wall {wall:5.2f}  cpu {cpu:5.2f}  target {target:4.2f}  {verdict}\n"
    )
    sys.stdout.flush()


def copying(bench: Bench, name: str, source: str, target: float, *, synced: bool) -> None:
    """`log` against a synced copy, or `download` against a copy."""
    rounds = []
    sync = f" && sync -f {bench.top}/copy" if synced else ""
    if not synced:
        bench.log_once(source)
    for number in range(bench.rounds):
        bench.clean("copy", "target", *(("root", "cache") if synced else ()))
        pair: list[Measure] = [(0, 0), (0, 0)]
        # Each goes first in half of the rounds.
        for which in (0, 1) if number % 2 else (1, 0):
            if which:
                pair[1] = bench.run("sh", "-c", f"cp -r {source} {bench.top}/copy{sync}")
            else:
                pair[0] = bench.python(OURS["log" if synced else "download"], **bench.places(source))
            os.sync()
        rounds.append((pair[0], pair[1]))
    report(name, target, rounds)
    bench.clean("copy", "target")


def walking(bench: Bench, name: str, script: str, walked: str, target: float, before: Callable[[], None] | None = None) -> None:
    """Something that should cost little more than looking at every file."""
    rounds = []
    for _ in range(bench.rounds * 2):
        if before is not None:
            before()
        ours = bench.python(OURS[script], **bench.places(bench.tree))
        floor = bench.run("find", walked, "-printf", "%s %T@\\n")
        rounds.append((ours, floor))
    report(name, target, rounds)


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=1024, metavar="MIB")
    parser.add_argument("directory", nargs="?", help="where to work (on the file system to be measured)")
    options = parser.parse_args()
    top = tempfile.mkdtemp(prefix="regcli-bench-", dir=options.directory)
    try:
        measure(Bench(top, options.rounds, options.large))
    finally:
        shutil.rmtree(top, ignore_errors=True)


def measure(bench: Bench) -> None:
    """Run everything."""
    tree, big = bench.tree, bench.big
    sys.stdout.write(f"{'work':42} {'ours':>8}    {'floor':>8}\n")
    copying(bench, "log tree / cp -r, synced", tree, 0.6, synced=True)
    copying(bench, "log large file / cp, synced", big, 1.1, synced=True)
    copying(bench, "download large file / cp", big, 1.1, synced=False)
    rounds = [
        (bench.python(OURS["verify"], **bench.places(big)), bench.python(FLOOR_HASH, source=big)) for _ in range(bench.rounds)
    ]
    report("verify large file / xxh128", 1.3, rounds)
    copying(bench, "download tree / cp -r", tree, 0.8, synced=False)
    bench.log_once(tree)
    walking(bench, "log tree again, unchanged / find", "log", tree, 2.5)
    numbers = iter(range(1 << 30))

    def change() -> None:
        number = next(numbers)
        for directory in range(200):
            with open(f"{tree}/d{directory:03}/f{number % 100:03}.bin", "wb") as file:
                file.write(os.urandom(8192))
        time.sleep(0.3)
        os.sync()

    unchanged, changed = [], []
    for _ in range(bench.rounds * 2):
        unchanged.append(bench.python(OURS["log"], **bench.places(tree)))
        change()
        changed.append(bench.python(OURS["log"], **bench.places(tree)))
    report("log tree again, 1 % changed / unchanged", 2.0, list(zip(changed, unchanged, strict=True)))
    bench.log_once(tree)
    bench.python(OURS["download"], **bench.places(tree))
    time.sleep(0.3)
    bench.python(OURS["download"], **bench.places(tree))
    walking(bench, "download tree again / find", "download", f"{bench.top}/target", 3.0)
    rounds = [
        (bench.python(OURS["verify"], **bench.places(tree)), bench.python(FLOOR_HASH, source=tree)) for _ in range(bench.rounds)
    ]
    report("verify tree / xxh128 of its files", 1.3, rounds)
    rounds = [
        (bench.python(OURS["compare"], **bench.places(tree)), bench.python(FLOOR_HASH, source=tree))
        for _ in range(bench.rounds)
    ]
    report("compare directory / xxh128", 1.3, rounds)
    start = [(bench.python("import regcli.store.ingest, regcli.store.statcache"), bench.python("pass")) for _ in range(9)]
    report("start and imports / python -c pass", 2.0, start)


if __name__ == "__main__":
    main()
