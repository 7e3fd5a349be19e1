"""Measure the library against the command line: `python -m tests.benchmarks.api [--files N] [--rounds N] [DIR]`.

Each round logs the same tree of small files twice, to fresh roots, each in a fresh process so that start-up counts: once by
`regcli log`, once by `Artifact.add_dir` and `log_artifact` in a run, in alternating order. The figure that must hold is the
median of (library / command line) over rounds, at most 1.2; `again` is the same with the tree known to the stat cache.
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

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 1.2

LIBRARY = """
import sys, regcli
artifact = regcli.Artifact("tree", "dataset", metadata={"round": sys.argv[2]})
artifact.add_dir(sys.argv[1])
with regcli.init(project="bench") as run:
    run.log_artifact(artifact)
"""


def write_tree(path: str, files: int) -> None:
    """Write files of 100 bytes to 8 KiB, 100 in each directory."""
    for number in range(files):
        directory = f"{path}/{number // 100:04d}"
        if number % 100 == 0:
            os.makedirs(directory)
        with open(f"{directory}/{number:06d}.bin", "wb") as stream:
            stream.write(number.to_bytes(4, "big") * (25 + number * 37 % 2000))


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, env=environment, cwd=HERE, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_round(work: str, tree: str, number: int) -> dict[str, tuple[float, float]]:
    """Return (wall, CPU) of the first and second log by both faces."""
    results: dict[str, tuple[float, float]] = {}
    faces = ["library", "command line"]
    for face in faces if number % 2 else reversed(faces):
        home = f"{work}/{number}-{face.split()[0]}"
        os.makedirs(home)
        environment = {**os.environ, "HOME": home, "REGCLI_ROOT": f"{home}/root", "XDG_CACHE_HOME": f"{home}/cache"}
        for what in ("first", "again"):
            if face == "library":
                command = [sys.executable, "-c", LIBRARY, tree, what]
            else:
                command = [sys.executable, "-m", "regcli", "log", tree, "-n", "tree", "-t", "dataset", "--project", "bench"]
            results[f"{face} {what}"] = measure(command, environment)
            # Files younger than two seconds are not trusted by the stat cache, so that the second log could not use it.
        shutil.rmtree(home)
    return results


def main() -> int:
    """Run all rounds and print the medians; 1 when the library is too slow."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", default=None)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    work = tempfile.mkdtemp(dir=options.directory)
    try:
        write_tree(f"{work}/tree", options.files)
        time.sleep(3)
        rounds = [one_round(work, f"{work}/tree", number) for number in range(options.rounds)]
    finally:
        shutil.rmtree(work)
    worst = 0.0
    for what in ("first", "again"):
        for kind, position in (("wall", 0), ("CPU", 1)):
            ours = [found[f"library {what}"][position] for found in rounds]
            theirs = [found[f"command line {what}"][position] for found in rounds]
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            worst = max(worst, ratio) if what == "first" else worst
            print(
                f"{what:6} {kind:5} library {statistics.median(ours):.3f} s"
                f"  command line {statistics.median(theirs):.3f} s  ratio {ratio:.2f}"
            )
    print(f"limit {LIMIT}: {'held' if worst <= LIMIT else 'missed'}")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
