"""The commands of `regcli help signing` are run in a real shell."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import regcli
from tests.conftest import clean_environment

TOPIC = Path(regcli.__file__).parent / "docs/signing.md"


def test_the_topic_works_as_written(tmp_path: Path, home: Path, work: Path, zoo: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "regcli"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    blocks = re.findall(r"^```sh\n(.*?)^```", TOPIC.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    environment = clean_environment(home, tmp_path / "root")
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / "ci")], check=True)
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(blocks)], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "dataset/zoo:v0\n" in done.stdout
    assert "release@example.org" in done.stdout
    refused = subprocess.run(
        ["regcli", "alias", "rm", "dataset/zoo", "production"], cwd=work, env=environment, capture_output=True, check=False
    )
    assert refused.returncode == 5
