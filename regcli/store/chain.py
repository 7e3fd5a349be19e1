"""One log of hash-chained commits in a directory, and the head that is derived from it.

The numbered commit files are the truth. A commit is published by creating its name exclusively, so each number has one
winner, with or without working locks; its `prev` names the exact state it was checked against. The head only saves
reading the log again: it may be missing, stale or damaged at any time.
"""

from __future__ import annotations

import os

from regcli.errors import BusyError, ConflictError, IntegrityError, RegcliError, UsageError
from regcli.store import files, jsontext
from regcli.store.records import Records
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Commit = dict[str, Any]
    State = dict[str, Any]
    Reducer = Callable[[State, Records, Commit], None]
    Judge = Callable[["Snapshot", Commit, int], str | None]

FORMAT = 1
GENESIS = "0" * 64
MAX_COMMIT = 16 * 1024 * 1024
# What is written is smaller: in another root it comes with that root's own envelope, and with where it came from.
MAX_CHANGE = MAX_COMMIT - (1 << 17)


class Snapshot:
    """The state of a chain after commit `seq`.

    Attributes:
        seq: number of the last commit, 0 before the first.
        chain: SHA-256 of the last commit's bytes, hex.
        state: what the commits add up to; its shape is the reducer's.
        records: the version records (empty for chains that have none).
    """

    __slots__ = ("chain", "records", "seq", "state")

    def __init__(self, seq: int, chain: str, state: State, records: Records) -> None:
        """Bundle the state with the commit it rests on."""
        self.seq = seq
        self.chain = chain
        self.state = state
        self.records = records

    def copy(self) -> Snapshot:
        """Return a snapshot that a commit may be tried on; what reducers change in place is copied, the rest is shared."""
        state = {key: value.copy() if isinstance(value, (dict, list)) else value for key, value in self.state.items()}
        return Snapshot(self.seq, self.chain, state, self.records.copy())

    def become(self, other: Snapshot) -> None:
        """Take the other's place in time."""
        self.seq, self.chain, self.state, self.records = other.seq, other.chain, other.state, other.records


