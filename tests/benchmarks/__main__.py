"""What the commands cost against floors in the same run: `python -m tests.benchmarks [--rounds N] [--large MIB] …`.

Each row is a command as a user runs it, its start included, and a floor that ran right after it in the same round. Printed
are the median over the rounds of the ratio of wall times, the same of CPU times, the target, and whether it is met. With
`--dvc PROGRAM` the same work is done by DVC in the same run. Nothing here is a test: machines are noisy.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parent.parent.parent
PYTHON = sys.executable
HASH = """
import os, sys, threading, xxhash
paths = [os.path.join(top, name) for place in sys.argv[1:] for top, _, names in os.walk(place) for name in names]
paths += [path for path in sys.argv[1:] if os.path.isfile(path)]
def work(part):
    buffer = bytearray(1 << 18)
    for path in part:
        state = xxhash.xxh3_128()
        with open(path, "rb", buffering=0) as stream:
            while size := stream.readinto(buffer):
                state.update(memoryview(buffer)[:size])
threads = [threading.Thread(target=work, args=(paths[n::2],)) for n in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

# Some virtual machines give free memory back to their host and get it back page by page, at a tenth of the speed. Using as much
# as the command will need, just before it runs, is what makes two runs alike.
WARM = "import sys; b'x' * (int(sys.argv[1]) << 20)"

Times = tuple[float, float]


class Bench:
    """A place on disk with a tree of small files, a large file and a fresh root."""

    def __init__(self, top: Path, rounds: int, large: int, files: int) -> None:
        self.top = top
        self.rounds = rounds
        self.aside = 0
        self.environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self.environment.update(HOME=str(top / "home"), REGCLI_ROOT=str(top / "root"), PYTHONPATH=str(REPOSITORY))
        (top / "home").mkdir()
        self.tree = top / "tree"
        for number in range(files):
            path = self.tree / f"d{number % 200:03}" / f"f{number:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(8192))
        self.large = top / "large.bin"
        with self.large.open("wb") as stream:
            for _ in range(large):
                stream.write(os.urandom(1 << 20))
        self.files = files
        self.megabytes = large

    def run(self, *command: str) -> Times:
        """Return wall and CPU seconds of one process."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            command, env=self.environment, cwd=self.top, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{command} exited {done.returncode}: {done.stderr.decode()}")
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def warm(self) -> None:
        """Make free memory present."""
        subprocess.run([PYTHON, "-c", WARM, str(min(self.megabytes + 512, 4096))], check=True)

    def regcli(self, *arguments: str) -> Times:
        """Return what one command costs."""
        return self.run(PYTHON, "-c", "import sys; from regcli.__main__ import main; sys.exit(main())", *arguments)

    def clean(self, *names: str) -> None:
        """Take away what an earlier round left, and let the disk settle.

        Trees are put aside: ext4 makes files ten times slower for minutes after thousands were removed, and a floor that
        suffers from it would flatter everybody.
        """
        for name in names:
            path = self.top / name
            if path.is_dir():
                self.aside += 1
                (self.top / "aside").mkdir(exist_ok=True)
                path.rename(self.top / "aside" / str(self.aside))
            elif path.exists():
                path.unlink()
        os.sync()

    def compare(
        self,
        what: str,
        target: float,
        ours: Callable[[], Times],
        floor: Callable[[], Times],
        *,
        prepare: Callable[[], None] | None = None,
        by_cpu: bool = False,
    ) -> None:
        """Print one row; `prepare` is for rows that write much, whose memory is made present too."""
        rows = []
        for number in range(self.rounds):
            # In turns: whoever comes first finds a fuller page cache and an emptier disk.
            results = {}
            for which, measure in ((ours, "ours"), (floor, "floor"))[:: -1 if number % 2 else 1]:
                if prepare is not None:
                    prepare()
                    self.warm()
                results[measure] = which()
            rows.append((results["ours"], results["floor"]))
        wall = statistics.median(mine[0] / theirs[0] for mine, theirs in rows)
        cpu = statistics.median(mine[1] / max(theirs[1], 1e-6) for mine, theirs in rows)
        seconds = statistics.median(mine[0] for mine, _ in rows)
        met = "met" if (cpu if by_cpu else wall) <= target else "MISSED"
        print(f"{what:<60} {seconds:>8.3f} {wall:>8.2f} {cpu:>8.2f} {target:>8.2f}  {met}", flush=True)


def content(bench: Bench) -> None:
    """Measure logging, downloading and verifying."""
    tree, large = str(bench.tree), str(bench.large)

    def copy(source: str) -> Callable[[], Times]:
        return lambda: bench.run("sh", "-c", f"cp -r {source} copy && sync -f copy")

    def fresh() -> None:
        bench.clean("root", "copy", "out", "home/.cache")

    def log(source: str, name: str) -> Callable[[], Times]:
        return lambda: bench.regcli("log", source, "-n", name, "-t", "dataset", "-q")

    walk = ("find", tree, "-printf", "%s %T@\\n")
    bench.compare("log the tree [cp -r, synced]", 0.6, log(tree, "tree"), copy(tree), prepare=fresh)
    bench.compare("log the large file [cp, synced]", 1.1, log(large, "large"), copy(large), prepare=fresh)
    fresh()
    log(tree, "tree")()
    log(large, "large")()
    time.sleep(2.5)  # younger files are read again, whatever their times say
    log(tree, "tree")()
    bench.compare("log the tree again, unchanged [find]", 2.5, log(tree, "tree"), lambda: bench.run(*walk))
    changes = 0

    def change() -> None:
        nonlocal changes
        changes += 1
        for number in range(0, bench.files, 100):
            path = bench.tree / f"d{number % 200:03}" / f"f{number:05}.bin"
            path.write_bytes(os.urandom(8192))

    def changed() -> Times:
        change()
        return log(tree, "tree")()

    bench.compare("log the tree again, 1 % changed [unchanged]", 2.0, changed, log(tree, "tree"))
    log(tree, "tree")()

    def empty() -> None:
        bench.clean("copy", "out")

    plain = ("sh", "-c")
    bench.compare(
        "download the tree [cp -r]", 0.8, lambda: bench.regcli("download", "tree", "-o", "out", "-q"),
        lambda: bench.run(*plain, f"cp -r {tree} copy"), prepare=empty,
    )  # fmt: skip
    bench.compare(
        "download the large file [cp]", 1.1, lambda: bench.regcli("download", "large", "-o", "out", "-q"),
        lambda: bench.run(*plain, f"cp {large} copy"), prepare=empty,
    )  # fmt: skip
    (bench.top / "small.txt").write_text("small")
    bench.regcli("log", "small.txt", "-n", "tiny", "-t", "dataset", "-q")

    def tiny() -> Times:
        return bench.regcli("download", "tiny", "-o", "out", "-q")

    for mode in ("hardlink", "reflink") if _shares(bench) else ("hardlink",):
        bench.compare(
            f"download the large file as {mode} [download of 5 bytes]", 1.5,
            partial(bench.regcli, "download", "large", "-o", "out", "-q", "--link-mode", mode), tiny, prepare=empty,
        )  # fmt: skip
    bench.clean("out")
    bench.regcli("download", "tree", "-o", "out", "-q")
    time.sleep(2.5)
    bench.regcli("download", "tree", "-o", "out", "-q")
    start = statistics.median(bench.regcli("resolve", "tiny")[0] for _ in range(5))
    bench.compare(
        "download the tree again, less the start [find]", 3.0,
        lambda: _less(bench.regcli("download", "tree", "-o", "out", "-q"), start), lambda: bench.run(*walk),
    )  # fmt: skip
    stored = (str(bench.top / "root" / "packs"), str(bench.top / "root" / "blobs"))
    bench.compare(
        "verify the root [xxh128 of it, two threads]",
        1.3,
        lambda: bench.regcli("verify", "-q"),
        lambda: bench.run(PYTHON, "-c", HASH, *stored),
    )


def _shares(bench: Bench) -> bool:
    """Tell whether the file system shares bytes between files."""
    return subprocess.run(["cp", "--reflink=always", bench.large, bench.top / "shared"], check=False, stderr=-3).returncode == 0


def _less(times: Times, start: float) -> Times:
    return max(times[0] - start, 1e-6), times[1]


def starting(bench: Bench) -> None:
    """Measure the small commands."""
    bench.regcli("log", "small.txt", "-n", "small", "-t", "model", "-q")
    bench.regcli("link", "small", "model/small", "-q")
    pause = bench.rounds
    bench.rounds = max(pause, 15)
    bare = lambda: bench.run(PYTHON, "-c", "pass")  # noqa: E731
    typer = lambda: bench.run(PYTHON, "-c", "import typer")  # noqa: E731
    numbers = iter(range(10**9))
    bench.compare("resolve [python -c pass], CPU", 2.0, lambda: bench.regcli("resolve", "model/small"), bare, by_cpu=True)
    bench.compare(
        "completion of a reference [python -c pass], CPU",
        2.0,
        lambda: bench.regcli("__complete", "ref", "model/"),
        bare,
        by_cpu=True,
    )
    bench.compare(
        "alias add [import typer], CPU",
        2.5,
        lambda: bench.regcli("alias", "add", "small:v0", f"a{next(numbers)}"),
        typer,
        by_cpu=True,
    )
    bench.compare(
        "log of one small file [import typer], CPU",
        2.5,
        lambda: bench.regcli("log", "small.txt", "-n", "small", "--new-version"),
        typer,
        by_cpu=True,
    )
    bench.compare(
        "link [import typer], CPU", 2.5, lambda: bench.regcli("link", "small:latest", "model/small"), typer, by_cpu=True
    )
    bench.rounds = pause


def memory(bench: Bench) -> None:
    """Print the peak memory of a log of the tree and of the large file."""
    program = (
        "import resource, sys\nfrom regcli.__main__ import main\ncode = main()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\nsys.exit(code)\n"
    )
    for what, source, target in (("the tree", bench.tree, 200), ("the large file", bench.large, 150)):
        bench.clean("root", "home/.cache")
        done = subprocess.run(
            [PYTHON, "-c", program, "log", str(source), "-n", "x", "-t", "dataset", "-q"],
            env=bench.environment, cwd=bench.top, check=True, capture_output=True, text=True,
        )  # fmt: skip
        peak = int(done.stderr.split()[-1]) / 1024
        met = "met" if peak < target else "MISSED"
        print(f"{f'peak memory of logging {what}, MiB':<60} {peak:>8.0f} {'':>8} {'':>8} {target:>8}  {met}")


def dvc(bench: Bench, program: str) -> None:
    """Do the same with DVC, for a sense of proportion."""
    place = bench.top / "dvc"

    def fresh() -> None:
        bench.clean("dvc", "copy")
        place.mkdir()
        subprocess.run([program, "init", "-q", "--no-scm"], cwd=place, env=bench.environment, check=True)
        os.rename(bench.tree, place / "tree")

    def back() -> None:
        os.rename(place / "tree", bench.tree)

    def add() -> Times:
        fresh()
        try:
            return bench.run("sh", "-c", f"cd dvc && {program} add -q tree")
        finally:
            back()

    bench.compare(
        "DVC: add the tree [cp -r, synced]",
        float("inf"),
        add,
        lambda: bench.run("sh", "-c", f"cp -r {bench.tree} copy && sync -f copy"),
    )
    bench.compare(
        "DVC: start of the program [python -c pass]",
        float("inf"),
        lambda: bench.run(program, "--version"),
        lambda: bench.run(PYTHON, "-c", "pass"),
    )


def main() -> None:
    """Make the data, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=1024, metavar="MIB")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--dvc", metavar="PROGRAM", help="measure DVC too")
    parser.add_argument("--at", metavar="DIR", help="the file system to measure on; default: that of temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.at) as top:
        bench = Bench(Path(top), options.rounds, options.large, options.files)
        print(f"{options.files} files of 8 KiB, one of {options.large} MiB, medians of {options.rounds} rounds")
        print(f"{'work [floor]':<60} {'s':>8} {'wall x':>8} {'CPU x':>8} {'target':>8}")
        content(bench)
        starting(bench)
        memory(bench)
        if options.dvc:
            dvc(bench, options.dvc)


if __name__ == "__main__":
    main()
