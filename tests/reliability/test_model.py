"""Random commands, side by side with a model of the rules that is as simple as it can be (T15)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.reliability.harness import has_command, inside, scaled

if TYPE_CHECKING:
    from pathlib import Path

# Many short lives rather than one long: the states that differ are made by the first few hundred commands, and listing
# thousands of versions after each command is all that a longer one adds.
SEEDS = scaled(2, 50)
STEPS = scaled(200, 2_000)
SOURCES = ("c0", "c1")
TARGETS = ("model/t0", "model/t1")
ALIASES = ("x", "Y", "y", "z")
TAGS = ("red", "Red", "blue")


class Version:
    def __init__(self, content: Any) -> None:
        self.content: Any = content
        self.alive = True
        self.tags: list[str] = []


class Model:
    """What should be: exit codes of commands, and the versions with their aliases and tags."""

    def __init__(self) -> None:
        self.versions: dict[str, list[Version]] = {name: [] for name in (*SOURCES, *TARGETS)}
        # Folded alias -> (as first written, number).
        self.aliases: dict[str, dict[str, tuple[str, int]]] = {name: {} for name in (*SOURCES, *TARGETS)}

    def latest(self, name: str) -> int | None:
        return max((number for number, version in enumerate(self.versions[name]) if version.alive), default=None)

    def is_there(self, name: str, number: int) -> bool:
        return number < len(self.versions[name]) and self.versions[name][number].alive

    def set_alias(self, name: str, number: int, alias: str) -> None:
        shown = self.aliases[name].get(alias.casefold(), (alias, 0))[0]
        self.aliases[name][alias.casefold()] = (shown, number)

    def custom(self, name: str, number: int) -> list[str]:
        return sorted(shown for shown, holder in self.aliases[name].values() if holder == number)

    def links_of(self, name: str, number: int) -> list[tuple[str, int]]:
        return [
            (target, index)
            for target in TARGETS
            for index, version in enumerate(self.versions[target])
            if version.alive and version.content == (name, number)
        ]

    def log(self, name: str, content: str, alias: str | None) -> int:
        latest = self.latest(name)
        if latest is None or self.versions[name][latest].content != content:
            self.versions[name].append(Version(content))
            latest = len(self.versions[name]) - 1
        if alias is not None:
            self.set_alias(name, latest, alias)
        return 0

    def alias_add(self, name: str, number: int, alias: str, expect: str | None) -> int:
        if not self.is_there(name, number):
            return 3
        held = self.aliases[name].get(alias.casefold())
        if expect is not None and expect != (f"v{held[1]}" if held else "none"):
            return 4
        self.set_alias(name, number, alias)
        return 0

    def alias_rm(self, name: str, alias: str) -> int:
        held = self.aliases[name].pop(alias.casefold(), None)
        return 3 if held is None else 0

    def tag(self, name: str, number: int, tag: str) -> int:
        if not self.is_there(name, number):
            return 3
        version = self.versions[name][number]
        if name in TARGETS:
            # A link's tags are its source's.
            source, index = version.content
            version = self.versions[source][index]
        if tag.casefold() not in [known.casefold() for known in version.tags]:
            version.tags.append(tag)
        return 0

    def link(self, name: str, number: int, target: str, alias: str | None) -> int:
        if not self.is_there(name, number):
            return 3
        members = [index for where, index in self.links_of(name, number) if where == target]
        if not members:
            self.versions[target].append(Version((name, number)))
            members = [len(self.versions[target]) - 1]
        if alias is not None:
            self.set_alias(target, members[0], alias)
        return 0

    def unlink(self, target: str, number: int) -> int:
        if not self.is_there(target, number):
            return 3
        self.remove(target, number)
        return 0

    def remove(self, name: str, number: int) -> None:
        self.versions[name][number].alive = False
        self.aliases[name] = {key: held for key, held in self.aliases[name].items() if held[1] != number}

    def delete(self, name: str, number: int, *, aliases: bool, force: bool) -> int:
        if not self.is_there(name, number):
            return 3
        links = self.links_of(name, number)
        if (self.custom(name, number) and not aliases) or (links and not force):
            return 5
        for target, index in links:
            self.remove(target, index)
        self.remove(name, number)
        return 0

    def undelete(self, name: str, number: int) -> int:
        if number >= len(self.versions[name]):
            return 3
        self.versions[name][number].alive = True
        return 0

    def state(self, name: str) -> dict[str, Any]:
        found = {}
        for number, version in enumerate(self.versions[name]):
            if version.alive:
                shown = version
                if name in TARGETS:
                    source, index = version.content
                    shown = self.versions[source][index]
                found[f"v{number}"] = (self.custom(name, number), self.latest(name) == number, sorted(shown.tags))
        return found


class ForgetfulModel(Model):
    """A wrong rule: an alias that another version has stays there."""

    def set_alias(self, name: str, number: int, alias: str) -> None:
        if alias.casefold() not in self.aliases[name]:
            super().set_alias(name, number, alias)


def steps(chance: random.Random, work: Path) -> tuple[str, list[Any], list[str]]:
    """Return a random command: the model's method, its arguments, and the command line."""
    name, target = chance.choice(SOURCES), chance.choice(TARGETS)
    anywhere = chance.choice((name, name, target))
    number, alias = chance.randrange(6), chance.choice(ALIASES)
    verb = chance.choices(
        ["log", "alias_add", "alias_rm", "tag", "link", "unlink", "delete", "undelete"], [6, 5, 1, 2, 4, 2, 3, 2]
    )[0]
    if verb == "log":
        content = chance.choice("abc")
        (work / "data.txt").write_text(content)
        given = alias if chance.random() < 0.3 else None
        line = ["log", "data.txt", "-n", name, "-t", "dataset", *(["-a", given] if given else [])]
        return verb, [name, content, given], line
    if verb == "alias_add":
        expect = chance.choice((None, None, "none", f"v{chance.randrange(6)}"))
        line = ["alias", "add", f"{anywhere}:v{number}", alias, *(["--expect", expect] if expect else [])]
        return verb, [anywhere, number, alias, expect], line
    if verb == "alias_rm":
        return verb, [anywhere, alias], ["alias", "rm", anywhere, alias]
    if verb == "tag":
        tag = chance.choice(TAGS)
        return verb, [anywhere, number, tag], ["tag", "add", f"{anywhere}:v{number}", tag]
    if verb == "link":
        given = alias if chance.random() < 0.3 else None
        line = ["link", f"{name}:v{number}", target, *(["-a", given] if given else [])]
        return verb, [name, number, target, given], line
    if verb == "unlink":
        return verb, [target, number], ["unlink", f"{target}:v{number}"]
    if verb == "delete":
        aliases, force = chance.random() < 0.5, chance.random() < 0.5
        flags = [*(["--delete-aliases"] if aliases else []), *(["--force"] if force else [])]
        return "delete", [name, number, aliases, force], ["delete", f"{name}:v{number}", *flags]
    return verb, [name, number], ["undelete", f"{name}:v{number}"]


