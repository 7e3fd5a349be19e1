"""Lock files that an attacker wrote: they come with other people's repositories, and count only inside the project."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.security.hostile import ESCAPES, STRANGE
from tests.security.test_hostile_names import NAMES, steering

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

COMMANDS = (("sync",), ("sync", "--frozen"), ("lock", "--check"), ("lock", "--update"))


class Locked:
    """A project with a lock of `zoo:v0`, to be edited.

    Attributes:
        digest: of v0. other: of v1, which is larger. work: the project's directory.
    """

    def __init__(self, invoke: Run, work: Path) -> None:
        self.work = work
        self.invoke = invoke
        (work.parent / "in").mkdir()
        for content in ("one", "the other"):
            (work.parent / "in/file").write_text(content)
            invoke("log", work.parent / "in", "-n", "zoo", "-t", "dataset").ok()
        self.digest, self.other = (invoke("resolve", f"zoo:v{n}", "--digest").ok().stdout.strip() for n in (0, 1))

    def write(self, **fields: str) -> None:
        """Write the lock with these values, as TOML, in the place of those that are right."""
        right = {
            "reference": '"local/default/zoo:v0"', "version": '"v0"', "digest": f'"{self.digest}"', "size": "3",
            "directory": '"data"', **fields,
        }  # fmt: skip
        rows = "".join(f"{key} = {value}\n" for key, value in right.items())
        (self.work / "regcli.lock").write_text(f"format = 1\n\n[[artifact]]\n{rows}", encoding="utf-8")

    def outside(self) -> list[str]:
        """Return everything beside the project: root, home, source; locks of the store and caches may come and go."""
        return sorted(
            str(path)
            for path in self.work.parent.rglob("*")
            if path.is_file() and not path.is_relative_to(self.work) and not {"locks", "home"} & set(path.parts)
        )


@pytest.fixture
def locked(invoke: Run, work: Path) -> Locked:
    return Locked(invoke, work)


def toml(text: str) -> str:
    # JSON's strings are TOML's, but for a lone surrogate and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def test_the_lock_itself_is_obeyed(locked: Locked) -> None:
    """The control: with nothing but what is right it brings the file."""
    locked.write()
    locked.invoke("sync").ok()
    assert (locked.work / "data/file").read_text() == "one"


def test_a_directory_leads_nowhere_else(locked: Locked) -> None:
    before = locked.outside()
    brought = 0
    for directory in (*ESCAPES, *STRANGE):
        locked.write(directory=toml(directory))
        done = locked.invoke("sync")
        # 8: longer than a name of this file system may be.
        assert done.code in (0, 2, 8), (directory, done)
        assert not steering(done.stdout + done.stderr), (directory, done)
        assert locked.outside() == before, directory
        made = [path for path in locked.work.rglob("*") if path.is_file() and path.name != "regcli.lock"]
        assert len(made) == (done.code == 0), directory
        assert not any({".git", ".regcli"} & {part.casefold() for part in path.parts} for path in made), directory
        assert not os.path.lexists("/etc/x")
        assert not os.path.lexists("/file")
        brought += len(made)
        for path in made:
            path.unlink()
    assert brought > len(STRANGE) // 2


LIES = {
    "another version's digest": {"digest": "OTHER"},
    "no version's digest": {"digest": '"' + "0" * 32 + '"'},
    "a version that there is not": {"version": '"v7"', "digest": '"' + "1" * 32 + '"'},
    "a version of ten digits": {"version": '"v9999999999"', "digest": '"' + "1" * 32 + '"'},
    "a version of 5,000 digits": {"version": '"v' + "9" * 5000 + '"'},
    "a negative size": {"size": "-1"},
    "a size that is true": {"size": "true"},
    "a size with a fraction": {"size": "3.0"},
    "a size that is infinite": {"size": "inf"},
    "a size of 5,000 digits": {"size": "9" * 5000},
    "a hexadecimal size of 5,000 digits": {"size": "-0x" + "f" * 5000},
    "a digest in capitals": {"digest": '"' + "A" * 32 + '"'},
    "a digest with a path": {"digest": '"../../../../../../etc/passwd0000"'},
    "a digest that is a list": {"digest": '["a"]'},
    "a directory that is a table": {"directory": "{a = 1}"},
    "a reference with a path": {"reference": '"../../x:v0"'},
    "a reference that is a number": {"reference": "1"},
    "a key twice": {"size": "3\nsize = 3"},
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_brings_nothing(locked: Locked, name: str) -> None:
    before = locked.outside()
    locked.write(**{key: value.replace("OTHER", f'"{locked.other}"') for key, value in LIES[name].items()})
    text = (locked.work / "regcli.lock").read_bytes()
    for command in COMMANDS[:2]:
        done = locked.invoke(*command)
        if name == "another version's digest" and done.code == 0:
            # The digest decides what is brought, whatever number stands beside it.
            assert (locked.work / "data/file").read_text() == "the other"
            return
        assert done.code in (1, 2, 3, 6), done
        assert len(done.stderr) < 1000, done.stderr[:300]
        assert [path.name for path in locked.work.iterdir()] == ["regcli.lock"], done
    assert (locked.work / "regcli.lock").read_bytes() == text
    assert locked.outside() == before


@pytest.mark.parametrize("size", ["0", "1", "4", str(1 << 62), "9" * 39])
def test_a_size_is_only_told(locked: Locked, size: str) -> None:
    """What a lock says of the size is for people to read: no more and no less is written, and no space is asked for."""
    locked.write(size=size)
    done = locked.invoke("sync")
    assert done.code in (0, 2, 6), done
    assert not (locked.work / "data/file").exists() or (locked.work / "data/file").read_text() == "one"


def test_names_in_a_lock_steer_nothing(locked: Locked) -> None:
    for name in NAMES[::7]:
        locked.write(reference=toml(name))
        for command in COMMANDS:
            done = locked.invoke(*command)
            assert done.code in (0, 1, 2, 3, 4, 5, 6), (name, command, done)
            assert not steering(done.stdout + done.stderr), (name, command, done)
            assert len(done.stderr) < 3000, (name, command)


def test_a_lock_that_is_no_file_or_too_large_is_not_read(locked: Locked) -> None:
    path = locked.work / "regcli.lock"
    os.mkfifo(path)
    assert locked.invoke("sync").code in (2, 6)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert locked.invoke("sync").code in (2, 6)
    path.unlink()
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    assert locked.invoke("sync").code in (2, 6)
    assert [found.name for found in locked.work.iterdir()] == ["regcli.lock"]
