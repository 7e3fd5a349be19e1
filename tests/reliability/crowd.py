"""A crowd of processes that use one root at once, and are killed where they stand.

    python crowd.py PLAN.json

The plan says how many writers and readers, how many commands each, how many kills. Each process writes a journal: a line
before a command is called, a line when it was answered. What the journal does not show as answered was not acknowledged.
Processes are forked from one that has the program loaded, so that most of their life is spent in the store.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

Plan = dict[str, Any]


class Journal:
    """Appends lines that survive the death of the process (not of the machine: it lies outside the root)."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: dict[str, Any]) -> None:
        os.write(self.descriptor, json.dumps(line).encode() + b"\n")


def call(journal: Journal, number: str, argv: list[str], token: str | None, root: str) -> dict[str, Any]:
    """Run one command in this process, between two lines of the journal."""
    from regcli.__main__ import main

    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    event: dict[str, Any] = {"number": number, "argv": argv, "token": token, "called": time.monotonic_ns()}
    journal.write(event)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        event["code"] = main([*argv, "--root", root, "--json"])
    event["returned"] = time.monotonic_ns()
    text = out.buffer.getvalue().decode()
    event["answer"] = json.loads(text) if event["code"] == 0 and text else {}
    event["stdout"] = text if event["code"] else ""
    event["stderr"] = err.buffer.getvalue().decode()
    event["changed"] = bool(token) and event["code"] == 0 and event["answer"].get("created", True)
    journal.write(event)
    return event


class Actor:
    """One process's random walk over the commands."""

    def __init__(self, plan: Plan, name: str, seed: int) -> None:
        self.plan = plan
        self.name = name
        self.random = random.Random(seed)
        self.count = 0
        self.place = Path(plan["work"]) / name
        self.place.mkdir(exist_ok=True)

    def collection(self) -> str:
        return f"c{self.random.randrange(self.plan['collections'])}"

    def target(self) -> str:
        return f"model/t{self.random.randrange(self.plan['collections'])}"

    def next(self) -> tuple[list[str], str | None]:
        """Return the next command and the unique word that its commit must carry (None for what changes nothing)."""
        self.count += 1
        token = f"{self.name}-{self.count}-{self.random.randrange(1 << 30)}"
        verb = self.random.choices(list(self.plan["mix"]), list(self.plan["mix"].values()))[0]
        made: tuple[list[str], str | None] = getattr(self, f"do_{verb}")(token)
        return made

    def do_log(self, token: str) -> tuple[list[str], str | None]:
        path = self.place / "data.txt"
        path.write_text(f"{token}\n" * self.random.randrange(1, 200))
        return ["log", str(path), "-n", self.collection(), "-t", "dataset", "-d", token], token

    def do_large(self, token: str) -> tuple[list[str], str | None]:
        path = self.place / "large.bin"
        path.write_bytes(token.encode() + self.random.randbytes(1 << 20))
        return ["log", str(path), "-n", self.collection(), "-t", "dataset", "-d", token], token

    def do_link(self, token: str) -> tuple[list[str], str | None]:
        # Linking again what is linked changes nothing but the alias, so the unique word is one.
        return ["link", self.collection(), self.target(), "-a", f"a{token}"], f"a{token}"

    def do_alias(self, token: str) -> tuple[list[str], str | None]:
        where = self.random.choice((self.collection, self.target))()
        return ["alias", "add", where, self.random.choice(("x", "y")), f"a{token}"], f"a{token}"

    def do_unalias(self, token: str) -> tuple[list[str], str | None]:
        return ["alias", "rm", self.collection(), "x", "-m", token], token

    def do_tag(self, token: str) -> tuple[list[str], str | None]:
        return ["tag", "add", self.collection(), f"t{token[:60]}"], f"t{token[:60]}"

    def do_edit(self, token: str) -> tuple[list[str], str | None]:
        return ["edit", f"{self.collection()}:latest", "--description", token], token

    def do_unlink(self, token: str) -> tuple[list[str], str | None]:
        return ["unlink", self.target(), "-m", token], token

    def do_protect(self, token: str) -> tuple[list[str], str | None]:
        return ["protect", "model", f"p{token}"], f"p{token}"

    def do_again(self, token: str) -> tuple[list[str], str | None]:
        # The same few contents, again and again: what gc is about to take away is just being added.
        path = self.place / "same.txt"
        path.write_bytes(bytes([65 + self.random.randrange(3)]) * self.random.choice((500, (1 << 20) + 5)))
        return ["log", str(path), "-n", self.collection(), "-t", "dataset", "--new-version", "-d", token], token

    def do_delete(self, token: str) -> tuple[list[str], str | None]:
        return ["delete", f"{self.collection()}:latest~{self.random.randrange(3)}", "--delete-aliases", "-m", token], token

    def do_undelete(self, token: str) -> tuple[list[str], str | None]:  # noqa: ARG002 - it may change nothing
        return ["undelete", f"{self.collection()}:v{self.random.randrange(30)}"], None

    def do_gc(self, token: str) -> tuple[list[str], str | None]:  # noqa: ARG002 - one form for all
        return ["gc", "--grace", "0"], None

    def do_resolve(self, token: str) -> tuple[list[str], str | None]:  # noqa: ARG002
        where = self.random.choice((self.collection, self.target))()
        return ["resolve", f"{where}:{self.random.choice(('latest', 'x', 'y'))}"], None

    def do_download(self, token: str) -> tuple[list[str], str | None]:
        return ["download", self.collection(), "-o", str(self.place / f"got-{token}")], None

    def do_verify(self, token: str) -> tuple[list[str], str | None]:  # noqa: ARG002
        return ["verify"], None


