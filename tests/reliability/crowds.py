"""Running a crowd (see `crowd.py`) and reading its journals."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.reliability.harness import HERE, environment

if TYPE_CHECKING:
    from pathlib import Path

CHANGES = {"log": 8, "large": 1, "link": 5, "alias": 6, "unalias": 1, "tag": 2, "edit": 2, "unlink": 2, "protect": 1}
# Where versions go too, and the space of what is gone is freed at once.
EVERYTHING = {**CHANGES, "again": 3, "delete": 3, "undelete": 1, "gc": 1}
READING = {"resolve": 8, "download": 1}


def plan_crowd(root: Path, base: Path, **more: Any) -> Path:
    """Write a plan; returns its path."""
    for name in ("work", "journals", "home"):
        (base / name).mkdir(parents=True, exist_ok=True)
    plan = {
        "root": str(root), "work": str(base / "work"), "journals": str(base / "journals"), "writers": 3, "readers": 0,
        "commands": 0, "kills": 0, "pause": 0.02, "collections": 2, "seed": 1, "wait": 30, "mix": CHANGES, "reading": READING,
        "forever": False, **more,
    }  # fmt: skip
    path = base / "plan.json"
    path.write_text(json.dumps(plan))
    return path


def start_crowd(plan: Path, root: Path, base: Path, broken: str | None = None) -> subprocess.Popen[str]:
    env = environment(root, base / "home", broken)
    return subprocess.Popen(
        [sys.executable, str(HERE / "crowd.py"), str(plan)],
        env=env, cwd=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run_crowd(root: Path, base: Path, broken: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """Run a crowd to its end; returns what its processes journaled (see `read_journals`)."""
    process = start_crowd(plan_crowd(root, base, **more), root, base, broken)
    output = process.communicate(timeout=3600)[0]
    assert process.returncode == 0, output
    return read_journals(base)


def read_journals(base: Path) -> list[dict[str, Any]]:
    """Return every command that was answered; those that were called but not answered have no `code` and are left out."""
    events = []
    for path in sorted((base / "journals").iterdir()):
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if "code" in event:
                events.append(event)
    return events


def unclean(events: list[dict[str, Any]]) -> list[str]:
    """Return the commands that ended in a way no user should see: a traceback, an internal error, damage."""
    return [
        f"{event['argv']}: exit {event['code']}: {event['stderr']}"
        for event in events
        if event["code"] not in (0, 3, 4, 5, 7) or "Traceback" in event["stderr"]
    ]
