"""Logs of commits: who wins a number, what is refused, what the head may and may not do."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from regcli.errors import BusyError, IntegrityError, OutcomeUnknownError, StorageError, UsageError
from regcli.store import files
from regcli.store.chain import GENESIS, MAX_COMMIT, Attempts, Chain
from tests.store.chain_cases import ENVELOPE, add, add_versions, initial, make_chain, note, reduce


def commit_bytes(chain: Any, seq: int) -> bytes:
    return Path(chain.commit_path(seq)).read_bytes()


def overwrite(path: str, data: bytes) -> None:
    Path(path).unlink()
    Path(path).write_bytes(data)


def test_an_empty_log_has_the_initial_state(tmp_path: Path) -> None:
    snapshot = make_chain(tmp_path).read()
    assert (snapshot.seq, snapshot.chain, snapshot.state) == (0, GENESIS, {"next": 0, "notes": []})


def test_a_commit_names_its_root_its_place_and_the_one_before_it(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    add(chain, note("two"))
    second = json.loads(commit_bytes(chain, 2))
    assert second["prev"] == hashlib.sha256(commit_bytes(chain, 1)).hexdigest()
    assert (second["seq"], second["root"], second["place"]) == (2, chain.root_id, chain.place)
    assert os.stat(chain.commit_path(2)).st_mode & 0o777 == 0o444
    assert chain.read().state["notes"] == ["one", "two"]


def test_the_root_of_a_log_is_found_also_where_it_is_the_top_of_the_file_system() -> None:
    for base, place in (("/", ""), ("//registries/model", "registries/model")):
        chain = Chain(base, f"{base}/settings", "", reduce, initial, place)
        assert chain.root == "/"


def test_of_two_writers_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("first"))
    mine, theirs = chain.read(), chain.read()
    assert chain.append(theirs, ENVELOPE, [note("theirs")]) is not None
    assert chain.append(mine, ENVELOPE, [note("mine")]) is None
    assert mine.seq == 1, "a snapshot that lost is left as it was"
    assert chain.read().state["notes"] == ["first", "theirs"]
    assert list(Path(chain.log).glob(".*")) == []


def test_losing_a_race_for_ever_ends_in_busy() -> None:
    moment = [0.0]
    attempts = Attempts(5.0, lambda: moment[0], lambda seconds: moment.__setitem__(0, moment[0] + seconds))

    def lose_for_ever() -> None:
        while True:
            attempts.lost("zoo")

    with pytest.raises(BusyError, match="zoo is being changed"):
        lose_for_ever()
    assert 5.0 <= moment[0] < 5.2


def test_reading_goes_on_from_any_head(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    heads = []
    for number in range(5):
        add(chain, note(str(number)))
        heads.append(Path(f"{chain.base}/head.json").read_bytes())
    for head in heads:
        Path(f"{chain.base}/head.json").write_bytes(head)
        assert chain.read().state["notes"] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b"not JSON",
        b'{"checksum":"00000000000000000000000000000000","seq":9}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_head_is_no_head(tmp_path: Path, head: bytes) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    Path(f"{chain.base}/head.json").write_bytes(head)
    assert chain.read().state["notes"] == ["one"]
    add(chain, note("two"))
    assert b'"two"' in Path(f"{chain.base}/head.json").read_bytes(), "the next change writes it again"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"format": 1},
        {"format": "x", "seq": 1},
        {"format": 1, "seq": "one", "chain": "", "state": {}},
        {"format": 1, "seq": 1, "chain": "", "state": {}, "records": [1]},
    ],
)
def test_a_head_that_is_sealed_but_nonsense_is_no_head(tmp_path: Path, document: dict[str, Any]) -> None:
    from regcli.store import jsontext

    chain = make_chain(tmp_path)
    add(chain, note("one"))
    sealed = jsontext.seal({"root": chain.root_id, "place": chain.place, **document})
    Path(f"{chain.base}/head.json").write_bytes(sealed)
    assert chain.read().state["notes"] == ["one"]


def test_a_sealed_head_that_is_nested_without_end_is_no_head(tmp_path: Path) -> None:
    import xxhash

    chain = make_chain(tmp_path)
    add(chain, note("one"))
    body = b'"a":' + b"[" * 200_000
    digest = xxhash.xxh3_128_hexdigest(body).encode()
    Path(f"{chain.base}/head.json").write_bytes(b'{"checksum":"%s",%s' % (digest, body))
    assert chain.read().state["notes"] == ["one"]


@pytest.mark.parametrize("obstacle", ["directory", "link", "fifo"])
def test_what_is_no_file_in_the_place_of_the_head_makes_way(tmp_path: Path, obstacle: str) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    head = Path(f"{chain.base}/head.json")
    head.unlink()
    if obstacle == "directory":
        head.mkdir()
    elif obstacle == "link":
        head.symlink_to("/dev/zero")
    else:
        os.mkfifo(head)
    assert chain.read().state["notes"] == ["one"]
    add(chain, note("two"))
    assert head.is_file()
    assert not head.is_symlink()


def test_a_head_of_another_log_is_not_believed(tmp_path: Path) -> None:
    mine = make_chain(tmp_path, "projects/local/default/collections/mine")
    theirs = make_chain(tmp_path, "projects/local/default/collections/theirs")
    add(mine, note("mine"))
    add(theirs, note("theirs"))
    for chain in (mine, theirs):
        other = theirs if chain is mine else mine
        Path(f"{chain.base}/copy").write_bytes(Path(f"{other.base}/head.json").read_bytes())
    for chain in (mine, theirs):
        os.replace(f"{chain.base}/copy", f"{chain.base}/head.json")
    assert mine.read().state["notes"] == ["mine"]
    assert theirs.read().state["notes"] == ["theirs"]


def test_a_first_commit_of_another_log_is_refused(tmp_path: Path) -> None:
    mine = make_chain(tmp_path, "projects/local/default/collections/mine")
    theirs = make_chain(tmp_path, "projects/local/default/collections/theirs")
    add(mine, note("mine"), head=False)
    add(theirs, note("theirs"), head=False)
    overwrite(mine.commit_path(1), commit_bytes(theirs, 1))
    with pytest.raises(IntegrityError, match="belongs to another log"):
        mine.read()


def test_a_commit_of_another_root_is_refused(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"), head=False)
    with pytest.raises(IntegrityError, match="belongs to another root"):
        make_chain(tmp_path, root_id="8b" * 16).read()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda commit: {**commit, "prev": "1" * 64}, "does not follow"),
        (lambda commit: {**commit, "seq": 3}, "not commit number 2"),
        (lambda commit: {**commit, "seq": True}, "not commit number 2"),
        (lambda commit: {**commit, "format": 2}, "newer than this program"),
        (lambda commit: {**commit, "format": "1"}, "not commit number 2"),
        (lambda commit: {**commit, "ops": "all"}, "not a commit"),
        (lambda commit: {**commit, "ops": [{"op": "explode"}]}, "unknown operation"),
        (lambda commit: {**commit, "ops": [None]}, "is corrupt"),
        (lambda commit: {**commit, "ops": [{}]}, "is corrupt"),
        (lambda commit: {**commit, "ops": [{"op": "change", "version": 7, "value": 1}]}, "no version 7"),
        (lambda commit: [commit], "not a commit"),
    ],
)
def test_a_commit_that_is_not_right_is_named_and_refused(tmp_path: Path, change: Any, words: str) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"), head=False)
    add(chain, note("two"), head=False)
    overwrite(chain.commit_path(2), json.dumps(change(json.loads(commit_bytes(chain, 2)))).encode())
    with pytest.raises(IntegrityError, match=words) as caught:
        chain.read()
    assert chain.commit_path(2) in caught.value.message


def test_a_commit_larger_than_a_commit_can_be_is_not_read(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"), head=False)
    with open(chain.commit_path(2), "wb") as huge:
        huge.truncate(MAX_COMMIT + 1)
    with pytest.raises(IntegrityError, match="larger than"):
        chain.read()


def test_a_change_that_is_too_large_is_refused_before_it_is_written(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    with pytest.raises(UsageError, match="too large"):
        chain.append(chain.read(), ENVELOPE, [note("x" * MAX_COMMIT)])
    assert not Path(chain.log).exists()


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_missing_commit_is_no_end_of_the_log(tmp_path: Path, lost: int) -> None:
    chain = make_chain(tmp_path)
    for number in range(4):
        add(chain, note(str(number)), head=False)
    os.unlink(chain.commit_path(lost))
    with pytest.raises(IntegrityError, match=f"{lost:010d}.json is missing"):
        chain.read()
    with pytest.raises(IntegrityError, match=f"{lost:010d}.json is missing"):
        list(chain.commits())
    with pytest.raises(IntegrityError, match="is missing"):
        chain.replay(4)


def test_a_log_that_ends_before_its_head_is_not_replayed_as_if_it_did_not(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    add(chain, note("two"))
    os.unlink(chain.commit_path(2))
    with pytest.raises(IntegrityError, match="was there before"):
        chain.replay(2)


def test_nothing_is_written_after_a_hole(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    add(chain, note("two"))
    data = commit_bytes(chain, 2)
    os.unlink(chain.commit_path(2))
    assert chain.read().state["notes"] == ["one", "two"], "the head remembers"
    with pytest.raises(IntegrityError, match="is missing, so nothing can follow it"):
        add(chain, note("three"))
    assert [path.name for path in Path(chain.log).iterdir()] == ["0000000001.json"]
    Path(chain.commit_path(2)).write_bytes(data)
    add(chain, note("three"))
    assert chain.replay().state["notes"] == ["one", "two", "three"]


def test_a_commit_that_appears_while_one_looks_is_not_taken_for_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look for commit 1 and the look for later ones another writer may make the first commits of the log."""
    chain = make_chain(tmp_path)
    rival = make_chain(tmp_path)
    open_directory = files.open_directory
    raced: list[str] = []

    def look_after_the_rival(path: str) -> int:
        if path == chain.log and not raced:
            raced.append(path)
            add(rival, note("one"), head=False)
            add(rival, note("two"), head=False)
        return open_directory(path)

    monkeypatch.setattr(files, "open_directory", look_after_the_rival)
    assert chain.read().state["notes"] == ["one", "two"]
    assert raced


