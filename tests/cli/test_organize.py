"""Aliases, tags, edits, registries, search, diff and history from the command line."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def two(invoke: Invoke, work: Path) -> Invoke:
    """A source `a` with two versions, both linked into `model/x`."""
    for number in range(2):
        (work / "f.txt").write_text(str(number))
        (work / "same.txt").write_text("same")
        invoke("log", "f.txt", "same.txt", "-n", "a", "-t", "model", "--meta", f"n={number}").ok()
        invoke("link", "a", "model/x").ok()
    return invoke


def test_aliases_are_each_collections_own(two: Invoke) -> None:
    two("alias", "add", "a:v0", "mine").ok()
    two("alias", "add", "model/x:v1", "mine", "other").ok()
    assert two("alias", "ls", "a").ok().lines == ["latest\tlocal/default/a:v1", "mine\tlocal/default/a:v0"]
    listed = two("alias", "ls", "model/x", "--json").ok().json["aliases"]
    assert [(row["alias"], row["version"], row["protected"]) for row in listed] == [
        ("latest", "v1", False), ("mine", "v1", False), ("other", "v1", False),
    ]  # fmt: skip
    assert two("alias", "rm", "model/x", "mine", "--json").ok().json["aliases"] == ["other"]
    assert two("resolve", "a:mine").ok().stdout == "local/default/a:v0\n"


def test_alias_removal_names_what_is_not_there_and_removes_nothing(two: Invoke) -> None:
    two("alias", "add", "a:v0", "one").ok()
    result = two("alias", "rm", "a", "one", "two")
    assert result.code == 3
    assert two("resolve", "a:one").code == 0
    elsewhere = two("alias", "rm", "a:v1", "one")
    assert elsewhere.code == 3
    assert "v0" in elsewhere.stderr


def test_compare_and_set(two: Invoke) -> None:
    assert two("alias", "add", "a:v0", "x", "--expect", "v1").code == 4
    two("alias", "add", "a:v0", "x", "--expect", "none").ok()
    assert two("alias", "add", "a:v1", "x", "--expect", "none").code == 4
    assert two("alias", "rm", "a", "x", "--expect", "v1").code == 4
    assert two("alias", "add", "a:v1", "x", "--expect", "first").code == 2
    two("alias", "add", "a:v1", "x", "--expect", "v0").ok()


def test_several_aliases_are_one_transaction(two: Invoke) -> None:
    two("protect", "model", "production").ok()
    before = len(two("history", "model/x", "--json").ok().json["events"])
    two("alias", "add", "model/x:v0", "a1", "a2", "production").ok()
    events = two("history", "model/x", "--json").ok().json["events"][before:]
    assert {event["seq"] for event in events} == {events[0]["seq"]}
    assert [event["alias"] for event in events] == ["a1", "a2", "production"]


def test_version_tags_are_shared_by_source_and_links_and_collection_tags_are_not(two: Invoke) -> None:
    two("tag", "add", "model/x:v0", "shared", "second tag").ok()
    assert two("tag", "ls", "a:v0").ok().lines == ["shared", "second tag"]
    two("tag", "rm", "a:v0", "SHARED").ok()
    assert two("show", "model/x:v0", "--json").ok().json["tags"] == ["second tag"]
    assert two("tag", "rm", "a:v0", "shared").code == 3
    two("tag", "add", "model/x", "about animals").ok()
    assert two("tag", "ls", "model/x").ok().lines == ["about animals"]
    assert two("tag", "ls", "a").ok().lines == []


def test_edit_changes_the_version_behind_all_its_names(two: Invoke) -> None:
    two("edit", "model/x:v1", "-d", "new", "--meta", "k=[1, 2]", "--unset", "n").ok()
    shown = two("show", "a:v1", "--json").ok().json
    assert (shown["description"], shown["metadata"]) == ("new", {"k": [1, 2]})
    assert two("show", "a:v0", "--json").ok().json["metadata"] == {"n": 0}
    assert two("edit", "a:v1", "--unset", "nothing").code == 3
    assert two("edit", "a:v1").code == 2
    assert two("edit", "model/x:v1", "--ttl", "1d").code == 5
    assert two("edit", "a:v1", "--ttl", "1d").code == 5


def test_metrics_stay_as_logged_and_numbers_that_come_later_are_metadata(two: Invoke) -> None:
    refused = two("edit", "a:v1", "--metric", "accuracy=0.93")
    assert (refused.code, "--meta acc=0.93" in refused.stderr) == (2, True)
    two("edit", "a:v1", "--meta", "acc=0.93").ok()
    rows = two("compare", "a", "-m", "acc", "--json").ok().json["versions"]
    assert [row["metrics"].get("acc") for row in rows if row["version"] == "v1"] == [0.93]


def test_a_link_switches_the_lifetime_off_for_good(invoke: Invoke, work: Path) -> None:
    (work / "f.txt").write_text("x")
    invoke("log", "f.txt", "-n", "a", "-t", "model", "--ttl", "1h").ok()
    assert invoke("show", "a", "--json").ok().json["ttl"] == "1h"
    invoke("link", "a", "model/x").ok()
    assert invoke("show", "a", "--json").ok().json["ttl"] == "none"
    invoke("unlink", "model/x:v0").ok()
    assert invoke("show", "a", "--json").ok().json["ttl"] == "none"


def test_show_says_when_a_version_expires(invoke: Invoke, work: Path, root: Path, home: Path) -> None:
    (work / "f.txt").write_text("x")
    invoke("log", work, "-n", "a", "-t", "model", "--ttl", "30d").ok()
    invoke("log", work, "-n", "b", "-t", "model").ok()
    document = invoke("show", "a", "--json").ok().json
    created, end = (datetime.fromisoformat(document[key]) for key in ("created_at", "expires_at"))
    assert end - created == timedelta(days=30)
    assert f"Expires\t{document['expires_at']}" in invoke("show", "a").ok().lines
    assert invoke("ls", "a", "--json").ok().json["versions"][0]["expires_at"] == document["expires_at"]
    assert invoke("show", "b", "--json").ok().json["expires_at"] is None
    assert "Expires" not in invoke("show", "b").ok().stdout
    found = invoke("search", "--where", f"expires_at <= {document['expires_at']}", "--json").ok().json["results"]
    assert [row["ref"] for row in found] == ["local/default/a:v0"]
    seen = {"HOME": str(home), "REGCLI_ROOT": str(root)}
    assert f"{document['expires_at'][:19]}Z (in 4 weeks)\n" in on_terminal("-m", "regcli", "show", "a", environment=seen)
    invoke("alias", "add", "a:v0", "best").ok()
    assert "(in 4 weeks), but not while it has an alias" in on_terminal("-m", "regcli", "show", "a", environment=seen)


def test_linking_again_returns_what_is_there_and_linking_a_link_links_its_source(two: Invoke) -> None:
    again = two("link", "a:v0", "model/x", "-a", "new", "--json").ok().json
    assert (again["ref"], again["created"], again["aliases"]) == ("model/x:v0", False, ["new"])
    other = two("link", "model/x:v0", "dataset/y", "--json").ok().json
    assert (other["ref"], other["source"]) == ("dataset/y:v0", "local/default/a:v0")
    assert two("show", "a:v0", "--json").ok().json["links"] == ["dataset/y:v0", "model/x:v0"]


def test_a_collection_keeps_its_type(two: Invoke, work: Path) -> None:
    two("log", work / "f.txt", "-n", "d", "-t", "dataset").ok()
    result = two("link", "d", "model/x")
    assert result.code == 4
    assert "'model'" in result.stderr
    assert two("link", "a", "model/x:v1").code == 2
    assert two("link", "a", "local/default/d").code == 4
    assert two("link", "a", "local/default/portfolio").ok().stdout == "local/default/portfolio:v0\n"
    assert two("log", work / "f.txt", "-n", "portfolio").code == 4
    assert two("unlink", "a:v0").code == 2


def test_registries(invoke: Invoke) -> None:
    made = invoke("registry", "create", "Big", "-d", "about", "--type", "model", "--type", "dataset", "--json").ok().json
    assert (made["types"], made["visibility"], made["members"][0]["role"]) == (["model", "dataset"], "organization", "admin")
    assert invoke("registry", "create", "big").code == 4
    assert invoke("registry", "create", "models").code == 4
    assert invoke("registry", "create", "x", "--visibility", "secret").code == 2
    assert invoke("registry", "show", "models", "--json").ok().json["name"] == "model"
    assert invoke("registry", "show", "nothing").code == 3
    assert [row["name"] for row in invoke("registry", "ls", "--json").ok().json["registries"]] == ["Big", "dataset", "model"]


def test_protected_names(two: Invoke) -> None:
    assert two("protect", "--ls", "model").ok().lines == []
    two("alias", "add", "model/x:v0", "Production").ok()
    two("protect", "model", "production", "staging").ok()
    assert two("show", "model/x:v0", "--json").ok().json["protected_aliases"] == ["Production"]
    assert two("ls", "model/x").ok().lines[1].split("\t")[1] == "Production (protected)"
    assert two("protect", "--ls", "model", "--json").ok().json["aliases"] == ["production", "staging"]
    assert two("protect", "--rm", "model", "nothing").code == 3
    assert two("protect", "model", "latest").code == 2
    two("protect", "--rm", "model", "production").ok()
    assert two("show", "model/x:v0", "--json").ok().json["protected_aliases"] == []


def _search(invoke: Invoke, *arguments: str) -> list[tuple[str, str, str, str]]:
    results = invoke("search", *arguments, "--json").ok().json["results"]
    return [(row["kind"], row["ref"], row["field"], row["value"]) for row in results]


def test_search_finds_names_tags_aliases_and_descriptions(two: Invoke) -> None:
    two("registry", "create", "zebra registry").ok()
    two("link", "a:v0", "model/zebra collection").ok()
    two("tag", "add", "model/zebra collection", "zebra ctag").ok()
    two("alias", "add", "model/x:v0", "zebra-alias").ok()
    two("edit", "a:v1", "-d", "A Zebra in text").ok()
    found = _search(two, "ZEBRA")
    assert ("registry", "zebra registry", "name", "zebra registry") in found
    assert ("collection", "model/zebra collection", "name", "zebra collection") in found
    assert ("collection", "model/zebra collection", "tag", "zebra ctag") in found
    assert ("version", "model/x:v0", "alias", "zebra-alias") in found
    assert ("version", "model/x:v1", "description", "A Zebra in text") in found
    assert {row[0] for row in _search(two, "zebra", "--kind", "collection")} == {"collection"}
    assert _search(two, "zebra", "--registry", "dataset") == []
    assert [row[1] for row in _search(two, "--alias", "zebra-alias")] == ["model/x:v0"]
    assert two("search", "nothing-like-it").code == 0
    assert two("search", "nothing-like-it", "--fail-if-empty").code == 1
    assert len(_search(two, "zebra", "--limit", "2")) == 2
    assert two("search", "x", "--kind", "thing").code == 2


def test_search_says_that_there_is_nothing_to_sort_by(two: Invoke) -> None:
    result = two("search", "--kind", "version", "--sort", "metrics.typo").ok()
    assert result.lines
    assert result.stderr == "none of the versions found has 'metrics.typo' to sort by\n"
    assert two("search", "--sort", "metadata.typo", "-q").ok().stderr == ""
    for order in ("ref", "-size", "created"):
        assert two("search", "--sort", order).ok().stderr == ""
    assert two("search", "nothing-like-it", "--sort", "metrics.typo").ok().stderr == "nothing found\n"


def test_search_by_tags_wants_all_of_them(two: Invoke) -> None:
    two("tag", "add", "a:v0", "red", "green").ok()
    two("tag", "add", "a:v1", "red").ok()
    assert {row[1] for row in _search(two, "--tag", "red", "--kind", "version")} == {
        "local/default/a:v0", "local/default/a:v1", "model/x:v0", "model/x:v1",
    }  # fmt: skip
    assert {row[1] for row in _search(two, "--tag", "red", "--tag", "green", "--registry", "model")} == {"model/x:v0"}


def test_diff(two: Invoke) -> None:
    found = two("diff", "a:v0", "model/x:v1", "--json").ok().json
    assert [row["path"] for row in found["changed"]] == ["f.txt"]
    assert (found["added"], found["removed"]) == ([], [])
    assert found["metadata"] == {"n": {"before": 0, "after": 1}}
    assert two("diff", "a:v0", "a:v1", "--exit-code").code == 1
    assert two("diff", "a:v0", "model/x:v0", "--exit-code").code == 0


def test_history_tells_who_changed_what_from_which_value_to_which(two: Invoke) -> None:
    two("alias", "add", "model/x:v0", "p", "-m", "first").ok()
    two("alias", "add", "model/x:v1", "p", "-m", "second").ok()
    two("tag", "add", "model/x:v0", "t").ok()
    two("protect", "model", "p").ok()
    events = two("history", "model/x", "--json").ok().json["events"]
    moved = next(event for event in events if event["action"] == "alias-moved")
    assert (moved["before"], moved["after"], moved["ref"], moved["reason"]) == ("v0", "v1", "model/x:v1", "second")
    assert any(event["action"] == "tags-changed" and event["after"] == ["t"] for event in events)
    assert all(event["user"] and event["host"] and event["time"].endswith("Z") for event in events)
    registry = two("history", "model/", "--json").ok().json["events"]
    assert any(event["action"] == "protected" for event in registry)
    only = two("history", "model/x", "--action", "alias-moved", "--json").ok().json["events"]
    assert only == [moved]
    assert two("history", "--since", "1h", "--json").ok().json["events"] != []
    assert two("history", "--since", "2099-01-01", "--json").ok().json["events"] == []
    assert two("history", "--since", "whenever").code == 2


def test_every_acknowledged_seq_is_in_the_history(two: Invoke) -> None:
    seqs = {two("alias", "add", "model/x:v0", f"n{number}", "--json").ok().json["seq"] for number in range(3)}
    seqs.add(two("unlink", "model/x:v1", "--json").ok().json["seq"])
    assert seqs <= {event["seq"] for event in two("history", "model/x", "--json").ok().json["events"]}


def test_ls_sorts_limits_and_counts(two: Invoke) -> None:
    shown = two("ls", "a", "--limit", "1", "--json").ok().json
    assert ([row["version"] for row in shown["versions"]], shown["total"]) == (["v1"], 2)
    collections = two("ls", "model/", "--json").ok().json["collections"]
    assert [(row["ref"], row["type"], row["versions"], row["latest"]) for row in collections] == [("model/x", "model", 2, "v1")]
    everything = two("ls", "--json").ok().json
    assert [row["ref"] for row in everything["projects"]] == ["local/default"]
    assert [row["name"] for row in everything["registries"]] == ["dataset", "model"]


def test_two_commands_at_once_both_succeed(two: Invoke, root: Path, work: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "regcli", "--root", str(root), "alias", "add", "model/x:v0", f"n{number}", "-q"],
            stdout=subprocess.DEVNULL,
        )
        for number in range(6)
    ]
    assert [child.wait() for child in children] == [0] * 6
    assert two("show", "model/x:v0", "--json").ok().json["aliases"] == [f"n{number}" for number in range(6)]


def test_markdown_for_the_summary_of_a_ci_job(two: Invoke) -> None:
    two("edit", "a:v1", "--meta", "note=a|b <i>*x*</i> [y](z)").ok()
    lines = two("diff", "a:v0", "a:v1", "--md").ok().lines
    assert lines[:2] == ["| Change | What | Before | After |", "| --- | --- | --- | --- |"]
    assert lines[2].startswith("| changed | f.txt | 1 | 1 |")
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines)
    assert "\\<i\\>\\*x\\*" in lines[-1]
    lines = two("history", "model/x", "--md").ok().lines
    assert lines[0].startswith("| Seq | When |")
    assert all(line.replace("\\|", "").count("|") == 9 for line in lines)


def test_ls_tells_versions_that_are_gone_from_those_that_are_there(two: Invoke) -> None:
    two("unlink", "model/x:v0").ok()
    two("delete", "a:v0").ok()
    assert [line.split("\t")[6] for line in two("ls", "model/x", "--all").ok().lines] == [
        "local/default/a:v1", "local/default/a:v0 UNLINKED",
    ]  # fmt: skip
    assert [line.split("\t")[6] for line in two("ls", "a", "--all").ok().lines] == ["", "DELETED"]


def test_a_collection_takes_twenty_tags_at_once_and_a_version_more(two: Invoke) -> None:
    tags = [f"t{number}" for number in range(21)]
    refused = two("tag", "add", "model/x", *tags)
    assert (refused.code, "at most 20 tags at once" in refused.stderr) == (2, True)
    assert two("tag", "ls", "model/x").ok().lines == []
    two("tag", "add", "model/x", *tags[1:]).ok()
    two("tag", "add", "model/x", tags[0]).ok()
    assert len(two("tag", "ls", "model/x").ok().lines) == 21
    two("tag", "add", "model/x:v0", *tags).ok()


def test_a_registry_or_version_where_a_collection_belongs_is_told_from_a_wrong_name(two: Invoke) -> None:
    for command in (["show", "model/"], ["alias", "ls", "model/"], ["link", "a", "model/"]):
        failed = two(*command, "--json")
        assert (failed.code, failed.error["message"]) == (2, "'model/' names a registry, not a collection")
        assert "`regcli ls 'model/'`" in failed.error["hint"]
    assert two("show", "local/default/", "--json").error["message"] == "'local/default/' names a project, not a collection"
    assert two("compare", "a:v1", "--json").error["message"] == "'a:v1' names a version, not a collection"
    assert "`regcli ls 'dataset/'`" in two("show", "dataset", "--json").error["hint"]


def test_a_link_collection_under_a_registrys_name_is_made_with_a_warning(two: Invoke) -> None:
    made = two("link", "a", "Model", "--json").ok().json
    assert made["ref"] == "local/default/Model:v0"
    assert "'Model/COLLECTION'" in made["warnings"][0]
    assert "warnings" not in two("link", "a:v0", "Model", "--json").ok().json


def test_nothing_found_is_said_to_people_only(two: Invoke) -> None:
    for command in (
        ["search", "nowhere"],
        ["history", "a", "--user", "nobody"],
        ["protect", "model"],
        ["files", "a", "*.none"],
    ):
        said = two(*command).ok()
        assert said.stdout == ""
        assert len(said.stderr.splitlines()) == 1
        assert two(*command, "-q").ok().stderr == ""


def test_history_shows_the_newest_and_on_which_version_an_alias_was(two: Invoke) -> None:
    for version in ("v0", "v1"):
        two("alias", "add", f"a:{version}", "best").ok()
    two("alias", "rm", "a", "best").ok()
    everything = two("history", "a", "--json").ok().json
    newest = two("history", "a", "--limit", "2", "--json").ok().json
    assert newest["events"] == everything["events"][-2:]
    assert newest["total"] == everything["total"] == len(everything["events"])
    rows = [line.split("\t") for line in two("history", "a", "--limit", "3").ok().stdout.splitlines()]
    assert [row[5:7] for row in rows] == [["", "best v0"], ["best v0", "best v1"], ["best v1", ""]]


def test_history_tells_people_in_words_what_it_tells_programs_as_json(two: Invoke, root: Path) -> None:
    environment = {"REGCLI_ROOT": str(root), "COLUMNS": "250", "NO_COLOR": "1"}
    shown = on_terminal("-m", "regcli", "history", "model/x", "--limit", "1", environment=environment)
    digest = two("show", "model/x", "--json").ok().json["digest"]
    assert f"digest {digest[:12]}, size 5, file_count 2, source local/default/a:v1" in shown
    assert f'{{"digest": "{digest}"' in two("history", "model/x", "--limit", "1").ok().stdout


def test_a_second_link_says_what_it_changed(two: Invoke) -> None:
    def remarks(number: int, *aliases: str) -> list[str]:
        done = two("link", f"a:v{number}", "model/x", *(word for alias in aliases for word in ("-a", alias))).ok()
        assert done.lines == [f"model/x:v{number}"]
        return done.stderr.splitlines()

    assert remarks(0) == ["model/x:v0 was linked already; nothing to change"]
    assert remarks(0, "one", "other") == ["model/x:v0 was linked already; it has the aliases one, other now"]
    assert remarks(0, "one") == ["model/x:v0 was linked already; nothing to change"]
    assert remarks(1, "one") == [
        "moved one here from model/x:v0",
        "model/x:v1 was linked already; it has the alias one now",
    ]
    told = two("link", "a:v0", "model/x", "-a", "one", "-a", "other", "--json").ok().json
    assert (told["created"], told["added"], told["renewed"]) == (False, ["one"], [])
    assert told["moved"] == [{"alias": "one", "from": "model/x:v1"}]
