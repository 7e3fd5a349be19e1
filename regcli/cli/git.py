"""What regcli asks git: where hooks go, what is staged, what is pushed.

git gets the environment as it is on purpose: in a hook, GIT_DIR and GIT_INDEX_FILE say which repository and which
index (`git commit FILE` has one of its own) the commit is about.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from regcli.errors import NotFoundError, StorageError
from regcli.surroundings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINK, _SUBMODULE = "120000", "160000"
_BUFFER = 256 << 10


def run_git(*arguments: str, stdin: bytes = b"") -> bytes:
    """Return what a git command prints.

    Raises:
        NotFoundError: git is not installed, or there is no repository here. StorageError: the command failed.
    """
    try:
        # In English, since its messages are looked at.
        english = {**environment(), "LC_ALL": "C"}
        done = subprocess.run(["git", *arguments], input=stdin, env=english, capture_output=True, check=False)  # noqa: S607 - the user's
    except FileNotFoundError:
        raise NotFoundError("git is not installed", hint="install it, or leave out the hook") from None
    if done.returncode == 0:
        return done.stdout
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"]
    if done.returncode == 128 and "not a git repository" in lines[0]:
        raise NotFoundError("there is no git repository here", hint="make one with `git init`")
    raise StorageError(f"git {arguments[0]} failed: {lines[0].removeprefix('fatal: ')}")


def _names(data: bytes) -> Iterator[str]:
    return (os.fsdecode(name) for name in data.split(b"\0") if name)


def top_directory() -> str:
    """Return the top of the work tree."""
    return os.fsdecode(run_git("rev-parse", "--show-toplevel").rstrip(b"\n"))


def hooks_directory() -> str:
    """Return where git looks for hooks, which `core.hooksPath` may say."""
    top = top_directory()
    path = os.fsdecode(run_git("-C", top, "rev-parse", "--git-path", "hooks").rstrip(b"\n"))
    return os.path.join(top, path)


def staged_locks(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every file of this name in the index."""
    for path in _names(run_git("ls-files", "-z", "--full-name", "--", f":(top,glob)**/{name}")):
        yield path, run_git("cat-file", "blob", f":{path}")


def tracked_directories(name: str) -> list[str]:
    """Return the directories of the work tree, relative to its top, that have a file of this name in the index."""
    found = _names(run_git("ls-files", "-z", "--full-name", "--", f":(top,glob)**/{name}"))
    return sorted({os.path.dirname(path) for path in found})


def pushed_locks(name: str, lines: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every file of this name in the commits that a pre-push hook is told of.

    Args:
        name: the file's name.
        lines: `LOCAL_REF LOCAL_ID REMOTE_REF REMOTE_ID`; an id of zeros deletes a ref.
    """
    seen = set()
    for line in lines:
        words = line.split()
        if len(words) != 4 or set(words[1]) == {"0"}:
            continue
        for row in run_git("ls-tree", "-r", "-z", "--full-tree", words[1]).split(b"\0"):
            details, _, path = os.fsdecode(row).partition("\t")
            fields = details.split(" ")
            if os.path.basename(path) == name and fields[0] != _LINK and (path, fields[2]) not in seen:
                seen.add((path, fields[2]))
                yield path, run_git("cat-file", "blob", fields[2])


def staged_files(min_size: int) -> list[tuple[str, str, int]]:
    """Return (path, object id, size) of the files that the next commit adds or changes and that are larger than `min_size`."""
    # A file that only got another name is no new one.
    rows = run_git("diff", "--cached", "--raw", "-z", "--no-abbrev", "-M100%", "--diff-filter=AMT").split(b"\0")
    found = []
    for details, path in zip(rows[0::2], rows[1::2], strict=False):
        _, mode, _, identity, _ = details.decode().split(" ")
        if mode not in (_LINK, _SUBMODULE):
            found.append((os.fsdecode(path), identity))
    sizes = run_git("cat-file", "--batch-check=%(objectsize)", stdin="".join(f"{row[1]}\n" for row in found).encode()).split()
    pairs = zip(found, sizes, strict=True)
    return [(path, identity, int(size)) for (path, identity), size in pairs if int(size) > min_size]


def digest_of_object(identity: str) -> str:
    """Return the XXH3-128 of a git blob's bytes, 32 hex digits."""
    import xxhash

    hasher = xxhash.xxh3_128()
    with subprocess.Popen(["git", "cat-file", "blob", identity], stdout=subprocess.PIPE) as process:  # noqa: S607 - the same
        assert process.stdout is not None  # noqa: S101 - for the type checker
        while data := process.stdout.read(_BUFFER):
            hasher.update(data)
    if process.returncode:
        raise StorageError(f"git cat-file failed for {identity}")
    return hasher.hexdigest()