def test_a_long_catch_up_is_kept(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add_versions(chain, 40, head=False)
    assert not Path(f"{chain.base}/head.json").exists()
    chain.read()
    assert Path(f"{chain.base}/head.json").exists()


def test_a_head_is_not_written_from_commits_that_may_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that outlives its commits would leave a hole in the log: no sync, no head."""
    chain = make_chain(tmp_path)
    add_versions(chain, 40, head=False)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    assert chain.read().seq == 40
    assert not Path(f"{chain.base}/head.json").exists()


def test_an_answer_without_a_commit_rests_on_durable_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    synced: list[int] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    chain.sync()
    assert synced
    os.utime(chain.log, (1, 1))
    synced.clear()
    chain.sync()
    assert synced == [], "what has not changed for so long is durable by itself"
    make_chain(tmp_path, "projects/local/default/collections/none").sync()


def test_a_directory_that_cannot_be_synced_leaves_the_outcome_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    fsync = os.fsync

    def fail_on_directories(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_on_directories)
    with pytest.raises(OutcomeUnknownError, match=r"0000000002.json was written, but"):
        chain.append(chain.read(), ENVELOPE, [note("two")])


def test_a_commit_that_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))

    def fail(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(StorageError, match=r"cannot write .*0000000002\.json: no space left on device") as caught:
        chain.append(chain.read(), ENVELOPE, [note("two")])
    assert not isinstance(caught.value, OutcomeUnknownError)
    monkeypatch.undo()
    assert chain.read().state["notes"] == ["one"]
    assert list(Path(chain.log).glob(".*")) == []


def test_the_state_at_any_commit_can_be_had(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    for number in range(5):
        add(chain, note(str(number)))
    assert [len(chain.replay(upto).state["notes"]) for upto in range(6)] == [0, 1, 2, 3, 4, 5]


def test_litter_of_the_killed_is_no_commit(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"), head=False)
    for name in (".tmp-1-aa", "0000000002.json.there", "notes.txt", "00000000x2.json"):
        (Path(chain.log) / name).write_text("{}")
    assert chain.last_number() == 1
    assert chain.read().seq == 1


def test_names_of_files_module_are_what_the_chain_relies_on() -> None:
    """A reader must not wait for a FIFO or follow a link in the place of a commit."""
    assert files.READ & os.O_NONBLOCK
    assert files.READ & os.O_NOFOLLOW


def test_a_commit_that_no_reader_could_take_in_is_not_published(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add(chain, note("one"))
    before = sorted(path.name for path in Path(chain.log).iterdir())
    for bad in (
        [{"op": "nonsense"}],
        [{"op": "note", "text": int("9" * 50)}],
        [{"op": "note"}],
        [{"op": "change", "version": 7, "value": 1}],
    ):
        with pytest.raises(IntegrityError):
            chain.append(chain.read(), ENVELOPE, bad)
    assert sorted(path.name for path in Path(chain.log).iterdir()) == before
    assert chain.read().seq == 1