class Chain:
    """A commit log.

    Args:
        base: directory of the thing the log is about; `head.json` and `pages/` lie in it.
        log: directory of the commits.
        root_id: random id of the root; a commit of another root is refused.
        reducer: applies one commit to a state and its records, in place.
        initial: makes the state before the first commit.
        place: `base` relative to the root, "" for the root itself; a commit or head of another place is refused.
        root: path of the root, where `place` does not tell it.
        derived: where `head.json` and `pages/` lie if not in `base`: a directory of the user's own, and only trusted as such.
        judge: says why a commit does not count (from the state before it, the commit, and the owner of its file), or None.
        check_state, check_record: raise ValueError where a state or a version record is not of the shape that it must have.
        settings_seq: the state of the registry's settings that changes are checked against, unless they say another.
        voids: number -> reason, of the commits that were read and do not count.
    """

    __slots__ = (
        "_tried", "base", "check_record", "check_state", "derived", "initial", "judge", "log", "place", "reducer", "root",
        "root_id", "settings_seq", "voids",
    )  # fmt: skip

    def __init__(
        self,
        base: str,
        log: str,
        root_id: str,
        reducer: Reducer,
        initial: Callable[[], State],
        place: str = "",
        *,
        root: str | None = None,
        derived: str | None = None,
        judge: Judge | None = None,
        settings_seq: int | None = None,
        check_state: Callable[[Any], None] | None = None,
        check_record: Callable[[Any], None] | None = None,
    ) -> None:
        """Name the directories; nothing is opened."""
        self.base = base
        self.log = log
        self.root_id = root_id
        self.reducer = reducer
        self.initial = initial
        self.place = place
        self.root = root or (base.removesuffix(f"/{place}") if place else base)
        self.derived = base if derived is None else derived
        self.judge = judge
        self.settings_seq = settings_seq
        self.check_state = check_state
        self.check_record = check_record
        self.voids: dict[int, str] = {}
        # The bytes of the commit that `append` last tried to publish.
        self._tried = b""

    def commit_path(self, seq: int) -> str:
        """Return the path of commit number `seq`."""
        return f"{self.log}/{seq:010d}.json"

    def read(self) -> Snapshot:
        """Return the current state: the head, then every newer commit until one is missing.

        Raises:
            IntegrityError: a commit is damaged, missing in the middle, foreign or of a newer format.
        """
        snapshot = self._read_head()
        derived = snapshot is not None
        if snapshot is None:
            snapshot = self._start()
        start = snapshot.seq
        self._advance(snapshot, complete=not derived)
        if snapshot.seq > start + 32:
            # A rebuild or a long catch-up is worth keeping; readers without write permission go on without.
            self.refresh_head(snapshot)
        return snapshot

    def replay(self, upto: int | None = None) -> Snapshot:
        """Return the state computed from the commits alone.

        Raises:
            IntegrityError: a commit is damaged or missing, or the log ends before `upto`.
        """
        snapshot = self._start()
        self._advance(snapshot, upto, complete=True)
        if upto is not None and snapshot.seq < upto:
            raise self._missing(snapshot.seq + 1, "but was there before")
        return snapshot

    def _start(self) -> Snapshot:
        return Snapshot(0, GENESIS, self.initial(), self._records(None, 0))

    def _records(self, document: dict[str, Any] | None, seq: int) -> Records:
        return Records(f"{self.derived}/pages", self.root, lambda: self.replay(seq).records, document, self.check_record)

    def _read_head(self) -> Snapshot | None:
        try:
            if self.derived is not self.base and os.lstat(self.derived).st_uid != os.geteuid():
                return None
            document = jsontext.unseal(files.read_document(f"{self.derived}/head.json"))
        except (OSError, RegcliError):
            return None
        if document is None or document.get("root") != self.root_id or document.get("place") != self.place:
            return None
        if document.get("judged", False) != (self.judge is not None):
            return None
        try:
            if document["format"] > FORMAT:
                raise IntegrityError(
                    f"{self.derived}/head.json has format {document['format']}, which is newer than this program",
                    hint="upgrade regcli",
                )
            if self.initial().keys() - document["state"].keys():
                # Of an earlier program that did not know all of it: the log tells the rest.
                return None
            seq = int(document["seq"])
            if self.check_state is not None:
                self.check_state(document["state"])
            return Snapshot(seq, document["chain"], document["state"], self._records(document.get("records"), seq))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _advance(self, snapshot: Snapshot, upto: int | None = None, *, complete: bool = False) -> None:
        """Apply every commit after `snapshot`; `complete` makes sure that none follows the one that is missing."""
        start = snapshot.seq
        self._apply_all(snapshot, upto, complete=complete)
        if snapshot.seq > start:
            self._require_shape(snapshot)

    def _require_shape(self, snapshot: Snapshot) -> None:
        """Refuse what commits add up to when it is not of the shape that the rules expect."""
        if self.check_state is None:
            return
        try:
            self.check_state(snapshot.state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"{self.log} is corrupt: {error}", hint="run `regcli verify` to see all damage") from error

    def _apply_all(self, snapshot: Snapshot, upto: int | None, *, complete: bool) -> None:
        while upto is None or snapshot.seq < upto:
            path = self.commit_path(snapshot.seq + 1)
            try:
                data = files.read_document(path, MAX_COMMIT)
            except (FileNotFoundError, NotADirectoryError):
                if complete and self._goes_on(snapshot.seq):
                    continue
                return
            commit = self.parse(data, path, snapshot.seq + 1, snapshot.chain)
            if not self._is_void(snapshot, commit, path):
                self.apply(snapshot, commit, sha256_hex(data), path)
            else:
                snapshot.seq, snapshot.chain = commit["seq"], sha256_hex(data)

    def _is_void(self, snapshot: Snapshot, commit: Commit, path: str) -> bool:
        """Tell whether a commit does not count, although it stays in the chain; `voids` says why."""
        if self.judge is None:
            return False
        try:
            reason = self.judge(snapshot, commit, os.lstat(path).st_uid)
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"it is no commit that regcli makes: {error!r}"
        if reason is None:
            return False
        self.voids[commit["seq"]] = reason
        return True

    def last_number(self) -> int:
        """Return the highest number that a commit file has, 0 when there is none."""
        highest = 0
        for name in files.scan_names(self.log):
            stem = name[:-5]
            if name.endswith(".json") and stem.isascii() and stem.isdigit():
                highest = max(highest, int(stem))
        return highest

    def _goes_on(self, seq: int) -> bool:
        """Tell whether commit `seq + 1`, which was just missing, is there now.

        Raises:
            IntegrityError: it is still missing, but a later one is there: numbers are given out one after the other.
        """
        if self.last_number() <= seq:
            return False
        if not files.is_there(self.commit_path(seq + 1)):
            raise self._missing(seq + 1, "but later commits exist")
        return True

    def _missing(self, seq: int, why: str) -> IntegrityError:
        return IntegrityError(f"{self.commit_path(seq)} is missing, {why}", hint="run `regcli verify` to see all damage")

    def apply(self, snapshot: Snapshot, commit: Commit, chain: str, path: str) -> None:
        """Apply one parsed commit to a snapshot, in place."""
        try:
            self.reducer(snapshot.state, snapshot.records, commit)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"{path} is corrupt: {error!r}", hint="run `regcli verify` to see all damage") from error
        snapshot.seq = commit["seq"]
        snapshot.chain = chain

    def parse(self, data: bytes, path: str, seq: int, prev: str) -> Commit:
        """Check the envelope of a commit.

        Raises:
            IntegrityError: it is not JSON, not commit `seq`, not of this root, or does not follow `prev`.
        """
        commit: Any = jsontext.loads(data, path)
        if not isinstance(commit, dict) or not isinstance(commit.get("ops"), list):
            raise IntegrityError(f"{path} is corrupt: not a commit", hint="run `regcli verify` to see all damage")
        form = commit.get("format")
        if isinstance(form, int) and form > FORMAT:
            raise IntegrityError(f"{path} has format {form}, which is newer than this program", hint="upgrade regcli")
        if form != FORMAT or commit.get("seq") != seq:
            raise IntegrityError(f"{path} is corrupt: not commit number {seq}", hint="run `regcli verify` to see all damage")
        if commit.get("root") != self.root_id:
            raise IntegrityError(f"{path} belongs to another root", hint="run `regcli verify` to see all damage")
        if commit.get("place") != self.place:
            raise IntegrityError(f"{path} belongs to another log of this root", hint="run `regcli verify` to see all damage")
        if set(map(type, map(commit.get, ("time", "user", "host", "command")))) != {str} or not _are_ops(commit["ops"]):
            raise IntegrityError(f"{path} is corrupt: not a commit", hint="run `regcli verify` to see all damage")
        if commit.get("prev") != prev:
            raise IntegrityError(
                f"{path} does not follow {self.commit_path(seq - 1)}: one of the two was altered",
                hint="run `regcli verify` to see all damage",
            )
        return commit

    def commits(self, upto: int | None = None) -> Iterator[tuple[Commit, str]]:
        """Yield every commit that counts with its path, oldest first, checked against the one before it."""
        seq, chain = 0, GENESIS
        judged = self._start() if self.judge is not None else None
        while upto is None or seq < upto:
            path = self.commit_path(seq + 1)
            try:
                data = files.read_document(path, MAX_COMMIT)
            except (FileNotFoundError, NotADirectoryError):
                if self._goes_on(seq):
                    continue
                return
            commit = self.parse(data, path, seq + 1, chain)
            seq, chain = seq + 1, sha256_hex(data)
            if judged is not None:
                if self._is_void(judged, commit, path):
                    continue
                self.apply(judged, commit, chain, path)
            yield commit, path

    def append(self, snapshot: Snapshot, envelope: Commit, ops: list[dict[str, Any]]) -> Commit | None:
        """Publish the commit that follows `snapshot` and bring `snapshot` up to it.

        Args:
            snapshot: the state the ops were checked against.
            envelope: time, user, uid, host, command and what else the caller records.
            ops: the changes, applied together or not at all.

        Returns:
            The commit, durable; None when another writer took the number first (read again and check again).

        Raises:
            ConflictError: it would not count, since the settings changed meanwhile.
            StorageError: nothing was changed.
            IntegrityError: the commit that this one would follow is gone; nothing was changed.
            OutcomeUnknownError: published but perhaps not durable.
        """
        commit: Commit = {
            "format": FORMAT,
            "root": self.root_id,
            "place": self.place,
            "seq": snapshot.seq + 1,
            "prev": snapshot.chain,
            "txn": files.random_hex(8),
            **envelope,
            "ops": ops,
        }
        self._refuse_void(snapshot, commit)
        data = jsontext.dumps(commit).encode() + b"\n"
        if len(data) > (MAX_COMMIT if "origin" in envelope else MAX_CHANGE):
            raise UsageError(f"the change is too large: {len(data)} bytes", hint="shorten the metadata or the description")
        path = self.commit_path(snapshot.seq + 1)
        if snapshot.seq == 0:
            self._make_log()
        elif not files.is_there(self.commit_path(snapshot.seq)):
            # Only the head knows of it. A commit after a hole would make the hole one for good.
            raise self._missing(snapshot.seq, "so nothing can follow it")
        # What no reader could take in must not be published: it would end the log for good.
        after = snapshot.copy()
        self.apply(after, self.parse(data, path, commit["seq"], snapshot.chain), sha256_hex(data), path)
        self._require_shape(after)
        self._tried = data
        if not files.create_exclusive(path, data, root=self.root):
            try:
                if files.read_document(path, MAX_COMMIT) != data:
                    return None
            except FileNotFoundError:
                return None
            self.sync()
        snapshot.become(after)
        return commit

    def has_published(self, seq: int) -> bool:
        """Tell whether an `append` that an exception cut short had made commit `seq`; if so it is durable now.

        Raises:
            StorageError: it was made, and cannot be made durable.
        """
        try:
            # Each attempt's bytes are its own: `txn` is random.
            if not self._tried or files.read_document(self.commit_path(seq), MAX_COMMIT) != self._tried:
                return False
        except (OSError, RegcliError):
            return False
        self.sync()
        return True

    def _refuse_void(self, snapshot: Snapshot, commit: Commit) -> None:
        reason = self.judge(snapshot, commit, os.geteuid()) if self.judge is not None else None
        if reason is not None:
            raise ConflictError(f"the change would not count: {reason}", hint="try again")

    def _make_log(self) -> None:
        """Make the directory of the commits before the first of them; its whole path is durable afterwards."""
        try:
            files.make_within(self.root, self.log)
            # Whoever made the root may have been killed before its own name was durable.
            files.fsync_directory(self.root)
        except OSError as error:
            raise files.explain(error, f"cannot make {self.log}") from error

    def sync(self) -> None:
        """Make the commits that were read durable: their writer may not have come so far, and may never.

        For an answer that rests on them without adding one.

        Raises:
            StorageError: they cannot be made durable.
        """
        try:
            files.fsync_recent(self.log)
        except FileNotFoundError:
            return
        except OSError as error:
            raise files.explain(error, f"cannot sync {self.log}") from error

    def refresh_head(self, snapshot: Snapshot) -> None:
        """Write a head from commits that were only read; failing to is harmless.

        They are made durable first: a head that survives a power cut which its commits did not would leave a hole in the log.
        """
        try:
            files.fsync_directory(self.log)
        except OSError:
            return
        self.write_head(snapshot)

    def write_head(self, snapshot: Snapshot) -> None:
        """Refresh the head and pages after an `append`; failing to is harmless, since both are derived."""
        try:
            if self.derived is not self.base and not self._own_derived():
                return
            unlisted = snapshot.records.settle()
            document = {
                "format": FORMAT,
                "root": self.root_id,
                "place": self.place,
                "seq": snapshot.seq,
                "chain": snapshot.chain,
                "state": snapshot.state,
                "records": snapshot.records.document(),
            }
            if self.judge is not None:
                document["judged"] = True
            path = f"{self.derived}/head.json"
            try:
                files.replace_file(path, jsontext.seal(document), root=self.root)
            except IsADirectoryError:
                files.remove_obstacle(path, self.root)
                files.replace_file(path, jsontext.seal(document), root=self.root)
            if unlisted:
                snapshot.records.remove_pages(unlisted)
        except (OSError, ValueError, RegcliError):
            return

    def _own_derived(self) -> bool:
        """Make the user's own directory of derived files; False where somebody else did."""
        try:
            status = os.lstat(self.derived)
        except FileNotFoundError:
            files.make_within(self.root, self.derived, 0o755)
            status = os.lstat(self.derived)
        return status.st_uid == os.geteuid()


def _are_ops(ops: list[Any]) -> bool:
    return all(type(op) is dict and type(op.get("op")) is str for op in ops)


class Attempts:
    """Paces the retries of a writer that keeps losing the race for the next number."""

    __slots__ = ("_clock", "_deadline", "_pause", "_sleep")

    def __init__(self, wait: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        """Allow `wait` seconds of retries."""
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + wait
        self._pause = 0.0005

    def lost(self, what: str) -> None:
        """Note a lost race and pause a little, longer each time.

        Raises:
            BusyError: the time is up.
        """
        if self._clock() >= self._deadline:
            raise BusyError(
                f"{what} is being changed by others without a break", hint="try again, or wait longer with --wait SECONDS"
            )
        self._sleep(self._pause * (0.5 + os.urandom(1)[0] / 255))
        self._pause = min(self._pause * 1.6, 0.05)
