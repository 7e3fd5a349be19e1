"""Nothing in a root, a lock or an artifact names a program to run: every start of a process is recorded by the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import clean_environment
from tests.security.forgery import append, read_log, seal_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.conftest import Place

RECORDER = """
import io, json, sys
started = []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
    "pty.spawn"):
        started.append([event, str(arguments[0])])
sys.addaudithook(hook)
from regcli.__main__ import main
codes = []
for command in json.loads(sys.argv[1]):
    out = sys.stdout
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    codes.append(main(command))
    sys.stdout = out
print(json.dumps([codes, started]))
"""
AUTOMATION: dict[str, Any] = {
    "id": "0" * 16, "event": "alias-added", "scope": ".", "match": None, "action": "command",
    "command": "touch /tmp/regcli-was-here", "created_at": "", "created_by": "root",
}  # fmt: skip
COMMANDS = [
    ["resolve", "model/zoo:v0"], ["ls"], ["ls", "model/zoo"], ["show", "model/zoo:v0"], ["files", "zoo:v0"], ["verify"],
    ["cat", "zoo:v0", "model.bin"], ["download", "model/zoo:v0", "-o", "out"], ["checkout", "zoo:v1", "co"], ["history"],
    ["search", "zoo"], ["lineage", "zoo:v0"], ["lock", "zoo:v0", "-o", "locked"], ["sync"],
    ["alias", "add", "model/zoo:v0", "best"],
    ["tag", "add", "zoo:v0", "good"], ["link", "zoo:v0", "model/other"], ["gc"], ["registry", "show", "model"], ["help"],
    ["automation", "ls"], ["automation", "deliver"], ["automation", "test", "trap"],
    ["__complete", "ref", ""], ["du"], ["diff", "zoo:v0", "zoo:v1"], ["doctor"],
]  # fmt: skip


@pytest.fixture
def trapped(place: Place) -> Place:
    """The place, with every hook, editor, pager and program that an attacker could hope for."""
    append(place.settings, [{"op": "automation", "name": "trap", "before": None, "after": AUTOMATION}])
    for name in ("settings", "outbox"):
        (place.root / name).mkdir(exist_ok=True)
    for top in (place.root, place.work, place.root / "registries/model"):
        for name in (
            "hooks/post-log",
            ".git/hooks/post-checkout",
            "ssh-keygen",
            "git",
            "xdg-open",
            "less",
            "sitecustomize.py",
            "regcli.py",
        ):
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\ntouch /tmp/regcli-was-here\n" if not name.endswith(".py") else "raise SystemExit(99)\n")
            path.chmod(0o755)
    seal_head(place.log.parent, lambda head: head["state"].update(description="!touch /tmp/regcli-was-here"))
    return place


def record(place: Place, commands: list[list[str]]) -> tuple[list[int], list[list[str]]]:
    """Run commands in one process; returns their exit codes and the processes that were started."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", RECORDER, json.dumps(commands)],
        cwd=place.work,
        env={**clean_environment(place.home, place.root), "EDITOR": "false", "PAGER": "false", "REGCLI_AUTOMATIONS": "manual"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    codes, started = json.loads(done.stdout)
    return codes, started


def test_no_command_starts_a_process(trapped: Place, tmp_path: Path) -> None:
    # Who trusts nobody checks no signature, which would start `ssh-keygen`.
    (trapped.home / ".config/regcli/allowed_signers").unlink()
    codes, started = record(trapped, COMMANDS)
    assert started == []
    assert not {70, 99} & set(codes), dict(zip(map(tuple, COMMANDS), codes, strict=True))
    assert codes.count(0) > len(COMMANDS) // 2
    assert read_log(trapped.settings)[-1]["ops"][0]["op"] == "automation"
    # The trap was sprung: it was announced and tried, and refused.
    tries = [path.read_text() for path in (trapped.root / "outbox").glob("*.tries-*")]
    assert tries
    assert all("never run" in text for text in tries)


def test_a_signature_starts_nothing_but_ssh_keygen(trapped: Place) -> None:
    # The control of the recorder: here a process is started, and it is the right one.
    for seen in (trapped.home / ".local/state/regcli/seen").glob("*.json"):
        seen.unlink()
    codes, started = record(trapped, [["resolve", "model/zoo:production"]])
    assert codes == [0]
    assert started == [["os.posix_spawn", "ssh-keygen"]]