def differences(root: Path, work: Path, model: Model, seed: int, count: int) -> list[str]:
    """Run commands; returns the first difference from the model, with the commands that led to it."""
    chance = random.Random(seed)
    lines: list[str] = []
    for _ in range(count):
        verb, arguments, line = steps(chance, work)
        lines.append(" ".join(line))
        done = inside(*line, root=root, cwd=work)
        if verb == "delete":
            expected = model.delete(*arguments[:2], aliases=arguments[2], force=arguments[3])
        else:
            expected = getattr(model, verb)(*arguments)
        if done.code != expected:
            return [*lines, f"exit {done.code}, where the model says {expected}: {done.stderr}"]
        for name in {argument for argument in arguments if argument in model.versions}:
            listed = inside("ls", name, "--json", root=root, cwd=work)
            versions = listed.json["versions"] if listed.code == 0 else []
            state = {
                version["version"]: (
                    sorted(alias for alias in version["aliases"] if alias != "latest"),
                    "latest" in version["aliases"],
                    sorted(version["tags"]),
                )
                for version in versions
            }
            if state != model.state(name):
                return [*lines, f"{name} is {state}, where the model says {model.state(name)}"]
    return []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_commands_do_what_the_rules_say(tmp_path: Path, seed: int) -> None:
    if not has_command("delete"):
        return
    assert differences(tmp_path / "root", tmp_path, Model(), seed, STEPS) == []


def test_a_wrong_rule_is_found_out(tmp_path: Path) -> None:
    if not has_command("delete"):
        return
    assert differences(tmp_path / "root", tmp_path, ForgetfulModel(), 1, 500)
