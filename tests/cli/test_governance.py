"""Settings, members, deletion and space from the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from regcli.cli.topics import read_topic
from tests.cli.terminal import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def two(invoke: Invoke, work: Path) -> Invoke:
    """A source `zoo` with two versions, the first linked as `model/x:v0`."""
    for number in range(2):
        (work / "f.txt").write_text(str(number) * 1000)
        invoke("log", "f.txt", "-n", "zoo", "-t", "model").ok()
    invoke("link", "zoo:v0", "model/x").ok()
    return invoke


def test_a_version_is_deleted_and_brought_back(two: Invoke) -> None:
    refused = two("delete", "zoo:v0", "--json")
    assert refused.code == 5
    assert refused.error["code"] == 5
    assert refused.error["message"] == "'local/default/zoo:v0' is linked as 'model/x:v0'"
    assert "unlink" in two("delete", "model/x:v0").stderr
    assert two("delete", "zoo").code == 2
    done = two("delete", "zoo:v0", "--force", "--json").ok().json
    assert (done["ref"], done["unlinked"], done["aliases"], done["used_by"]) == ("local/default/zoo:v0", ["model/x:v0"], [], [])
    assert done["seq"] in {event["seq"] for event in two("history", "zoo", "--json").ok().json["events"]}
    assert two("resolve", "zoo:v0").code == 3
    assert [row["state"] for row in two("ls", "zoo", "--all", "--json").ok().json["versions"]] == ["COMMITTED", "DELETED"]
    back = two("undelete", "zoo:v0", "--json").ok().json
    assert (back["ref"], back["state"], back["links"]) == ("local/default/zoo:v0", "COMMITTED", [])
    assert two("undelete", "zoo:v0").ok().stderr == "local/default/zoo:v0 was not deleted\n"


def test_deleting_what_others_depend_on_warns_and_lists_them(two: Invoke, work: Path) -> None:
    two("log", "f.txt", "-n", "trained", "-t", "model", "--input", "zoo:v1").ok()
    result = two("delete", "zoo:v1").ok()
    assert "warning: local/default/zoo:v1 was used by local/default/trained:v0" in result.stderr
    assert result.stdout == "local/default/zoo:v1\n"


def test_gc_says_and_frees_exact_bytes(two: Invoke, root: Path) -> None:
    two("delete", "zoo:v1").ok()
    nothing = two("gc", "--json").ok().json
    assert (nothing["freed"], nothing["purged"], nothing["waiting"]) == (0, [], 1)
    promised = two("gc", "--grace", "0", "--dry-run", "--json").ok().json
    assert promised["dry_run"] is True
    assert promised["freed"] > 1000
    before = sum(path.stat().st_size for path in (root / "packs").glob("*.pack"))
    done = two("gc", "--grace", "0", "--json").ok().json
    assert done["freed"] == promised["freed"]
    assert before - sum(path.stat().st_size for path in (root / "packs").glob("*.pack")) == done["freed"]
    assert done["purged"] == ["local/default/zoo:v1"]
    assert two("undelete", "zoo:v1").code == 3
    two("verify").ok()


@pytest.mark.parametrize(
    "arguments", [("--grace", "soon"), ("--keep-last", "0"), ("--keep-within", "x"), ("--max-size", "much"), ("zoo:v0",)]
)
def test_gc_refuses_what_it_does_not_understand(two: Invoke, arguments: tuple[str, ...]) -> None:
    assert two("gc", *arguments).code == 2


def test_gc_by_policy_names_what_goes_and_why(two: Invoke, work: Path) -> None:
    (work / "f.txt").write_text("2")
    two("log", "f.txt", "-n", "zoo").ok()
    done = two("gc", "zoo", "--keep-last", "1", "--json").ok().json
    # v0 is linked.
    assert [(row["ref"], row["reason"]) for row in done["deleted"]] == [("local/default/zoo:v1", "keep-last")]
    assert "Deleted" not in two("gc", "zoo", "--keep-last", "1").ok().stdout


def test_du_has_the_promised_fields(two: Invoke) -> None:
    document = two("du", "zoo:v1", "--json").ok().json
    assert (document["alone"], document["shared"], document["total"]) == (1000, 0, 1000)
    assert two("du", "zoo").ok().lines[-1] == "2000\t0\t2000\t2\tlocal/default/zoo"
    assert two("du", "--json").ok().json["stored"] > 2000
    assert two("du", "model/").ok().lines[-1].startswith("1000\t0\t1000\t1\t")


def test_a_registry_is_edited_renamed_and_deleted(two: Invoke) -> None:
    assert two("registry", "edit", "model").code == 2
    edited = two("registry", "edit", "model", "-d", "ours", "--type", "model", "--ttl", "1d", "--json").ok().json
    assert (edited["description"], edited["types"], edited["ttl"]) == ("ours", ["model"], "1d")
    for change in (("edit", "model", "--visibility", "restricted"), ("edit", "model", "--rename", "x"), ("rm", "model", "-y")):
        refused = two("registry", *change)
        assert refused.code == 5
        assert "registry 'model' came with the root and" in refused.stderr
    two("registry", "create", "team").ok()
    two("link", "zoo:v0", "team/x").ok()
    assert two("registry", "edit", "team", "--visibility", "restricted").code == 0
    widened = two("registry", "edit", "team", "--visibility", "organization")
    assert widened.code == 5
    assert "registry 'team' is restricted, which cannot be undone" in widened.stderr
    two("registry", "edit", "team", "--rename", "Golden Models").ok()
    old = two("resolve", "team/x")
    assert old.code == 3
    assert "renamed to 'Golden Models'" in old.stderr
    assert two("resolve", "golden models/x").ok().stdout == "Golden Models/x:v0\n"
    refused = two("registry", "rm", "Golden Models")
    assert (refused.code, refused.stdout) == (2, "")
    assert "deleting registry Golden Models with 1 collection and 1 link cannot be undone" in refused.stderr
    gone = two("registry", "rm", "Golden Models", "-y", "--json").ok().json
    assert (gone["collections"], gone["links"]) == (1, 1)
    assert two("resolve", "Golden Models/x").code == 3
    two("resolve", "zoo:v0").ok()
    actions = [event["action"] for event in two("history", "--json").ok().json["events"]]
    assert "registry-deleted" in actions


def test_a_collection_is_made_edited_renamed_and_deleted(two: Invoke) -> None:
    made = two("collection", "create", "model/new", "-t", "dataset", "--tag", "t", "-d", "# New", "--json").ok().json
    assert (made["ref"], made["type"], made["versions"], made["tags"], made["seq"]) == ("model/new", "dataset", 0, ["t"], 1)
    assert two("collection", "create", "model/new", "-t", "dataset").code == 4
    assert [line.split("\t")[0] for line in two("collection", "ls", "model").ok().lines] == ["model/new", "model/x"]
    assert len(two("collection", "ls").ok().lines) == 3
    edited = two("collection", "edit", "model/x", "--rename", "Y", "-d", "described", "--json").ok().json
    assert (edited["ref"], edited["description"], edited["former_names"]) == ("model/Y", "described", ["x"])
    assert two("collection", "edit", "model/x", "-d", "z").code == 3
    assert two("collection", "show", "model/Y").ok().lines[0] == "Collection\tmodel/Y"
    refused = two("collection", "rm", "model/Y", "--json")
    assert refused.code == 2
    assert "deleting model/Y with 1 link cannot be undone" in refused.error["message"]
    refused = two("collection", "rm", "local/default/")
    assert (refused.code, two("show", "zoo").code) == (2, 0)
    assert "deleting 1 collection of local/default/ with 2 versions cannot be undone" in refused.stderr
    assert two("collection", "rm", "model/Y", "-y", "--json").ok().json["versions"] == 1
    assert two("collection", "show", "model/Y").code == 3
    two("resolve", "zoo:v0").ok()


def test_a_terminal_is_asked_before_something_goes_for_good(two: Invoke, home: Path, root: Path) -> None:
    environment = {"HOME": str(home), "REGCLI_ROOT": str(root)}
    no = on_terminal("-m", "regcli", "collection", "rm", "model/x", environment=environment, keys="n\n")
    assert "Delete model/x with 1 link? [y/N]" in no
    assert "not confirmed; nothing was deleted" in no
    two("resolve", "model/x").ok()
    on_terminal("-m", "regcli", "collection", "rm", "model/x", environment=environment, keys="y\n")
    assert two("resolve", "model/x").code == 3


def test_members_come_and_go(two: Invoke) -> None:
    me = two("member", "ls", "model", "--json").ok().json["members"][0]["user"]
    added = two("member", "add", "model", "nobody-here", "--role", "viewer", "--json").ok().json
    assert {"user": "nobody-here", "role": "viewer"} in added["members"]
    assert added["warnings"] == ["this system knows no user nobody-here"]
    assert two("member", "add", "model", "x").code == 2
    assert two("member", "add", "model", "x", "--role", "king").code == 2
    assert f"{me}\tadmin" in two("member", "ls", "model").ok().lines
    last = two("member", "rm", "model", me)
    assert last.code == 5
    assert "registry 'model' would have no admin left" in last.stderr
    assert two("member", "rm", "model", "nobody-here", "--json").ok().json["role"] is None
    assert two("member", "rm", "model", "nobody-here").code == 3


def test_a_hand_edited_file_is_taken_in(two: Invoke, root: Path, work: Path) -> None:
    two("registry", "edit", "model", "-d", "before").ok()
    text = (root / "registries" / "model" / "registry.toml").read_text()
    (work / "new.toml").write_text(text.replace('"before"', '"after"'))
    shown = two("registry", "apply", "new.toml", "--dry-run").ok()
    assert shown.lines == ["description\tbefore\tafter"]
    assert two("registry", "show", "model", "--json").ok().json["description"] == "before"
    assert two("registry", "apply", "new.toml", "--json").ok().json["changes"] == [
        {"setting": "description", "before": "before", "after": "after"}
    ]
    assert two("registry", "show", "model", "--json").ok().json["description"] == "after"
    assert two("registry", "apply", "missing.toml").code == 3


def test_the_default_ttl_of_a_root_is_its_owners(two: Invoke) -> None:
    two("init", "--ttl", "1s").ok()
    assert two("init", "--ttl", "inherit").code == 2
    import time

    time.sleep(1.1)
    done = two("gc", "--json").ok().json
    assert [row["ref"] for row in done["deleted"]] == ["local/default/zoo:v1"]


def test_sharing_options_belong_together(invoke: Invoke) -> None:
    assert invoke("init", "--shared").code == 2
    assert invoke("registry", "create", "x", "--group", "users").code == 2
    unknown = invoke("init", "--shared", "--group", "no-such-group-here")
    assert unknown.code == 2
    assert "this system knows no group" in unknown.stderr


def test_a_shared_root_says_so(invoke: Invoke, root: Path, work: Path) -> None:
    group = str(os.getgid())
    assert invoke("init", "--shared", "--group", group, "--json").ok().json["shared"] == group
    (work / "f.txt").write_text("x")
    invoke("log", "f.txt", "-n", "zoo", "-t", "model", "--link", "model/x").ok()
    invoke("registry", "create", "team", "--shared", "--group", group).ok()
    assert (root / "registries" / "team" / "settings").stat().st_mode & 0o7777 == 0o3775
    assert invoke("registry", "show", "team", "--json").ok().json["shared"] == group
    invoke("verify").ok()


@pytest.mark.parametrize("topic", ["roles", "retention"])
def test_what_the_documentation_shows_works(topic: str, home: Path, root: Path, zoo: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", read_topic(topic), re.MULTILINE | re.DOTALL)
    assert blocks
    script = f'regcli() {{ "{sys.executable}" -m regcli "$@"; }}\n' + "\n".join(blocks)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "REGCLI_ROOT": str(root), "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["sh", "-eux", "-c", script], cwd=zoo.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
