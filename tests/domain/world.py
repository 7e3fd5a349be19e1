"""A root with several users, for tests of rules: what a user does is one call, in this process or in another."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regcli.domain
import regcli.store
from regcli.domain.context import Context
from regcli.domain.linking import link_version
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.errors import RegcliError
from regcli.model import Alias, RegistryName, Tag, TypeName
from regcli.store.ingest import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regcli.domain.linking import Linked
    from regcli.domain.log_request import Logged

DAY = 86400


class World:
    """A root and its users, with a clock that the test moves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = str(path / "root")
        self.offset = 0.0
        self._files = 0
        self._contexts: dict[str, Context] = {}

    def user(self, name: str = "alice", *, wait: float = 5.0) -> Context:
        """Return the surroundings of a user, the same at every call."""
        if name not in self._contexts:
            import time

            self._contexts[name] = Context(
                root_path=self.root,
                user=name,
                uid=os.geteuid(),
                host="lab",
                clock=lambda: time.time() + self.offset,
                command="test",
                wait=wait,
            )
        return self._contexts[name]

    def later(self, seconds: float) -> None:
        """Move everybody's clock."""
        self.offset += seconds

    def log(self, name: str = "zoo", content: bytes | str | None = None, *, user: str = "alice", **fields: Any) -> Logged:
        """Log one file, with new content unless it is given; `fields` are the request's."""
        self._files += 1
        file = self.path / f"files-{self._files}" / "data.bin"
        file.parent.mkdir(exist_ok=True)
        data = content if content is not None else f"content {self._files}"
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        request = LogRequest(name, TypeName.parse(fields.pop("type", "model")))
        request.sources = [Source(str(file))]
        request.aliases = [Alias.parse(alias) for alias in fields.pop("aliases", ())]
        request.tags = [Tag.parse(tag) for tag in fields.pop("tags", ())]
        for field, value in fields.items():
            setattr(request, field, value)
        return log_version(self.user(user), request)

    def link(self, source: str = "zoo", target: str = "model/zoo", *aliases: str, user: str = "alice") -> Linked:
        """Link a version."""
        return link_version(self.user(user), source, target, aliases=[Alias.parse(alias) for alias in aliases])

    def protect(self, *aliases: str, registry: str = "model") -> None:
        """Let alice protect aliases of a registry."""
        from regcli.domain.registries import find_registry, protect

        context = self.user()
        protect(context, find_registry(context, RegistryName.parse(registry)), [Alias.parse(alias) for alias in aliases])

    def furnish(self) -> None:
        """Log and publish two versions with some of everything: alias, tag, metadata, metrics, lineage, links, protection."""
        self.log("zoo", "first", aliases=["best"], tags=["good"], metadata={"a": {"b": [1]}}, metrics={"loss": 0.5})
        self.log("zoo", "second", inputs=["zoo:v0"], description="words")
        self.link("zoo:v0", "model/zoo", "production")
        self.link("zoo:v1", "model/zoo")
        self.protect("production")


def preload() -> None:
    """Import everything now: a user other than root may not be able to read the interpreter's own files."""
    import calendar  # noqa: F401
    import queue  # noqa: F401
    import tomllib  # noqa: F401
    import unicodedata  # noqa: F401

    import tomli_w  # noqa: F401

    for package in (regcli.domain, regcli.store):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def run_as(uid: int, gid: int, work: Callable[[], Any], *, umask: int = 0o077) -> Any:
    """Do `work` in a process of another user, and return what it returns (as JSON) or raise what it raises.

    A RegcliError comes back as a `Refused` with its class's name and exit code.
    """
    preload()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.umask(umask)
            answer: dict[str, Any] = {"value": work()}
        except RegcliError as error:
            answer = {"refused": [type(error).__name__, error.exit_code, error.message]}
        except BaseException:  # noqa: BLE001 - reported to the parent
            answer = {"failed": traceback.format_exc()}
        try:
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(data)
    if "failed" in answer:
        raise AssertionError(answer["failed"])
    if "refused" in answer:
        raise Refused(*answer["refused"])
    return answer["value"]


class Refused(Exception):  # noqa: N818 - it says what happened, as in the tests
    """What a RegcliError in another process becomes."""

    def __init__(self, kind: str, exit_code: int, message: str) -> None:
        super().__init__(f"{kind} ({exit_code}): {message}")
        self.kind = kind
        self.exit_code = exit_code
        self.message = message


def is_root() -> bool:
    """Whether other users' ids can be taken."""
    return sys.platform == "linux" and os.geteuid() == 0


@contextmanager
def world_in_memory() -> Iterator[World]:
    """Give a world for one test, without the cost of a disk's syncs."""
    path = tempfile.mkdtemp(prefix="regcli-world-", dir=memory())
    try:
        yield World(Path(path))
    finally:
        shutil.rmtree(path)


def memory() -> str | None:
    """Return a directory in memory that every user can enter, or None: a shared root begins with hundreds of directories."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
