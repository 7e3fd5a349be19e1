"""The checks of one log: its commits, the files derived from it, and what points to and from it."""

from __future__ import annotations

from regcli.domain.collections import LINK, PURGED, is_live
from regcli.domain.report import Problem
from regcli.errors import RegcliError
from regcli.store import backrefs, files, jsontext
from regcli.store.chain import GENESIS
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.report import Report
    from regcli.domain.vanished import Witnesses
    from regcli.store.chain import Chain


def check_chain(report: Report, chain: Chain, witnesses: Witnesses) -> Any:
    """Check every commit and report each that is damaged; returns the replayed state, or None when it cannot be had.

    `witnesses` hears what the commits tell of other logs.
    """
    numbers = []
    try:
        names = list(files.scan_names(chain.log))
    except RegcliError as error:
        report.problems.append(Problem("history", chain.log, error.message))
        return None
    for name in names:
        stem, _, ending = name.partition(".")
        if ending == "json" and len(stem) == 10 and stem.isdigit() and stem.isascii():
            numbers.append(int(stem))
        elif not name.startswith("."):
            report.problems.append(Problem("extra", f"{chain.log}/{name}", "a file that regcli did not write lies in a log"))
    problems: list[Problem] = []
    prev = GENESIS
    top = max(numbers, default=0)
    previous_known = True
    for seq in range(1, top + 1):
        path = chain.commit_path(seq)
        try:
            data = files.read_document(path)
        except (FileNotFoundError, NotADirectoryError):
            problems.append(Problem("history", path, f"{path} is missing"))
            previous_known = False
            continue
        except RegcliError as error:
            problems.append(Problem("history", path, error.message))
            previous_known = False
            continue
        try:
            if not previous_known:
                # What came before is damaged and already reported; this commit says itself what it follows.
                document = jsontext.loads(data, path)
                prev = document.get("prev", prev) if isinstance(document, dict) else prev
            witnesses.hear_commit(chain.parse(data, path, seq, prev), chain.place)
            previous_known = True
        except RegcliError as error:
            problems.append(Problem("history", path, error.message))
            # The next one tells whether it was the bytes here that changed.
        prev = sha256_hex(data)
    report.files += len(numbers)
    if not problems:
        try:
            snapshot = chain.replay()
        except RegcliError as error:
            problems.append(Problem("history", chain.log, error.message))
        else:
            problems.extend(
                Problem("history", chain.commit_path(seq), f"{chain.commit_path(seq)} is void: {reason}")
                for seq, reason in sorted(chain.voids.items())
            )
            _check_head(problems, chain, snapshot)
            report.problems.extend(problems)
            return snapshot
    report.problems.extend(problems)
    return None


def _check_head(problems: list[Problem], chain: Chain, snapshot: Any) -> None:
    """Compare the head with the log; a derived file that is merely damaged is written again, one that lies is reported.

    A head that is ahead of the log proves that acknowledged commits are gone.
    """
    try:
        document = jsontext.unseal(files.read_document(f"{chain.derived}/head.json"))
    except (OSError, RegcliError):
        document = None
    if document is None or document.get("root") != chain.root_id or document.get("place") != chain.place:
        if snapshot.seq:
            chain.refresh_head(snapshot)
        return
    seq = document.get("seq", 0)
    if seq > snapshot.seq and not files.is_there(chain.commit_path(seq)):
        path = chain.commit_path(snapshot.seq + 1)
        words = f"{path} is missing: {chain.log} ends at {snapshot.seq}, but commit {seq} existed"
        problems.append(Problem("history", path, words))
        return
    # Others may be writing: compare at the very commit that the head is about.
    at_head = snapshot if seq == snapshot.seq else chain.replay(seq)
    if document.get("chain") != at_head.chain and seq == snapshot.seq:
        # The seal proves the head, and no later commit proves the last one. The head is kept: it is the only witness.
        path = chain.commit_path(seq)
        problems.append(Problem("history", path, f"{path} was altered: it is not the commit that {chain.base} was read from"))
        return
    if document.get("chain") != at_head.chain or document.get("state") != at_head.state:
        path = f"{chain.derived}/head.json"
        problems.append(Problem("index", path, f"{path} does not say what the log says"))
        chain.refresh_head(snapshot)
        return
    claimed = chain.read()
    truth = at_head if claimed.seq == at_head.seq else chain.replay(claimed.seq)
    for index, record in truth.records.ascending():
        if claimed.records.get(index) != record:
            where = f"{chain.base}/pages"
            words = f"the index of {chain.base} does not say what the log says about v{index}"
            problems.append(Problem("index", where, words))
            chain.refresh_head(snapshot)
            return
    if claimed.records.damaged:
        chain.refresh_head(claimed)


def check_markers(context: Context, report: Report, snapshot: Any, chain: Chain) -> None:
    """A pointer without its marker would not be seen by a deletion of what it points to; write the marker again."""
    wanted: list[tuple[str, str, int]] = [(used["id"], backrefs.USE, 0) for used in snapshot.state.get("used", ())]
    for index, record in snapshot.records.ascending():
        if snapshot.state["kind"] == LINK:
            if is_live(record):
                wanted.append((record["id"], backrefs.LINK, index))
        else:
            wanted.extend((edge["id"], backrefs.INPUT, index) for edge in record["inputs"])
            if record.get("references") and record["state"] != PURGED:
                wanted.extend((item, backrefs.REFERENCE, index) for item in _targets(context, record))
    for artifact_id, kind, number in wanted:
        try:
            if (kind, chain.place, number) not in backrefs.read_backrefs(context.root.path, artifact_id, kind):
                backrefs.add_backref(context.root.path, artifact_id, kind, chain.place, number)
        except RegcliError as error:
            report.problems.append(Problem("index", f"backrefs of {artifact_id}", error.message))


def _targets(context: Context, record: dict[str, Any]) -> list[str]:
    from regcli.domain.referrers import refers_to

    try:
        return refers_to(context, record)
    except RegcliError:
        # Its manifest is damaged, which is reported where content is checked.
        return []


def check_run(report: Report, versions: dict[str, dict[str, Any]], snapshot: Any, chain: Chain) -> None:
    """Check the metrics of a run against what its log says of them, and take note of parts whose content must be there."""
    from regcli.domain.run_history import find_damage, history_path

    if "history" in snapshot.state:
        message = find_damage(chain.base, snapshot.state["history"])
        if message is not None:
            report.problems.append(Problem("history", history_path(chain.base), message))
    for number, part in enumerate(snapshot.state.get("parts", ())):
        versions[f"part {number} of {snapshot.state['name']}"] = part
