"""What every operation is given: the root, who asks, when, and how long to wait for a busy store."""

from __future__ import annotations

import os
import time

from regcli.domain.trust import Trust
from regcli.errors import NotFoundError, OutcomeUnknownError, RegcliError
from regcli.model import EntityName, ProjectRef, parse_project
from regcli.store.chain import Attempts
from regcli.store.root import Root, create_root, open_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from regcli.store.chain import Chain, Snapshot
    from regcli.store.locks import Lock

    Operation = dict[str, Any]
    Check = Callable[[Snapshot], list[Operation]]

DEFAULT_ENTITY = "local"
DEFAULT_PROJECT = "default"


def format_time(seconds: float) -> str:
    """Return RFC 3339 in UTC with microseconds, such as `2026-11-30T08:15:00.123456Z`."""
    moment = time.gmtime(seconds)
    fraction = int((seconds - int(seconds)) * 1_000_000)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}T"
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}.{fraction:06d}Z"
    )


class Change:
    """The outcome of one transaction: the state after it, and the commit (None when nothing had to change)."""

    __slots__ = ("commit", "snapshot")

    def __init__(self, snapshot: Snapshot, commit: dict[str, Any] | None) -> None:
        """Bundle both."""
        self.snapshot = snapshot
        self.commit = commit

    @property
    def seq(self) -> int:
        """Number of the commit that the answer rests on."""
        return self.snapshot.seq


