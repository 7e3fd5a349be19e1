"""Two different contents with one XXH3-128, made on purpose: the second is refused and the first stays what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import xxhash

from tests.security.forgery import twins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

SIZES = (1088, 2048, 1 << 20, (1 << 20) + 4096, 3 << 20)


@pytest.mark.parametrize("size", SIZES)
def test_the_twins_are_twins(size: int) -> None:
    one, other = twins(size)
    assert one != other
    assert len(one) == len(other) == size
    assert xxhash.xxh3_128_hexdigest(one) == xxhash.xxh3_128_hexdigest(other)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and "locks" not in path.parts}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", [0, 1], ids=["good first", "evil first"])
def test_logged_one_after_the_other(invoke: Run, root: Path, work: Path, size: int, order: int) -> None:
    pair = twins(size)
    first, second = pair[order], pair[1 - order]
    (work / "first").write_bytes(first)
    (work / "second").write_bytes(second)
    invoke("log", "first", "-n", "zoo", "-t", "model").ok()
    before = tree(root)
    done = invoke("log", "second", "-n", "zoo", "--json")
    assert done.code == 6
    assert done.error["kind"] == "collision"
    assert tree(root) == before
    # Under another name of artifact and file it is the same content all the same.
    assert invoke("log", "second", "-n", "other", "-t", "model", "--at", "x").code == 6
    invoke("download", "zoo", "-o", "out").ok()
    assert (work / "out/first").read_bytes() == first
    # The same content again is no collision.
    invoke("log", "first", "-n", "other", "-t", "model").ok()


@pytest.mark.parametrize("size", SIZES)
def test_logged_together(invoke: Run, root: Path, work: Path, size: int) -> None:
    (work / "data").mkdir()
    for name, content in zip(("a", "b"), twins(size), strict=True):
        (work / "data" / name).write_bytes(content)
    done = invoke("log", "data", "-n", "zoo", "-t", "model", "--json")
    assert done.code == 6
    assert done.error["kind"] == "collision"
    assert invoke("ls", "zoo").code == 3
    # What was staged is nowhere to be seen.
    assert invoke("verify").code == 0


def test_a_collision_with_what_the_trash_has(invoke: Run, work: Path) -> None:
    one, other = twins()
    (work / "one").write_bytes(one)
    (work / "other").write_bytes(other)
    (work / "third").write_bytes(b"third")
    invoke("log", "one", "-n", "zoo", "-t", "model").ok()
    invoke("log", "third", "-n", "zoo").ok()
    invoke("delete", "zoo:v0").ok()
    invoke("gc", "--grace", "0").ok()
    done = invoke("log", "other", "-n", "zoo")
    assert done.code in (0, 6)
    if done.code == 0:
        invoke("download", "zoo", "-o", "out").ok()
        assert (work / "out/other").read_bytes() == other


def test_a_download_over_the_twin_leaves_what_has_the_digest(invoke: Run, work: Path) -> None:
    """XXH3-128 decides for what nobody signed: documented, and the reason why signatures hash with BLAKE3."""
    one, other = twins()
    (work / "model").write_bytes(one)
    invoke("log", "model", "-n", "zoo", "-t", "model").ok()
    (work / "out").mkdir()
    (work / "out/model").write_bytes(other)
    invoke("download", "zoo", "-o", "out").ok()
    assert (work / "out/model").read_bytes() == other
