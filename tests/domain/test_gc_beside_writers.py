"""gc in a loop beside four writers: nothing acknowledged loses its content, and what is dead is freed.

With REGCLI_RELIABILITY=long in the environment it runs for a minute.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from typing import TYPE_CHECKING

from regcli.domain.deletion import delete_version, undelete_version
from regcli.domain.expiry import Policy
from regcli.domain.files import read_file
from regcli.domain.linking import unlink
from regcli.domain.resolving import resolve
from regcli.domain.retention import collect_garbage
from regcli.domain.survey import every_collection
from regcli.domain.usage import disk_usage
from regcli.domain.verification import verify_root
from regcli.errors import ConflictError, NotFoundError, RefusedError
from tests.domain.world import World
from tests.reliability.harness import scaled

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

WRITERS = 4
SECONDS = scaled(6, 60)
# Few contents, so that writers keep logging again what gc is just taking away; two of them are files of their own.
POOL = [f"pool {number} ".encode() * 200 for number in range(6)] + [bytes([number]) * 1_100_000 for number in range(2)]


def write(path: Path, number: int, until: float, results: multiprocessing.Queue[Any]) -> None:
    """Log, link, unlink, delete and undelete until the time is up; reports counts, or the failure."""
    chance = random.Random(number)
    world = World(path)
    world.path = path / f"writer-{number}"
    world.path.mkdir()
    # As patient as the program is without --wait.
    world.user(f"writer{number}", wait=30)
    world.user(wait=30)
    done = {"log": 0, "link": 0, "unlink": 0, "delete": 0, "undelete": 0, "read": 0, "deleted logs": 0}
    try:
        while time.monotonic() < until:
            # Now and then one of its own, which nobody else keeps from being freed.
            content = chance.choice([*POOL, f"own {number} {done['log']} ".encode() * 200])
            ref = world.log(f"zoo{chance.randrange(2)}", content, user=f"writer{number}", new_version=True).ref
            done["log"] += 1
            if chance.random() < 0.3:
                # What was acknowledged a moment ago, by this writer alone, is there.
                assert b"".join(read_file(world.user(), ref, "data.bin")) == content
                done["read"] += 1
            step = chance.choice(["link", "unlink", "delete", "delete", "undelete", ""])
            try:
                if step == "link":
                    world.link(ref, f"model/zoo{number}")
                elif step == "unlink":
                    world.link(ref, f"model/zoo{number}")
                    unlink(world.user(), f"model/zoo{number}:latest")
                elif step in ("delete", "undelete"):
                    delete_version(world.user(), ref)
                    if step == "undelete":
                        undelete_version(world.user(), ref)
                    else:
                        done["deleted logs"] += 1
                if step:
                    done[step] += 1
            except (NotFoundError, RefusedError, ConflictError):
                # gc with no grace period at all may have purged what was deleted before it could be undeleted.
                assert step == "undelete"
                done["deleted logs"] += 1
    except BaseException as error:  # noqa: BLE001 - reported to the test
        results.put(f"writer {number}: {error!r}")
    else:
        results.put(done)


def sweep(path: Path, until: float, results: multiprocessing.Queue[Any]) -> None:
    """Collect garbage without any grace until the time is up; reports rounds and bytes."""
    world = World(path)
    rounds, freed, purged = 0, 0, 0
    try:
        while time.monotonic() < until:
            collected = collect_garbage(world.user("sweeper", wait=60), None, Policy(grace=0))
            rounds, freed, purged = rounds + 1, freed + collected.freed, purged + len(collected.purged)
    except BaseException as error:  # noqa: BLE001 - reported to the test
        results.put(f"gc: {error!r}")
    else:
        results.put((rounds, freed, purged))


def test_gc_beside_four_writers_leaves_no_dangling_blob_and_frees_what_it_should(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    World(tmp_path).log("zoo0", b"first")
    results: multiprocessing.Queue[Any] = context.Queue()
    until = time.monotonic() + SECONDS
    workers = [context.Process(target=write, args=(tmp_path, number, until, results)) for number in range(WRITERS)]
    workers.append(context.Process(target=sweep, args=(tmp_path, until, results)))
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=SECONDS + 120) for _ in workers]
    for worker in workers:
        worker.join()
    assert [answer for answer in answers if isinstance(answer, str)] == []
    (rounds, freed, purged) = next(answer for answer in answers if isinstance(answer, tuple))
    counts = [answer for answer in answers if isinstance(answer, dict)]
    assert all(count["log"] >= SECONDS for count in counts), counts
    assert rounds >= SECONDS / 3
    assert freed > 0

    world = World(tmp_path)
    assert verify_root(world.user()).problems == []
    states = [
        record["state"] for collection in every_collection(world.user()) for _, record in collection.versions(deleted=True)
    ]
    links = sum(
        1 for collection in every_collection(world.user()) if collection.registry for _ in collection.versions(deleted=True)
    )
    assert len(states) - links == sum(count["log"] for count in counts) + 1
    for collection in every_collection(world.user()):
        for index, _ in collection.versions():
            data = b"".join(read_file(world.user(), collection.version_ref(index), "data.bin"))
            assert data in POOL or data == b"first" or data.startswith(b"own ")

    last = collect_garbage(world.user(), None, Policy(grace=0))
    assert purged + len(last.purged) == sum(count["deleted logs"] for count in counts)
    usage = disk_usage(world.user(), None)
    # What is left of the dead lies in packs that are mostly alive.
    assert usage["reclaimable"] <= last.kept_packed
    assert usage["trash"] == 0
    assert resolve(world.user(), "zoo0").record["state"] == "COMMITTED"