class Context:
    """The surroundings of one operation.

    Attributes:
        root_path: absolute path of the root, which need not exist yet.
        user, uid, host: who asks; the operating system's user.
        clock: seconds since the epoch. sleep: pauses. wait: seconds a busy store is waited for.
        command: the command's name, such as `alias add`, for the history.
        made: place and number of every commit that was made, for whoever has to report a failure after one.
        announced: ids of the notices for automations that the commits gave rise to.
        on_announced: called after such a commit, for programs that live on; the command line delivers at its end.
        environment: the user's variables, for the endpoints of object stores.
        trust: the user's own files about signatures; by default none, so that signed aliases are refused.
    """

    __slots__ = (
        "_project",
        "_root",
        "announced",
        "clock",
        "command",
        "environment",
        "host",
        "made",
        "on_announced",
        "root_path",
        "sleep",
        "trust",
        "uid",
        "user",
        "verbosity",
        "wait",
        "warnings",
    )

    def __init__(
        self,
        *,
        root_path: str,
        user: str,
        uid: int,
        host: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        command: str = "",
        wait: float = 30.0,
        project: str | None = None,
        verbosity: int = 0,
        environment: Mapping[str, str] | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Take the surroundings as values; nothing is opened."""
        self.root_path = root_path
        self.user = user
        self.uid = uid
        self.host = host
        self.clock = clock
        self.sleep = sleep
        self.command = command
        self.wait = wait
        self.verbosity = verbosity
        self.environment: Mapping[str, str] = {} if environment is None else environment
        self.trust = Trust() if trust is None else trust
        self.warnings: list[str] = []
        self.made: list[tuple[str, int]] = []
        self.announced: list[str] = []
        self.on_announced: Callable[[Context], object] | None = None
        self._project = project
        self._root: Root | None = None

    def derive(self, command: str, project: str | None = None) -> Context:
        """Return the same surroundings for another command, perhaps in another project; an opened root is shared."""
        other = Context(
            root_path=self.root_path, user=self.user, uid=self.uid, host=self.host, clock=self.clock, sleep=self.sleep,
            command=command, wait=self.wait, project=project or self._project, verbosity=self.verbosity,
            environment=self.environment, trust=self.trust,
        )  # fmt: skip
        other._root = self._root
        other.made = self.made
        other.announced = self.announced
        other.on_announced = self.on_announced
        return other

    @property
    def root(self) -> Root:
        """The root, opened at first use; NotFoundError when there is none."""
        if self._root is None:
            self._root = open_root(self.root_path)
        return self._root

    def adopt(self, root: Root) -> None:
        """Work with a root that is open already; not one that another thread works with."""
        self._root = root

    @property
    def has_root(self) -> bool:
        """Whether there is a root to open."""
        try:
            return self.root is not None
        except NotFoundError:
            return False

    def make_root(self, entity: str | None = None, *, personal: bool = False) -> tuple[Root, bool]:
        """Open the root, making it when it is missing; returns it and whether it was made."""
        try:
            return self.root, False
        except NotFoundError:
            name = EntityName.parse(entity or DEFAULT_ENTITY)
            self._root, made = create_root(
                self.root_path, owner=self.user, created_at=self.now(), entity=name, personal=personal
            )
            return self._root, made

    @property
    def project(self) -> ProjectRef:
        """The current project: `--project`, else the root's default entity and `default`."""
        try:
            entity = self.root.entity
        except NotFoundError:
            entity = DEFAULT_ENTITY
        if self._project is not None:
            return parse_project(self._project, entity)
        return ProjectRef(entity, DEFAULT_PROJECT)

    def now(self) -> str:
        """Return the time as it is stored."""
        return format_time(self.clock())

    def envelope(self, **extra: Any) -> dict[str, Any]:
        """Return what every commit records beside its operations."""
        return {
            "time": self.now(),
            "user": self.user,
            "uid": self.uid,
            "host": self.host,
            "command": self.command,
            **{key: value for key, value in extra.items() if value is not None},
        }

    def transact(
        self,
        chain: Chain,
        check: Check,
        *,
        reason: str | None = None,
        settings_seq: int | None = None,
        origin: dict[str, Any] | None = None,
    ) -> Change:
        """Run one transaction on a chain: check every rule against exactly the state that the commit follows.

        `check` is called again with a newer state whenever another writer was faster. It returns the operations, or an
        empty list when nothing has to change, and raises to refuse. `origin` is the commit of another root that an import
        repeats.
        """
        if settings_seq is None:
            settings_seq = chain.settings_seq
        attempts = Attempts(self.wait, time.monotonic, self.sleep)
        while True:
            snapshot = chain.read()
            ops = check(snapshot)
            if not ops:
                # "Nothing had to change" is an answer too, and must not rest on what a power cut may still take back.
                chain.sync()
                return Change(snapshot, None)
            envelope = self.envelope(reason=reason, settings_seq=settings_seq, origin=origin)
            commit = self._append(chain, snapshot, envelope, ops)
            if commit is not None:
                chain.write_head(snapshot)
                if any("signature" in op for op in ops):
                    from regcli.domain.signing import remember

                    remember(self, ops)
                return Change(snapshot, commit)
            attempts.lost(chain.base)

    def _append(
        self, chain: Chain, snapshot: Snapshot, envelope: dict[str, Any], ops: list[Operation]
    ) -> dict[str, Any] | None:
        """Publish a commit together with the notices for automations that it gives rise to."""
        announcement = None
        # What an import repeats has happened, and was told, in another root.
        if "origin" not in envelope and self._is_watched():
            from regcli.domain.outbox import announce

            announcement = announce(self, chain, snapshot, ops)
        if announcement is None:
            return self._publish(chain, snapshot, envelope, ops)
        following = (chain.place, snapshot.seq + 1)
        try:
            commit = self._publish(chain, snapshot, {**envelope, "outbox": announcement.entries}, ops)
        except OutcomeUnknownError:
            raise
        except BaseException:
            if following not in self.made:
                announcement.withdraw()
            raise
        if commit is None:
            announcement.withdraw()
            return None
        self.announced.extend(entry["event_id"] for entry in announcement.entries)
        if self.on_announced is not None:
            self.on_announced(self)
        return commit

    def _publish(
        self, chain: Chain, snapshot: Snapshot, envelope: dict[str, Any], ops: list[Operation]
    ) -> dict[str, Any] | None:
        """Publish a commit and note that it was made, also where Ctrl-C comes between the one and the other."""
        following = (chain.place, snapshot.seq + 1)
        try:
            commit = chain.append(snapshot, envelope, ops)
            if commit is not None:
                self.made.append(following)
        except RegcliError:
            raise
        except BaseException:
            if following not in self.made and chain.has_published(following[1]):
                self.made.append(following)
            raise
        return commit

    def _is_watched(self) -> bool:
        """Tell whether there may be automations: two system calls, since mostly there are none."""
        config = self.trust.config_path
        return os.path.isdir(f"{self.root.path}/outbox") or (
            config is not None and os.path.exists(f"{config}/automations.json")
        )

    def lock(self, name: str, *, exclusive: bool = False, needed: bool | None = None) -> Held:
        """Return a lock to be held with `with`: `content` against gc, `settings` against changes of protection and roles.

        Where the file system has no locks, one that is `needed` fails; unless that is said, an exclusive one is.
        """
        return Held(self, name, exclusive=exclusive, needed=needed)


class Held:
    """A lock of the store, held inside a `with` block."""

    __slots__ = ("_context", "_exclusive", "_lock", "_name", "_needed")

    def __init__(self, context: Context, name: str, *, exclusive: bool, needed: bool | None) -> None:
        """Name the lock; nothing is taken yet."""
        self._context = context
        self._name = name
        self._exclusive = exclusive
        self._needed = needed
        self._lock: Lock | None = None

    def __enter__(self) -> Self:
        """Take the lock, or raise BusyError.

        The gate before it is held only while waiting: who waits for the exclusive lock keeps it, so that a stream of short
        shared holders cannot keep a deletion out for ever.
        """
        from regcli.store.locks import Lock

        context = self._context
        directory = context.root.open_locks()
        gate = Lock(context.root.lock_path(f"{self._name}-gate"), dir_fd=directory)
        self._lock = Lock(context.root.lock_path(self._name), dir_fd=directory)
        try:
            for lock in (gate, self._lock):
                lock.acquire(
                    exclusive=self._exclusive,
                    wait=context.wait,
                    clock=time.monotonic,
                    sleep=context.sleep,
                    needed=self._needed,
                )
        finally:
            gate.release()
            os.close(directory)
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        if self._lock is not None:
            self._lock.release()
