"""`regcli hook`: git hooks that check locks and large files, and bring what is locked."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Literal

import typer

from regcli.cli.context import Session, session_of
from regcli.cli.output import human_size
from regcli.cli.settings import is_terminal
from regcli.errors import ConflictError, RegcliError, StorageError, UsageError, reason_of
from regcli.model import quote

app = typer.Typer(help="Install and run git hooks that check locks and large files")

HOOKS = ("pre-commit", "pre-push", "post-checkout", "post-merge")
DEFAULT_MAX_SIZE = "10MiB"
_MARK = "# Made by `regcli hook install"


@app.command("install")
def install(
    ctx: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(metavar="pre-commit|pre-push|post-checkout|post-merge", help="The hooks"),
    ],
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help=f"For pre-commit: the largest file ({DEFAULT_MAX_SIZE})")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="For pre-push: do not read all content again")] = False,
) -> None:
    """Install git hooks; a hook that is there is never overwritten

    They go where git looks for them, core.hooksPath included. pre-commit and pre-push refuse a lock whose versions do not
    exist or are damaged; pre-commit also refuses large files that are not in the registry. post-checkout and post-merge
    bring what regcli.lock says.

    Examples:
        regcli hook install pre-commit pre-push post-checkout post-merge
        regcli hook install pre-commit --max-size 50MiB
    """
    from regcli.cli.git import hooks_directory

    session = session_of(ctx)
    unknown = [name for name in names if name not in HOOKS]
    if unknown:
        raise UsageError(f"{quote(unknown[0])} is no hook of regcli", hint=f"use {', '.join(HOOKS)}")
    if max_size is not None:
        parse_size(max_size)
    directory = hooks_directory()
    done = []
    for name in dict.fromkeys(names):
        options = ["--quick"] if quick and name == "pre-push" else []
        if max_size is not None and name == "pre-commit":
            options += ["--max-size", max_size]
        done.append(_install(directory, name, options, session.options.root))
    session.emit({"hooks": done}, [item["path"] for item in done])


def _install(directory: str, name: str, options: list[str], root: str | None) -> dict[str, Any]:
    """Write one hook, unless the same is there; returns its path and whether it was written."""
    path = os.path.join(directory, name)
    data = hook_script(name, options, root).encode("utf-8", "surrogateescape")
    try:
        os.makedirs(directory, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777)
    except FileExistsError:
        try:
            with open(path, "rb") as file:
                there = file.read(len(data) + 1)
        except OSError:
            there = b""
        if there == data:
            return {"name": name, "path": path, "installed": False}
        raise ConflictError(
            f"there is a hook already: {path}",
            hint=f'add `regcli hook run {name} -- "$@"` to it'
            if not there.startswith(b"#!/bin/sh\n" + _MARK.encode())
            else "it is regcli's own with other options; remove it first",
        ) from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {reason_of(error)}") from error
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        os.unlink(path)
        raise StorageError(f"cannot write {path}: {reason_of(error)}") from error
    return {"name": name, "path": path, "installed": True}


def hook_script(name: str, options: list[str], root: str | None) -> str:
    """Return the text of a hook: it runs the `regcli` of the PATH, else the one that installed it."""
    from shlex import quote as shell_quote

    words = ["hook", "run", name, *options]
    if root is not None:
        words += ["--root", os.path.abspath(root)]
    line = " ".join(map(shell_quote, words))
    python = shell_quote(sys.executable)
    return (
        f"#!/bin/sh\n{_MARK} {name}`; remove this file to be rid of it.\n"
        f'if command -v regcli >/dev/null 2>&1; then\n    exec regcli {line} -- "$@"\nfi\n'
        f'exec {python} -m regcli {line} -- "$@"\n'
    )


@app.command("run")
def run(
    ctx: typer.Context,
    name: Annotated[
        Literal["pre-commit", "pre-push", "post-checkout", "post-merge", "verify", "large-files", "sync"],
        typer.Argument(
            metavar="pre-commit|pre-push|post-checkout|post-merge|verify|large-files|sync", help="A hook, or one of its checks"
        ),
    ],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGUMENT", help="What git tells the hook")] = None,
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="The largest file that may be committed outside the registry")
    ] = DEFAULT_MAX_SIZE,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read all content again, only see that it is there")] = False,
) -> int:
    """Do what a git hook does

    pre-commit is `verify --quick` and `large-files`, pre-push is `verify` of what is pushed, post-checkout and post-merge
    are `sync`. Exits 1 where a check finds something. SIZE is a number of MiB, or has a unit, such as 500KiB.

    Examples:
        regcli hook run pre-commit
        regcli hook run large-files --max-size 1MiB
        regcli hook run verify --quick
    """
    session = session_of(ctx)
    limit = parse_size(max_size)
    if name in ("post-checkout", "post-merge", "sync"):
        if name == "post-checkout" and arguments and arguments[-1] == "0":
            # Single files were checked out, no branch.
            session.emit({"hook": name, "ok": True, "synced": [], "problems": []})
            return 0
        return _sync(session, name)
    problems: list[dict[str, Any]] = []
    if name != "large-files":
        problems += _verify(session, name, quick=quick or name == "pre-commit")
    if name in ("pre-commit", "large-files"):
        problems += _large_files(session, limit)
    lines = [f"{problem['path']}: {problem['message']}" for problem in problems]
    session.verdict = 1 if problems else 0
    session.emit({"hook": name, "ok": not problems, "problems": problems}, lines)
    return session.verdict


def parse_size(text: str) -> int:
    """Return the bytes of a size: a plain number is in MiB, as in the hooks of other tools; with a unit it is as everywhere.

    Raises:
        UsageError: it is no size.
    """
    from regcli.domain.amounts import parse_size as parse_bytes

    plain = text.strip()
    return parse_bytes(f"{plain}MiB" if plain.isascii() and plain.isdigit() else plain, "--max-size")


def _verify(session: Session, name: str, *, quick: bool) -> list[dict[str, Any]]:
    from regcli.cli.git import pushed_locks, staged_locks, top_directory
    from regcli.domain.guarding import verify_locks
    from regcli.domain.lockfile import LOCK_NAME

    # By hand, without git to say what is pushed, what is staged is looked at.
    is_push = name == "pre-push" and sys.stdin is not None and not is_terminal(sys.stdin)
    top = top_directory()
    by_root: dict[str, tuple[Session, list[tuple[str, bytes]]]] = {}
    for path, data in pushed_locks(LOCK_NAME, sys.stdin) if is_push else staged_locks(LOCK_NAME):
        inner = _session_at(session, os.path.join(top, os.path.dirname(path)))
        by_root.setdefault(inner.context.root_path, (inner, []))[1].append((path, data))
    problems = [item for inner, locks in by_root.values() for item in verify_locks(inner.context, locks, quick=quick)]
    return [{"kind": "lock", **problem.document()} for problem in problems]


def _session_at(session: Session, directory: str) -> Session:
    """Return the session that a command in this directory would have: the nearest root may be another there."""
    before = os.getcwd()
    try:
        os.chdir(directory)
    except OSError:
        # Not checked out.
        return session
    try:
        inner = Session(session.options)
        inner.command = session.command
        # Looks around for the root here and now.
        inner.context.warnings.clear()
    finally:
        # git says relative to this where the repository is.
        os.chdir(before)
    return inner


def _large_files(session: Session, limit: int) -> list[dict[str, Any]]:
    from regcli.cli.git import digest_of_object, staged_files
    from regcli.domain.guarding import find_unstored

    large = [(path, digest_of_object(identity), size) for path, identity, size in staged_files(limit)]
    unstored = find_unstored(session.context, [digest for _, digest, _ in large])
    return [
        {
            "kind": "large-file",
            "path": path,
            "size": size,
            "message": f"has {human_size(size)} and is not in the registry; `regcli log` it, then commit its lock",
        }
        for path, digest, size in large
        if digest in unstored
    ]


def _sync(session: Session, name: str) -> int:
    """Sync every lock of the work tree; one that fails does not keep the others back."""
    from regcli.cli.git import top_directory, tracked_directories
    from regcli.cli.pinning import sync_lock
    from regcli.domain.lockfile import LOCK_NAME

    top = top_directory()
    done = []
    failure: RegcliError | None = None
    for directory in tracked_directories(LOCK_NAME):
        base = os.path.join(top, directory)
        if not os.path.lexists(os.path.join(base, LOCK_NAME)):
            continue
        try:
            done += sync_lock(_session_at(session, base), base)
        except RegcliError as error:
            if failure is not None:
                session.warn(f"{failure.message}")
            failure = error
    if failure is not None:
        raise failure
    session.emit(
        {"hook": name, "ok": True, "synced": [{**pin.document(), **item.document()} for pin, item in done], "problems": []}
    )
    return 0
