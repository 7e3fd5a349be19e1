"""The topics of `regcli help` that tell a story are run as they are printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment

DOCS = Path(__file__).parent.parent / "regcli" / "docs"
# Topics whose `sh` blocks are one script, in which a `make` block is the Makefile from there on.
STORIES = {
    "automations": (),
    "completion": ("bash",),
    "git": ("git",),
    "lineage": (),
    "locking": (),
    "make": ("make",),
    "moving": (),
    "search": (),
}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(topic: str) -> list[tuple[str, str]]:
    return _BLOCK.findall((DOCS / f"{topic}.md").read_text())


def script_of(topic: str) -> str:
    parts = ["set -eux"]
    for language, text in blocks(topic):
        if language == "sh":
            parts.append(text)
        elif language == "make":
            parts.append(f"cat > Makefile <<'END-OF-MAKEFILE'\n{text}END-OF-MAKEFILE")
    return "\n".join(parts)


@pytest.mark.parametrize("topic", STORIES)
def test_a_topic_works_as_printed(topic: str, home: Path, work: Path) -> None:
    for program in STORIES[topic]:
        if shutil.which(program) is None:
            pytest.skip(f"NOT TESTED: {topic}.md, which needs {program}")
    script = home / "bin" / "regcli"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
    script.chmod(0o755)
    environment = clean_environment(home, None)
    environment["PATH"] = f"{script.parent}:{environment['PATH']}"
    environment.update({f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")})
    done = subprocess.run(
        ["sh"], input=script_of(topic), cwd=work, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    for language, text in blocks(topic):
        if language == "toml" or (topic == "lineage" and language == "text"):
            assert text in done.stdout
    expected = re.findall(r"# (exit \d)", (DOCS / f"{topic}.md").read_text())
    assert re.findall(r"^exit \d$", done.stdout, re.MULTILINE) == expected
    if topic == "make":
        # The last `make` of the story makes one of two targets, as its comment says.
        assert (work / "report.txt").stat().st_mtime_ns > (work / "names.txt").stat().st_mtime_ns
        assert (work / "data/zoo/notes.txt").read_text() == "other sources\n"


def test_hooks_of_the_framework_are_those_that_the_topic_names() -> None:
    manifest = (DOCS.parent.parent / ".pre-commit-hooks.yaml").read_text()
    text = (DOCS / "git.md").read_text()
    assert set(re.findall(r"^- id: (\S+)$", manifest, re.MULTILINE)) == set(
        re.findall(r"^\| `(regcli-\S+)` \|", text, re.MULTILINE)
    )