def live(plan: Plan, name: str, seed: int, commands: int | None) -> None:
    """Be one process: until the commands are done, or for ever."""
    actor = Actor(plan, name, seed)
    journal = Journal(f"{plan['journals']}/{name}")
    os.chdir(actor.place)
    number = 0
    while commands is None or number < commands:
        argv, token = actor.next()
        call(journal, f"{name}.{seed}.{number}", [*argv, "--wait", str(plan["wait"])], token, plan["root"])
        number += 1


def start(plan: Plan, name: str, seed: int, commands: int | None) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        live(plan, name, seed, commands)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must not go on as its parent
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for_answers(plan: Plan, size: int) -> None:
    """Wait until the journals have grown by `size` bytes."""

    def written() -> int:
        return sum(entry.stat().st_size for entry in os.scandir(plan["journals"]))

    goal, deadline = written() + size, time.monotonic() + 60
    while written() < goal and time.monotonic() < deadline:
        time.sleep(0.002)


def crowd(plan: Plan) -> int:
    """Start everybody, kill as planned, wait for the rest; returns how many ended in another way than planned."""
    import regcli.cli.app
    import regcli.domain.download
    import regcli.domain.log
    import regcli.store.batch
    import regcli.store.ingest  # noqa: F401 - loaded once, before forking

    names = [f"w{index}" for index in range(plan["writers"])] + [f"r{index}" for index in range(plan["readers"])]
    plans = {name: {**plan, "mix": plan["mix"] if name[0] == "w" else plan["reading"]} for name in names}
    seeds = iter(range(plan["seed"], plan["seed"] + 1_000_000))
    commands = None if plan["kills"] or plan["forever"] else plan["commands"]
    alive = {start(plans[name], name, next(seeds), commands): name for name in names}
    if plan["forever"]:
        signal.pause()
    chance = random.Random(plan["seed"])
    for _ in range(plan["kills"]):
        # Some answers later, on a machine however busy, and then at any moment.
        wait_for_answers(plan, chance.randrange(400, 3000))
        time.sleep(chance.uniform(0.0, plan["pause"]))
        victim = chance.choice(list(alive))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        name = alive.pop(victim)
        alive[start(plans[name], name, next(seeds), None)] = name
    if plan["kills"]:
        for victim in alive:
            os.kill(victim, signal.SIGKILL)
    unplanned = 0
    for child in alive:
        status = os.waitpid(child, 0)[1]
        unplanned += status not in (0, signal.SIGKILL)
    return unplanned


if __name__ == "__main__":
    sys.exit(crowd(json.loads(Path(sys.argv[1]).read_text())))
