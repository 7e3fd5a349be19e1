"""Repair: put back what is damaged or missing from any intact copy, and say what cannot be.

A copy counts only when it proves itself: a blob by its digest, a commit by the hash that its neighbour or the head keeps.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing

from regcli.errors import NotFoundError, RegcliError
from regcli.store import files, jsontext
from regcli.store.content import Content
from regcli.store.root import MARKER, open_root
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from regcli.domain.context import Context
    from regcli.domain.report import Problem, Report

# A manifest that comes back may name blobs that are missing too, and a log that comes back versions: a few rounds are enough.
_ROUNDS = 6


class Copy:
    """A place where intact copies may be: another root, any directory, or one file.

    Attributes:
        path: absolute. content: the blobs of a root, else None. root_id: of a root, else None.
    """

    __slots__ = ("content", "path", "root_id")

    def __init__(self, path: str) -> None:
        """Look what kind of place it is.

        Raises:
            NotFoundError: there is nothing.
        """
        self.path = os.path.abspath(path)
        self.content: Content | None = None
        self.root_id: str | None = None
        if not os.path.exists(self.path):
            raise NotFoundError(f"there is no root, directory or file {self.path}", hint="name a place that has intact copies")
        if os.path.isfile(f"{self.path}/{MARKER}"):
            self.content = Content(self.path)
            try:
                self.root_id = open_root(self.path).id
            except RegcliError:
                # Its blobs prove themselves, whatever else is damaged there.
                self.root_id = None

    def find(self, wanted: set[str]) -> Generator[tuple[str, str]]:
        """Yield (digest, path of an intact file) of the wanted blobs that are here; a path is good until the next one."""
        if self.content is not None:
            yield from _from_contents([self.content, *_trash_of(self.content)], wanted)
            return
        for path in _files_below(self.path):
            digest = _digest_of(path)
            if digest in wanted:
                yield digest, path


def _trash_of(content: Content) -> list[Content]:
    from regcli.store.sweep import trash_contents

    return list(trash_contents(content.root))


def _from_contents(contents: Iterable[Content], wanted: set[str]) -> Generator[tuple[str, str]]:
    left = set(wanted)
    with tempfile.TemporaryDirectory(prefix="regcli-") as directory:
        for number, content in enumerate(contents):
            for digest in sorted(left):
                path = os.path.join(directory, f"{number}-{digest}")
                try:
                    with open(path, "wb") as stream:
                        stream.writelines(content.stream(digest))
                except RegcliError:
                    os.unlink(path)
                    continue
                except OSError as error:
                    raise files.explain(error, f"cannot write {path}") from error
                left.discard(digest)
                yield digest, path
                os.unlink(path)


def _files_below(top: str) -> Iterator[str]:
    if os.path.isfile(top):
        yield top
        return
    for directory, names, entries in os.walk(top):
        names.sort()
        for name in sorted(entries):
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def _digest_of(path: str) -> str | None:
    from regcli.store.blobs import hash_file

    try:
        descriptor = os.open(path, files.READ)
    except OSError:
        return None
    try:
        return hash_file(descriptor)[0].hex()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def repair(context: Context, check: Callable[[], Report], sources: Sequence[str] = ()) -> Report:
    """Check, mend what can be mended, and check again until nothing more comes of it.

    Args:
        context: who mends, and where.
        check: makes a report of what is wrong now.
        sources: other roots, directories or files that may have intact copies. The trash and other places of the root itself
            are looked at first.

    Returns:
        The last report; what is still in it could not be mended. `repaired` names what was.

    Raises:
        NotFoundError: a source is not there.
    """
    copies = [Copy(source) for source in sources]
    repaired: list[str] = []
    report = check()
    first = {(problem.kind, problem.path) for problem in report.problems}
    for _ in range(_ROUNDS):
        if report.ok:
            break
        with context.lock("content", exclusive=True):
            done = _mend_logs(context, report.problems, copies) + _mend_content(context, report.problems, copies)
        context.root.content.close()
        after = check()
        if not done and {(p.kind, p.path) for p in after.problems} == {(p.kind, p.path) for p in report.problems}:
            report = after
            break
        repaired += done
        report = after
    # Derived files were written again by the check itself.
    left = {(problem.kind, problem.path) for problem in report.problems}
    repaired += sorted(path for kind, path in first - left if kind == "index")
    report.repaired = list(dict.fromkeys(repaired))
    return report


def _mend_content(context: Context, problems: Sequence[Problem], copies: Sequence[Copy]) -> list[str]:
    """Put back blobs, then write packs anew whose frame is damaged; returns what was mended."""
    from regcli.store.check import mend

    content = context.root.content
    wanted = {problem.digest for problem in problems if problem.digest is not None}
    done: list[str] = []
    content.index.close()
    if wanted:
        own: list[Generator[tuple[str, str]]] = [_from_contents([content, *_trash_of(content)], wanted)]
        for found in [*own, *(copy.find(set(wanted)) for copy in copies)]:
            with closing(found):
                for digest, path in found:
                    if digest in wanted and content.restore(digest, path):
                        wanted.discard(digest)
                        done.append(f"blob {digest}")
    if any(problem.kind == "corrupt" for problem in problems):
        done += mend(content)
    return done


def _mend_logs(context: Context, problems: Sequence[Problem], copies: Sequence[Copy]) -> list[str]:
    """Put back commits that another copy of this root has, where a neighbour or the head proves them."""
    done: list[str] = []
    roots = [copy.path for copy in copies if copy.root_id == context.root.id]
    damaged = {path for problem in problems if problem.kind == "history" for path in _suspects(problem.path)}
    for path in sorted(damaged):
        # A commit that does not follow the one before it may be the right one of the two.
        for suspect in (path, _path_before(path)):
            if suspect in done or not suspect.startswith(f"{context.root.path}/"):
                continue
            for mended, data in _proven_commits(context.root.path, suspect, roots):
                _replace_commit(context.root.path, mended, data)
                done.append(mended)
    return done


def _suspects(path: str) -> list[str]:
    """Return the commit that a problem is about; all of them where it is about a whole log."""
    if path.endswith(".json"):
        return [path]
    try:
        return [f"{path}/{name}" for name in files.scan_names(path) if name.endswith(".json") and name[:-5].isdecimal()]
    except RegcliError:
        # That it cannot be listed is what the problem says.
        return []


def _path_before(path: str) -> str:
    log, name = os.path.split(path)
    return f"{log}/{int(name.partition('.')[0]) - 1:010d}.json"


def _proven_commits(root: str, path: str, copies: Sequence[str]) -> list[tuple[str, bytes]]:
    """Return intact copies of a commit, and of those after it up to the first that proves them; nothing where none does."""
    log, name = os.path.split(path)
    first = last = int(name.partition(".")[0])
    head = _head_of(os.path.dirname(log))
    while (expected := _previous_of(log, last + 1)) is None and head is not None and last < head[0]:
        last += 1
    if expected is None and head is not None and head[0] == last:
        expected = head[1]
    found: list[tuple[str, bytes]] = []
    for seq in range(last, first - 1, -1):
        where = f"{log}/{seq:010d}.json"
        if expected is not None and _hash_of(where) == expected:
            # What lies there is right; what is wrong is another one.
            return []
        data = _copy_of(where.removeprefix(f"{root}/"), copies, expected) if expected is not None else None
        if data is None:
            return []
        found.append((where, data))
        expected = _previous_in(data, seq)
    return found


def _hash_of(path: str) -> str | None:
    try:
        return sha256_hex(files.read_document(path))
    except (FileNotFoundError, NotADirectoryError, RegcliError):
        return None


def _copy_of(place: str, copies: Sequence[str], expected: str) -> bytes | None:
    for copy in copies:
        try:
            data = files.read_document(f"{copy}/{place}")
        except (FileNotFoundError, NotADirectoryError, RegcliError):
            continue
        if sha256_hex(data) == expected:
            return data
    return None


def _previous_of(log: str, seq: int) -> str | None:
    """Return the hash that the commit before number `seq` must have, where number `seq` can be read."""
    try:
        return _previous_in(files.read_document(f"{log}/{seq:010d}.json"), seq)
    except (FileNotFoundError, NotADirectoryError, RegcliError):
        return None


def _previous_in(data: bytes, seq: int) -> str | None:
    try:
        commit = jsontext.loads(data, "a commit")
    except RegcliError:
        return None
    if not isinstance(commit, dict) or commit.get("seq") != seq or not isinstance(commit.get("prev"), str):
        return None
    prev: str = commit["prev"]
    return prev


def _head_of(base: str) -> tuple[int, str] | None:
    """Return number and hash of the commit that a head was made from."""
    try:
        head = jsontext.unseal(files.read_document(f"{base}/head.json"))
    except (FileNotFoundError, NotADirectoryError, RegcliError):
        return None
    if head is None or not isinstance(head.get("seq"), int) or not isinstance(head.get("chain"), str):
        return None
    return head["seq"], head["chain"]


def _replace_commit(root: str, path: str, data: bytes) -> None:
    try:
        files.remove_obstacle(path, root)
        files.replace_file(path, data, mode=0o444, durable=True, root=root)
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error
