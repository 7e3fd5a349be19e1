"""Automations: what is announced, to whom, what is sent, how often it is tried, and what never happens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain.aliasing import add_aliases, remove_aliases
from regcli.domain.automations import Request, add_automation, list_automations, name_test, remove_automation
from regcli.domain.context import Context
from regcli.domain.deletion import delete_version
from regcli.domain.delivery import MAX_TRIES, deliver, due_at, log_of, notice_documents, try_out
from regcli.domain.editing import add_tags, remove_tags
from regcli.domain.linking import link_version, unlink
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.members import set_member
from regcli.domain.outbox import pending
from regcli.domain.registries import create_registry, find_registry, protect
from regcli.domain.trust import Trust
from regcli.errors import ConflictError, IntegrityError, NotFoundError, RefusedError, RoleError, UsageError
from regcli.model import Alias, RegistryName, Tag, TypeName
from regcli.store.ingest import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Result


class Receiver:
    """An HTTP server on the loopback that answers what it is told to, in turn, and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if callable(answer):
                    answer(self)
                    return
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class World:
    """A root with a clock of its own, and a short way to everything."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.time = time.time()
        self.environment: dict[str, str] = {"PATH": os.environ["PATH"]}
        self.count = 0

    def context(self, user: str = "ada", home: str | None = None) -> Context:
        place = self.folder / (home or user)
        return Context(
            root_path=str(self.root),
            user=user,
            uid=os.getuid(),
            host="here",
            command="test",
            clock=self.clock,
            sleep=self.sleep,
            environment=self.environment,
            trust=Trust(config_path=f"{place}/config", state_path=f"{place}/state"),
        )

    def clock(self) -> float:
        self.time += 0.00001
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def log(self, context: Context, name: str = "zoo", **more: Any) -> str:
        self.count += 1
        file = self.folder / "content.txt"
        file.write_text(str(self.count))
        request = LogRequest(name, TypeName.parse("model"))
        request.sources = [Source(str(file))]
        for key, value in more.items():
            setattr(request, key, value)
        version = log_version(context, request).version
        assert version is not None
        return version.ref


@pytest.fixture
def world(root: Path, tmp_path: Path) -> World:
    return World(root, tmp_path)


@pytest.fixture
def context(world: World) -> Context:
    context = world.context()
    world.log(context, metadata={"team": 'the "zoo"', "n": 3})
    link_version(context, "zoo:v0", "model/Zoo")
    return context


def request(event: str, scope: str = ".", **more: str) -> Request:
    made = Request(event, scope)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def announced(context: Context) -> list[tuple[str, str]]:
    return [(notice.marker["automation"], notice.marker["event"]) for notice in pending(context)]


# What is announced


def test_every_event_is_announced_and_only_to_who_waits_for_it(context: Context, world: World) -> None:
    from regcli.domain.events import EVENTS

    for event in EVENTS:
        match = {"match": "accuracy > 0.9"} if event == "metric" else {}
        add_automation(context, event, request(event, webhook="http://127.0.0.1:9/x", **match))
    prod = Alias.parse("prod")
    steps: list[tuple[str, Callable[[], Any], list[str]]] = [
        (
            "log",
            lambda: world.log(context, aliases=[Alias.parse("a")], metrics={"accuracy": 0.95}),
            ["version-created", "metric", "alias-added"],
        ),
        ("log", lambda: world.log(context, metrics={"accuracy": 0.5}), ["version-created"]),
        ("link", lambda: link_version(context, "zoo:v1", "model/Zoo", aliases=[prod]), ["linked", "alias-added"]),
        ("again", lambda: link_version(context, "zoo:v1", "model/Zoo", aliases=[prod]), []),
        ("alias", lambda: add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")]), ["alias-added"]),
        ("alias rm", lambda: remove_aliases(context, "model/Zoo", ["prod"]), ["alias-removed"]),
        ("tag", lambda: add_tags(context, "zoo:v2", [Tag.parse("x"), Tag.parse("y")]), ["tag-added", "tag-added"]),
        ("tag rm", lambda: remove_tags(context, "zoo:v2", ["x"]), ["tag-removed"]),
        ("tag collection", lambda: add_tags(context, "model/Zoo", [Tag.parse("c")]), ["tag-added"]),
        ("protect", lambda: protect(context, find_registry(context, "model"), [Alias.parse("prod")]), ["protection-changed"]),
        ("unlink", lambda: unlink(context, "model/Zoo:v1"), ["unlinked"]),
        ("delete", lambda: delete_version(context, "zoo:v2"), ["version-deleted"]),
    ]  # fmt: skip
    seen = 0
    for name, step, events in steps:
        step()
        found = announced(context)
        assert sorted(event for _, event in found[seen:]) == sorted(events), name
        assert all(automation == event for automation, event in found), name
        seen = len(found)


def test_scopes(context: Context, world: World) -> None:
    create_registry(context, RegistryName.parse("other"))
    link_version(context, "zoo:v0", "other/Zoo")
    link_version(context, "zoo:v0", "model/Second")
    for name, scope in [
        ("everywhere", "."),
        ("model", "model/"),
        ("model-zoo", "model/Zoo"),
        ("source", "zoo"),
        ("project", "local/default/"),
        ("other", "other/"),
    ]:
        add_automation(context, name, request("alias-added", scope, webhook="http://127.0.0.1:9/x"))

    def told(ref: str, alias: str) -> set[str]:
        before = len(pending(context))
        add_aliases(context, ref, [Alias.parse(alias)])
        return {notice.marker["automation"] for notice in pending(context)[before:]}

    assert told("model/Zoo:v0", "a") == {"everywhere", "model", "model-zoo"}
    assert told("model/Second:v0", "a") == {"everywhere", "model"}
    assert told("other/Zoo:v0", "a") == {"everywhere", "other"}
    assert told("zoo:v0", "a") == {"everywhere", "source", "project"}
    # A scope is a place, not a name: renaming changes nothing about it, and children that come later are covered.
    world.log(context, "fresh")
    assert told("fresh:v0", "a") == {"everywhere", "project"}


def test_a_registry_may_be_named_collections(context: Context, receiver: Receiver) -> None:
    create_registry(context, RegistryName.parse("collections"))
    for event in ("protection-changed", "linked"):
        add_automation(context, event, request(event, "collections/", webhook=receiver.url))
    protect(context, find_registry(context, "collections"), [Alias.parse("gold")])
    link_version(context, "zoo:v0", "collections/collections")
    deliver(context)
    assert [(body["event"], body["ref"]) for body in receiver.bodies()] == [
        ("protection-changed", "collections"),
        ("linked", "collections/collections:v0"),
    ]
    assert {item.document(context)["scope"] for item in list_automations(context)} == {"collections/"}


def test_a_tag_on_a_version_is_told_where_it_is_linked(context: Context) -> None:
    add_automation(context, "registry", request("tag-added", "model/", webhook="http://127.0.0.1:9/x"))
    add_automation(context, "root", request("tag-added", webhook="http://127.0.0.1:9/x"))
    add_tags(context, "zoo:v0", [Tag.parse("x")])
    assert sorted(name for name, _ in announced(context)) == ["registry", "root"]


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("production", ["production", "PRODUCTION"], ["production2", "pre-production"]),
        ("prod*", ["prod", "production"], ["preprod"]),
        ("v?.[0-9]", ["v1.2"], ["v10.2", "v1.x"]),
        ("[!a]x", ["bx"], ["ax"]),
        ("^prod", ["production"], ["preprod"]),
        ("prod|staging", ["production", "staging-eu"], ["dev"]),
        ("rel.*[0-9]+", ["release-12"], ["release"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_patterns(pattern: str, names: list[str], others: list[str]) -> None:
    test = name_test(pattern)
    assert [name for name in names if test(name)] == names
    assert [name for name in others if test(name)] == []


def test_match_filters_by_alias_tag_or_collection(context: Context) -> None:
    add_automation(context, "a", request("alias-added", match="prod*", webhook="http://127.0.0.1:9/x"))
    add_automation(context, "l", request("linked", match="zoo", webhook="http://127.0.0.1:9/x"))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("staging"), Alias.parse("Production")])
    link_version(context, "zoo:v0", "model/Plants")
    assert announced(context) == [("a", "alias-added")]
    unlink(context, "model/Zoo:v0")
    link_version(context, "zoo:v0", "model/Zoo")
    assert announced(context) == [("a", "alias-added"), ("l", "linked")]


def test_a_refused_or_empty_change_announces_nothing(context: Context, world: World) -> None:
    protect(context, find_registry(context, "model"), [Alias.parse("prod")])
    add_automation(context, "a", request("alias-added", webhook="http://127.0.0.1:9/x"))
    with pytest.raises(RefusedError):
        add_aliases(world.context("bob"), "model/Zoo:v0", [Alias.parse("prod")])
    add_aliases(context, "model/Zoo:v0", [Alias.parse("x")])
    add_aliases(context, "model/Zoo:v0", [Alias.parse("x")])
    assert len(pending(context)) == 1


def test_the_commit_itself_lists_what_is_to_be_told(context: Context) -> None:
    add_automation(context, "a", request("alias-added", webhook="http://127.0.0.1:9/x"))
    change = add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    path = f"{context.root.path}/registries/model/collections/zoo/log/{change.seq:010d}.json"
    with open(path) as file:
        commit = json.load(file)
    assert [entry["event_id"] for entry in commit["outbox"]] == [pending(context)[0].event_id] == context.announced


def test_a_marker_without_its_commit_is_never_sent(context: Context, world: World, receiver: Receiver) -> None:
    """A writer that was killed before the commit, or lost the race for its number, leaves a marker."""
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    folder = f"{context.root.path}/outbox"
    with open(f"{folder}/{context.announced[0]}.json") as file:
        marker = json.load(file)
    for event_id, seq in (("1" * 32, marker["seq"]), ("2" * 32, marker["seq"] + 5)):
        with open(f"{folder}/{event_id}.json", "w") as file:
            json.dump({**marker, "event_id": event_id, "seq": seq}, file)
    deliver(context)
    assert [body["event_id"] for body in receiver.bodies()] == context.announced
    # The one whose commit may still come is kept for a while.
    assert [notice.event_id for notice in pending(context)] == ["2" * 32]
    world.time += 8 * 86400
    deliver(context)
    assert pending(context) == []
    assert len(receiver.got) == 1


def test_damage_in_the_outbox_stops_nobody(context: Context, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    folder = f"{context.root.path}/outbox"
    escape = {"event_id": "z", "place": "../..", "seq": 1, "time": "t", "automation": "a", "event": "e"}
    for name, text in [("x.json", "{"), ("y.json", "[]"), ("z.json", json.dumps(escape)), ("README", "")]:
        with open(f"{folder}/{name}", "w") as file:
            file.write(text)
    os.mkdir(f"{folder}/d.json")
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert len(deliver(context).delivered) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"tries": [1]},
        {"tries": {"a": 1}},
        {"tries": 5, "status": "delivered"},
        {"tries": [{"at": "x"}, {"at": 1, "error": [], "status": {}}]},
        {"status": {}, "event": 1},
        {"automation": ["a"]},
        {"time": None},
        {"place": "../.."},
        {"place": "registries/\0"},
        {"version": [1], "subject": {}},
    ],
    ids=json.dumps,
)
def test_a_notice_that_was_made_up_stops_neither_doctor_nor_log(context: Context, more: dict[str, Any]) -> None:
    add_automation(context, "a", request("alias-added", webhook="http://127.0.0.1:9/"))
    place = "registries/model/collections/zoo"
    notice = {"event_id": "z", "place": place, "seq": 1, "time": "t", "automation": "a", "event": "e", "status": "failed"}
    for folder in ("outbox", "outbox/done"):
        with open(f"{context.root.path}/{folder}/z.json", "w") as file:
            json.dump({**notice, **more}, file)
    with open(f"{context.root.path}/outbox/z.tries-1", "w") as file:
        json.dump(more, file)
    assert {row["automation"] for row in notice_documents(context, log_of(context))} <= {"a"}
    assert all("automation 'a' has not delivered" in message for _, message in found_by_doctor(context))
    assert deliver(context).delivered == []


def test_an_outbox_that_cannot_be_written_does_not_stop_the_change(context: Context) -> None:
    add_automation(context, "a", request("alias-added", webhook="http://127.0.0.1:9/x"))
    os.rename(f"{context.root.path}/outbox", f"{context.root.path}/away")
    # Nobody can make files here, whoever they are.
    os.symlink("/proc", f"{context.root.path}/outbox")
    assert add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")]).changed
    assert any("could be told" in warning for warning in context.warnings)


# What is sent


def test_the_payload(context: Context, receiver: Receiver) -> None:
    add_automation(context, "deploy", request("alias-added", "model/", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")], reason="it passed")
    deliver(context)
    body = receiver.bodies()[0]
    expected = {
        "event": "alias-added", "event_type": "ADD_ARTIFACT_ALIAS", "automation": "deploy", "user": "ada",
        "ref": "model/Zoo:v0", "registry": "model", "collection": "Zoo", "version": "v0", "alias": "prod",
        "reason": "it passed", "type": "model", "source": "local/default/zoo:v0",
    }  # fmt: skip
    assert {key: body[key] for key in expected} == expected
    assert body["metadata"] == {"team": 'the "zoo"', "n": 3}
    path, headers, _ = receiver.got[0]
    assert path == "/hook"
    assert headers["content-type"] == "application/json"
    assert headers["x-regcli-event-id"] == body["event_id"]
    assert "authorization" not in headers


def test_token_and_signature_come_from_the_environment(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url, token_env="MY_TOKEN", secret_env="MY_SECRET"))
    world.environment.update(MY_TOKEN="t0ken", MY_SECRET="s3cret")
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    deliver(context)
    _, headers, body = receiver.got[0]
    assert headers["authorization"] == "Bearer t0ken"
    wanted = base64.b64encode(hmac.new(b"s3cret", body, hashlib.sha256).digest()).decode()
    assert headers["x-wandb-signature"] == headers["x-regcli-signature"] == wanted


def test_secrets_are_stored_nowhere(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url, token_env="MY_TOKEN", secret_env="MY_SECRET"))
    world.environment.update(MY_TOKEN="t0ken-value", MY_SECRET="s3cret-value")
    receiver.answers = [500]
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    deliver(context)
    deliver(context, now=True)
    for folder, _, names in os.walk(world.folder):
        for name in names:
            with open(f"{folder}/{name}", "rb") as file:
                data = file.read()
            assert b"t0ken-value" not in data, name
            assert b"s3cret-value" not in data, name


def test_a_secret_may_lie_in_a_private_file(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url, token_env="MY_TOKEN"))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    failed = deliver(context).failed[0]
    assert "MY_TOKEN is not set" in str(failed.tries[-1]["error"])
    folder = world.folder / "ada/config/secrets"
    folder.mkdir(parents=True)
    file = folder / "MY_TOKEN"
    file.write_text("from-file\n")
    file.chmod(0o644)
    assert "chmod 600" in str(deliver(context, now=True).failed[0].tries[-1]["error"])
    assert receiver.got == []
    file.chmod(0o600)
    assert len(deliver(context, now=True).delivered) == 1
    assert receiver.got[0][1]["authorization"] == "Bearer from-file"


def test_nobody_elses_automation_gets_our_secrets(context: Context, world: World, receiver: Receiver) -> None:
    """Mallory may define a webhook, but not have Ada's process send Ada's variables to it."""
    mallory = world.context("mallory")
    add_automation(mallory, "trap", request("alias-added", "model/Zoo", webhook=receiver.url, token_env="MY_TOKEN"))
    add_automation(mallory, "url", request("alias-added", "model/Zoo", webhook="env:MY_TOKEN"))
    world.environment["MY_TOKEN"] = receiver.url
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    report = deliver(context)
    assert (len(report.delivered), len(report.failed), len(report.waiting)) == (0, 0, 2)
    assert receiver.got == []
    # Their own process can.
    assert len(deliver(mallory).delivered) == 2


def test_the_author_is_whoever_made_the_commit(context: Context, world: World, receiver: Receiver) -> None:
    """A definition that claims to be somebody else's is not believed."""
    from regcli.domain.registries import change_settings

    mallory = world.context("mallory")
    add_automation(mallory, "a", request("alias-added", "model/Zoo", webhook=receiver.url, token_env="MY_TOKEN"))
    registry = find_registry(mallory, "model")
    forged = {**registry.state["automations"]["a"], "created_by": "ada"}
    change_settings(mallory, registry, lambda _: [{"op": "automation", "name": "a", "before": None, "after": forged}])
    assert find_registry(context, "model").state["automations"]["a"]["created_by"] == "mallory"


def test_a_template(context: Context, world: World, receiver: Receiver) -> None:
    template = (
        '{"event_type": "deploy", "client_payload": {"alias": "${alias}", "who": "${event_author}", "what": "${event_type}",'
        ' "where": "${project_name}", "entity": "${entity_name}", "in": "${artifact_collection_name}",'
        ' "version": "${artifact_version}", "string": "${artifact_version_string}", "team": "${artifact_metadata.team}",'
        ' "n": ${artifact_metadata.n}, "none": "${tag}", "id": "${event_id}", "token": "${ACCESS_TOKEN}", "plain": "$${alias}",'
        ' "secret": "${MY_SECRET}"}}'
    )
    more = {"template": template, "token_env": "MY_TOKEN", "secret_env": "MY_SECRET"}
    add_automation(context, "a", request("alias-added", webhook=receiver.url, **more))
    world.environment.update(MY_TOKEN="t0ken", MY_SECRET='s"3')
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    deliver(context)
    body = receiver.bodies()[0]["client_payload"]
    identity = body.pop("version")
    assert identity.startswith("wandb-artifact://_id/")
    assert body == {
        "alias": "prod", "who": "ada", "what": "ADD_ARTIFACT_ALIAS", "where": "wandb-registry-model", "entity": "local",
        "in": "Zoo", "string": "model/Zoo:prod", "team": 'the "zoo"', "n": 3, "none": "", "id": context.announced[0],
        "token": "t0ken", "plain": "${alias}", "secret": 's"3',
    }  # fmt: skip


@pytest.mark.parametrize("template", ["{", '{"a": ${alias}', '{"a": ${', "text ${alias}", '{"a": "${alias}}'])
def test_a_template_that_gives_no_json_is_refused(context: Context, template: str) -> None:
    with pytest.raises(UsageError, match="JSON"):
        add_automation(context, "a", request("linked", webhook="http://127.0.0.1:9/x", template=template))


def test_slack(context: Context, receiver: Receiver) -> None:
    add_automation(context, "s", request("alias-added", slack=receiver.url))
    add_automation(context, "t", request("tag-added", slack=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("a<b&c")])
    add_tags(context, "model/Zoo", [Tag.parse("t")])
    deliver(context)
    texts = [body["text"] for body in receiver.bodies()]
    assert texts == ["alias *a&lt;b&amp;c* is now on *model/Zoo:v0* by ada", "tag *t* was added to *model/Zoo* by ada"]
    assert list(receiver.bodies()[0]) == ["text"]


def test_a_slack_url_may_stay_secret(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "s", request("linked", slack="env:SLACK"))
    world.environment["SLACK"] = receiver.url
    link_version(context, "zoo:v0", "model/New")
    assert len(deliver(context).delivered) == 1


def test_metrics_meet_a_condition(context: Context, world: World, receiver: Receiver) -> None:
    more = {"match": "accuracy > 0.9 and metadata.team = zoo", "webhook": receiver.url}
    add_automation(context, "root", request("metric", **more))
    add_automation(context, "registry", request("metric", "model/", **more))
    world.log(context, metrics={"accuracy": 0.99}, metadata={"team": "plants"})
    world.log(context, metrics={"accuracy": 0.8}, metadata={"team": "zoo"})
    world.log(context, metrics={"accuracy": 0.95}, metadata={"team": "zoo"})
    link_version(context, "zoo:latest", "model/Zoo")
    deliver(context)
    # The root hears of the version where it was logged, the registry when it gets there.
    assert [(body["automation"], body["ref"]) for body in receiver.bodies()] == [
        ("root", "local/default/zoo:v3"),
        ("registry", "model/Zoo:v1"),
    ]
    assert receiver.bodies()[0]["metrics"] == {"accuracy": 0.95}


# How it is tried


def test_a_failure_is_tried_again_with_the_same_id(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    receiver.answers = [500, 404, 200]
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert len(deliver(context).failed) == 1
    assert len(deliver(context).waiting) == 1  # not yet due
    world.time += 1.01
    assert len(deliver(context).failed) == 1
    world.time += 1.01
    assert len(deliver(context).waiting) == 1  # the pause doubles
    assert len(deliver(context, now=True).delivered) == 1
    assert len({body["event_id"] for body in receiver.bodies()}) == 1
    assert len(receiver.got) == 3
    document = notice_documents(context, log_of(context))[0]
    assert (document["status"], document["ref"], document["subject"]) == ("delivered", "model/Zoo:v0", "prod")
    assert [(item["status"], item["error"]) for item in document["tries"]] == [
        (500, "the receiver answered 500"),
        (404, "the receiver answered 404"),
        (200, None),
    ]
    assert deliver(context, now=True).document(context) == {
        "delivered": 0, "failed": 0, "cancelled": 0, "waiting": 0, "deliveries": [],
    }  # fmt: skip


def test_lingering_retries_what_becomes_due(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    receiver.answers = [500, 500, 500]
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    report = deliver(context, linger=10)
    assert (len(report.delivered), len(receiver.got)) == (1, 4)


def test_lingering_does_not_spin_on_what_is_somebody_elses(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(world.context("mallory"), "a", request("alias-added", "model/Zoo", webhook=receiver.url, token_env="T"))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    began = world.time
    assert len(deliver(context, linger=10).waiting) == 1
    assert world.time - began < 1


def test_a_silent_receiver_is_not_asked_for_every_notice(context: Context, receiver: Receiver) -> None:
    add_automation(context, "dead", request("alias-added", webhook="http://127.0.0.1:9/x"))
    add_automation(context, "alive", request("alias-added", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse(f"a{n}") for n in range(9)])
    report = deliver(context)
    assert (len(report.delivered), len(report.failed), len(report.waiting)) == (9, 5, 4)


def test_a_malformed_definition_stops_nobodys_changes(context: Context) -> None:
    from regcli.domain.registries import change_settings

    add_automation(context, "good", request("alias-added", webhook="http://127.0.0.1:9/x"))
    for number, after in enumerate(
        [{}, {"id": 1}, {"id": "1", "event": "alias-added", "scope": "registry", "action": "x", "match": 3}]
    ):
        op = {"op": "automation", "name": f"bad{number}", "before": None, "after": after}
        change_settings(context, find_registry(context, "model"), lambda _, op=op: [op])
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert announced(context) == [("good", "alias-added")]
    assert [item.name for item in list_automations(context)] == ["good"]


def test_a_command_that_starts_itself_comes_to_an_end(run: Callable[..., Result], root: Path, work: Path) -> None:
    (work / "f").write_text("x")
    run("log", "f", "-n", "zoo", "-t", "model").ok()
    count = work / "count"
    script = work / "again.sh"
    script.write_text(
        f"echo x >> {count}\n{sys.executable} -m regcli --root {root} alias add zoo:v0 round-$REGCLI_AUTOMATION_DEPTH\n"
    )
    run("automation", "add", "loop", "--on", "alias-added", "--command", f"sh {script}").ok()
    run("alias", "add", "zoo:v0", "begin").ok()
    deadline = time.monotonic() + 60
    while not count.exists() or count.read_text().count("x") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.0)
    assert count.read_text().count("x") == 5


def test_a_malformed_notice_does_not_hold_up_the_others(context: Context, world: World, receiver: Receiver) -> None:
    from regcli.domain.registries import change_settings

    add_automation(context, "good", request("alias-added", webhook=receiver.url))
    broken = {"id": "1", "event": "alias-added", "scope": "registry", "match": None, "action": "webhook", "url": 7}
    change_settings(
        context,
        find_registry(context, "model"),
        lambda _: [{"op": "automation", "name": "bad", "before": None, "after": broken}],
    )
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    report = deliver(context)
    assert [notice.marker["automation"] for notice in report.delivered] == ["good"]
    assert "malformed" in str(report.failed[0].tries[-1]["error"])


def test_a_dead_receiver_is_given_up_after_twenty_tries(context: Context, world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        add_automation(context, "a", request("alias-added", webhook=f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    began = world.time
    for _ in range(MAX_TRIES):
        notice = pending(context)[0]
        world.time = max(world.time, due_at(notice))
        deliver(context)
    assert pending(context) == []
    assert 24 * 3600 < world.time - began < 72 * 3600
    notice = log_of(context)[0]
    assert (notice.status, len(notice.tries)) == ("failed", MAX_TRIES)
    assert "refused" in str(notice.tries[0]["error"])


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("make && notify", "&&"), ("make; notify", ";"), ("cat | wc", "|"), ("tee>log", ">"), ("make 2>&1", ">&"),
        ("sort < in", "<"), ("make &", "&"), ("notify $REGCLI_REF", "$REGCLI_REF"), ('notify "$REGCLI_REF now"', "$REGCLI_REF"),
        ("echo ${HOME}", "${"), ("echo $(date)", "$("), ("echo `date`", "`"), ("curl http://host/?a=1&b=2", "&"),
        # It would come with the backslash.
        ('sh -c "make && notify \\$REGCLI_REF"', "$REGCLI_REF"),
    ],
)  # fmt: skip
def test_a_command_that_needs_a_shell_is_refused(context: Context, world: World, command: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        add_automation(context, "a", request("alias-added", command=command))
    assert caught.value.message.startswith(f"'{found}' in the command means something to a shell only")
    assert f"sh -c {shlex.quote(command)}" in str(caught.value.hint)
    assert list_automations(context) == []


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'make && notify \"$REGCLI_REF\" > log'", "notify 'a & b; c | d'", 'notify "a & b"', "notify a\\&b",
        "notify 5$ $5 $", "notify '$HOME' \\$HOME \"a\\\\b\\\"&\"", "notify \"it's; fine\"", "notify '\"' x '\"'",
    ],
)  # fmt: skip
def test_what_is_quoted_goes_to_the_command_as_it_is(context: Context, world: World, command: str) -> None:
    automation, _ = add_automation(context, "a", request("alias-added", command=command))
    assert automation.definition["command"] == command


def found_by_doctor(context: Context) -> list[tuple[str, str]]:
    from regcli.domain.doctor import examine

    return [(finding.level, finding.message) for finding in examine(context).findings if "automation" in finding.message]


def test_doctor_names_the_automations_that_fail_until_they_deliver_again(
    context: Context, world: World, receiver: Receiver
) -> None:
    add_automation(context, "deploy", request("alias-added", webhook=receiver.url))
    add_automation(context, "other", request("tag-added", webhook=receiver.url))
    assert found_by_doctor(context) == []
    receiver.answers = [500, 500, 200]
    for alias in ("prod", "best"):
        add_aliases(context, "model/Zoo:v0", [Alias.parse(alias)])
    deliver(context)
    ((level, message),) = found_by_doctor(context)
    assert level == "problem"
    assert message.startswith("automation 'deploy' has not delivered 2 events: ")
    assert "500" in message
    deliver(context, now=True)
    assert found_by_doctor(context) == []


def test_doctor_names_what_was_given_up_until_something_newer_is_delivered(
    context: Context, world: World, receiver: Receiver
) -> None:
    add_automation(context, "deploy", request("alias-added", webhook=receiver.url))
    receiver.answers = [503] * MAX_TRIES
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    for _ in range(MAX_TRIES):
        deliver(context, now=True)
    assert "not delivered 1 event (1 given up): " in found_by_doctor(context)[0][1]
    world.time += 1
    add_aliases(context, "model/Zoo:v0", [Alias.parse("best")])
    deliver(context)
    assert found_by_doctor(context) == []


def test_doctor_hints_at_what_nobody_delivers(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "deploy", request("alias-added", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    os.utime(pending(context)[0].path, (world.time, world.time))
    assert found_by_doctor(context) == []
    world.time += 120
    assert found_by_doctor(context) == [("hint", "1 event of automation 'deploy' still to be delivered")]
    remove_automation(context, "deploy")
    assert found_by_doctor(context) == []


def test_a_receiver_that_hangs_is_cut_off(context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    from regcli.domain.webhooks import post

    stop = threading.Event()

    def silent(_: Any) -> None:
        stop.wait(20)

    def dripping(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not stop.wait(0.05):
            try:
                handler.wfile.write(b"X-A: b\r\n")
            except OSError:
                return

    receiver.answers = [silent, dripping]
    for _ in range(2):
        began = time.monotonic()
        outcome = post(receiver.url, b"{}", {}, timeout=0.4)
        assert outcome.error is not None
        assert time.monotonic() - began < 10
    stop.set()


def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    from regcli.domain.webhooks import post

    def endless(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            return

    receiver.answers = [endless]
    assert post(receiver.url, b"{}", {}).error is None


def test_garbage_is_a_failure(receiver: Receiver) -> None:
    from regcli.domain.webhooks import post

    receiver.answers = [
        lambda handler: handler.wfile.write(b"this is not HTTP\r\n\r\n"),
        lambda handler: handler.connection.close(),
    ]
    for _ in range(2):
        assert post(receiver.url, b"{}", {}).error is not None


def test_redirects(context: Context, world: World, receiver: Receiver) -> None:
    other = Receiver()

    def to(target: str, status: int) -> Callable[[Any], None]:
        def answer(handler: Any) -> None:
            handler.send_response(status)
            handler.send_header("Location", target)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return answer

    world.environment["MY_TOKEN"] = "t0ken"
    add_automation(context, "a", request("alias-added", webhook=receiver.url, token_env="MY_TOKEN"))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    for answer, words in [
        (to(other.url, 307), "another host"),
        (to(other.url, 302), "lose the message"),
        (to("/elsewhere", 301), "lose the message"),
        (to("file:///etc/passwd", 308), "another host"),
    ]:
        receiver.answers = [answer]
        failed = deliver(context, now=True).failed[0]
        assert words in str(failed.tries[-1]["error"])
    assert other.got == []
    receiver.answers = [to("/elsewhere", 307)] * 9
    assert "without end" in str(deliver(context, now=True).failed[0].tries[-1]["error"])
    receiver.answers = [to("/elsewhere?x=1", 308)]
    assert len(deliver(context, now=True).delivered) == 1
    assert receiver.got[-1][0] == "/elsewhere?x=1"
    assert receiver.got[-1][1]["authorization"] == "Bearer t0ken"
    other.close()


def test_two_deliverers_send_once(context: Context, world: World, receiver: Receiver) -> None:
    def slow(handler: Any) -> None:
        time.sleep(0.3)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    receiver.answers = [slow, slow, slow]
    reports: list[Any] = []
    contexts = [world.context() for _ in range(3)]
    for each in contexts:
        each.clock = time.time
        each.sleep = time.sleep
    threads = [threading.Thread(target=lambda c=each: reports.append(deliver(c))) for each in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(receiver.got) == 1
    # Who waited for the other reports what came of it.
    assert [len(report.delivered) for report in reports] == [1, 1, 1]


def test_removing_an_automation_gives_up_what_it_had_to_deliver(context: Context, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    remove_automation(context, "a")
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    report = deliver(context)
    assert (len(report.cancelled), receiver.got, pending(context)) == (1, [], [])
    assert log_of(context)[0].status == "cancelled"


def test_try_out(context: Context, receiver: Receiver) -> None:
    add_automation(context, "a", request("tag-added", webhook=receiver.url))
    assert try_out(context, "a").status == 200
    assert receiver.bodies()[0]["test"] is True
    assert receiver.bodies()[0]["tag"] == "example"
    receiver.answers = [503]
    assert "503" in str(try_out(context, "a").error)
    assert pending(context) == []
    with pytest.raises(NotFoundError):
        try_out(context, "b")


# Commands of one's own


def test_a_command_runs_for_ones_own_changes_only(context: Context, world: World) -> None:
    out = world.folder / "out.json"
    script = world.folder / "note.py"
    script.write_text(
        f"import os, sys\nopen({str(out)!r}, 'a').write(os.environ['REGCLI_ALIAS'] + ' ' + sys.stdin.read() + chr(10))\n"
    )
    add_automation(context, "mine", request("alias-added", "model/", command=f"{sys.executable} '{script}'"))
    bob = world.context("bob")
    add_aliases(bob, "model/Zoo:v0", [Alias.parse("bobs")])
    deliver(bob)
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert [name for name, _ in announced(bob)] == []
    assert len(deliver(context).delivered) == 1
    alias, _, body = out.read_text().partition(" ")
    assert (alias, json.loads(body)["ref"]) == ("prod", "model/Zoo:v0")
    assert [item.name for item in list_automations(bob)] == []


def test_no_file_of_the_root_names_a_program(context: Context, world: World) -> None:
    add_automation(context, "mine", request("alias-added", command="very-special-program --now"))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    for folder, _, names in os.walk(world.root):
        for name in names:
            with open(f"{folder}/{name}", "rb") as file:
                assert b"very-special-program" not in file.read(), name
    path = world.folder / "ada/config/automations.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_command_planted_in_a_registry_is_never_run(context: Context, world: World) -> None:
    from regcli.domain.registries import change_settings

    trap = world.folder / "trap"
    # Where the user has no configuration, a command could not even be started.
    (world.folder / "ada/config").mkdir(parents=True)
    definition = {
        "id": "1", "event": "alias-added", "scope": "registry", "match": None, "action": "command", "command": f"touch {trap}",
        "created_at": "", "created_by": "ada",
    }  # fmt: skip
    add_automation(context, "x", request("alias-added", webhook="http://127.0.0.1:9/x"))
    change_settings(
        context,
        find_registry(context, "model"),
        lambda _: [{"op": "automation", "name": "evil", "before": None, "after": definition}],
    )
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    failed = deliver(context).failed
    assert [str(notice.tries[-1]["error"]) for notice in failed if notice.marker["automation"] == "evil"] == [
        "a command that is not in your own configuration is never run"
    ]
    try_out(context, "evil")
    assert not trap.exists()


@pytest.mark.parametrize("more", [{"token_env": "MY_TOKEN"}, {"secret_env": "MY_TOKEN"}, {"url": "env:MY_TOKEN"}])
def test_an_automation_planted_in_the_users_name_gets_no_secret(
    context: Context, world: World, receiver: Receiver, more: dict[str, str]
) -> None:
    """Whoever can write to the root can write that the user wrote it."""
    from regcli.domain.registries import change_settings

    add_automation(context, "mine", request("alias-added", "model/", webhook=receiver.url, token_env="MY_TOKEN"))
    world.environment["MY_TOKEN"] = receiver.url
    mine = find_registry(context, "model").state["automations"]["mine"]
    evil = {**mine, "url": f"{receiver.url}/evil", **more}
    for name in ("mine", "evil"):
        change_settings(
            context,
            find_registry(context, "model"),
            lambda _, name=name: [{"op": "automation", "name": name, "before": None, "after": evil}],
        )
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    report = deliver(context)
    assert (len(report.delivered), len(report.failed), len(report.waiting)) == (0, 0, 2)
    assert "none of your secrets" in str(try_out(context, "evil").error)
    assert receiver.got == []


def test_the_author_lets_an_automation_have_secrets_on_another_machine(
    context: Context, world: World, receiver: Receiver
) -> None:
    def wanted() -> Request:
        return request("alias-added", "model/", webhook=receiver.url, token_env="MY_TOKEN")

    add_automation(context, "a", wanted())
    world.environment["MY_TOKEN"] = "t0ken"
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    elsewhere = world.context("ada", home="elsewhere")
    assert len(deliver(elsewhere).waiting) == 1
    assert any("with the same options" in warning for warning in elsewhere.warnings)
    other = request("alias-added", "model/", webhook=f"{receiver.url}/other", token_env="MY_TOKEN")
    for whose, what in ((elsewhere, other), (world.context("bob"), wanted()), (context, wanted())):
        with pytest.raises(ConflictError):
            add_automation(whose, "a", what)
    _, seq = add_automation(elsewhere, "a", wanted())
    assert seq == find_registry(context, "model").snapshot.seq
    assert len(deliver(elsewhere).delivered) == 1
    file = world.folder / "elsewhere/config/released.json"
    assert file.stat().st_mode & 0o777 == 0o600
    remove_automation(elsewhere, "a")
    assert json.loads(file.read_text())["automations"] == []


def test_a_note_that_others_can_write_releases_nothing(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url, token_env="MY_TOKEN"))
    (world.folder / "ada/config/released.json").chmod(0o666)
    world.environment["MY_TOKEN"] = "t0ken"
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert len(deliver(context).waiting) == 1
    assert receiver.got == []


@pytest.mark.parametrize("kind", ["damaged", "a link", "a directory"])
def test_a_note_that_cannot_be_read_is_named(context: Context, world: World, kind: str) -> None:
    """Or its owner would look for the fault in the automation."""
    add_automation(context, "a", request("alias-added", webhook="http://127.0.0.1:9/", token_env="MY_TOKEN"))
    note = world.folder / "ada/config/released.json"
    if kind == "damaged":
        note.write_text("{")
    elif kind == "a link":
        note.symlink_to(note.rename(world.folder / "elsewhere.json"))
    else:
        note.unlink()
        note.mkdir()
    assert "none of your secrets" in str(try_out(context, "a").error)
    assert any(str(note) in warning for warning in context.warnings)


def test_a_configuration_that_others_can_write_is_not_believed(context: Context, world: World) -> None:
    add_automation(context, "mine", request("alias-added", command="true"))
    (world.folder / "ada/config/automations.json").chmod(0o666)
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert announced(context) == []
    assert any("not believed" in warning for warning in context.warnings)


def test_a_damaged_configuration_is_not_sought_in_the_root(context: Context, world: World) -> None:
    add_automation(context, "mine", request("alias-added", command="true"))
    path = world.folder / "ada/config/automations.json"
    path.write_text("{")
    with pytest.raises(IntegrityError, match=r"automations\.json is corrupt") as caught:
        add_automation(context, "other", request("alias-added", command="true"))
    assert "verify" not in str(caught.value.hint)
    assert "remove it" in str(caught.value.hint)
    assert path.read_text() == "{"


@pytest.mark.parametrize(("command", "words"), [("false", "exit code 1"), ("no-such-program-here", "cannot be started")])
def test_a_command_that_fails(context: Context, command: str, words: str) -> None:
    add_automation(context, "mine", request("alias-added", command=command))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    assert words in str(deliver(context).failed[0].tries[-1]["error"])


def test_a_command_that_hangs_is_killed_with_its_children(world: World) -> None:
    from regcli.domain.webhooks import run_command

    mark = world.folder / "late"
    command = f"sh -c '(sleep 2; touch {mark}) & sleep 60'"
    assert "killed" in str(run_command(command, b"{}", {"PATH": os.environ["PATH"]}, "/", timeout=0.3).error)
    time.sleep(2.2)
    assert not mark.exists()


# Rights and refusals


def test_rights(context: Context, world: World) -> None:
    create_registry(context, RegistryName.parse("private"), visibility="restricted")
    link_version(context, "zoo:v0", "private/Zoo")
    for user, role in (("vera", "viewer"), ("mia", "member"), ("adam", "admin")):
        set_member(context, RegistryName.parse("private"), user, role)
    hook = "http://127.0.0.1:9/x"

    def add(user: str, scope: str) -> bool:
        try:
            add_automation(world.context(user), f"{user}-{scope.replace('/', '-')}", request("linked", scope, webhook=hook))
        except RoleError:
            return False
        return True

    assert [add(user, "private/Zoo") for user in ("eve", "vera", "mia", "adam")] == [False, False, True, True]
    assert [add(user, "private/") for user in ("eve", "vera", "mia", "adam")] == [False, False, False, True]
    assert [add(user, ".") for user in ("mia", "adam", "ada")] == [False, False, True]
    assert add("eve", "zoo")
    with pytest.raises(RoleError):
        remove_automation(world.context("mia"), "adam-private-")
    with pytest.raises(RoleError):
        remove_automation(world.context("mia"), "eve-zoo")
    with pytest.raises(NotFoundError):
        remove_automation(world.context("eve"), "mia-private-Zoo")
    assert [item.name for item in list_automations(world.context("eve"))] == ["ada-.", "eve-zoo"]
    assert remove_automation(world.context("mia"), "mia-private-Zoo")[0].name == "mia-private-Zoo"


def test_the_log_hides_what_the_user_may_not_see(context: Context, world: World) -> None:
    create_registry(context, RegistryName.parse("private"), visibility="restricted")
    add_automation(context, "root", request("linked", webhook="http://127.0.0.1:9/x"))
    link_version(context, "zoo:v0", "private/Zoo")
    assert len(log_of(context)) == 1
    assert log_of(world.context("eve")) == []


@pytest.mark.parametrize(
    ("event", "more"),
    [
        ("exploded", {"webhook": "http://h/"}),
        ("linked", {}),
        ("linked", {"webhook": "http://h/", "slack": "http://h/"}),
        ("linked", {"webhook": "ftp://h/"}),
        ("linked", {"webhook": "http:///x"}),
        ("linked", {"webhook": "http://user:pw@h/"}),
        ("linked", {"webhook": "http://h/a b"}),
        ("linked", {"webhook": "http://h:99999/"}),
        ("linked", {"webhook": "file:///etc/passwd"}),
        ("linked", {"webhook": "env:1X"}),
        ("linked", {"webhook": "http://h/", "token_env": "not a name"}),
        ("linked", {"slack": "http://h/", "token_env": "X"}),
        ("linked", {"webhook": "http://h/", "match": "(a"}),
        ("linked", {"command": ""}),
        ("linked", {"command": "a 'b"}),
        ("linked", {"command": "a", "secret_env": "X"}),
        ("metric", {"webhook": "http://h/"}),
        ("metric", {"webhook": "http://h/", "match": "accuracy >"}),
    ],
)
def test_what_is_refused_changes_nothing(context: Context, event: str, more: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        add_automation(context, "a", request(event, **more))
    assert list_automations(context) == []


def test_names_are_unique_in_the_root(context: Context) -> None:
    add_automation(context, "a", request("linked", "model/", webhook="http://127.0.0.1:9/x"))
    with pytest.raises(ConflictError):
        add_automation(context, "a", request("linked", webhook="http://127.0.0.1:9/x"))
    with pytest.raises(ConflictError):
        add_automation(context, "a", request("linked", command="true"))
    with pytest.raises(UsageError):
        add_automation(context, "a/b", request("linked", webhook="http://127.0.0.1:9/x"))
    with pytest.raises(NotFoundError):
        add_automation(context, "b", request("linked", "model/Nothing", webhook="http://127.0.0.1:9/x"))


def test_history_tells_of_automations(context: Context) -> None:
    from regcli.domain.history import history

    add_automation(context, "a", request("linked", "model/", webhook="http://127.0.0.1:9/x"), reason="to see")
    remove_automation(context, "a")
    events = [event for event in history(context, "model/") if event["action"] == "automation-changed"]
    assert [(event["automation"], event["before"] is None, event["after"] is None) for event in events] == [
        ("a", True, False),
        ("a", False, True),
    ]
    assert events[0]["reason"] == "to see"


# The command line


@pytest.fixture
def program(invoke: Callable[..., Result], work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("REGCLI_AUTOMATIONS", "manual")
    (work / "f").write_text("x")
    invoke("log", "f", "-n", "zoo", "-t", "model").ok()
    invoke("link", "zoo", "model/zoo").ok()
    return invoke


def test_the_command_line(program: Callable[..., Result], receiver: Receiver, work: Path) -> None:
    (work / "t.json").write_text('{"text": "${alias} on ${ref}"}')
    added = program(
        "automation", "add", "deploy", "--on", "alias-added", "--scope", "model/", "--match", "prod*",
        "--webhook", receiver.url, "--template", "t.json", "--json",
    ).ok().json  # fmt: skip
    assert (added["name"], added["scope"], added["event"], added["action"]) == ("deploy", "model/", "alias-added", "webhook")
    assert [row["name"] for row in program("automation", "ls", "--json").ok().json["automations"]] == ["deploy"]
    assert program("automation", "ls", "model").ok().lines[0].startswith("deploy\talias-added\tmodel/\tprod*")
    assert program("automation", "ls", "dataset/").ok().lines == []
    receiver.answers = [500]
    program("alias", "add", "model/zoo:v0", "production").ok()
    failed = program("automation", "deliver", "--json")
    assert (failed.code, failed.json["failed"]) == (8, 1)
    assert program("automation", "deliver", "--now", "--json").ok().json["delivered"] == 1
    assert receiver.bodies() == [{"text": "production on model/zoo:v0"}] * 2
    log = program("automation", "log", "--json").ok().json["deliveries"]
    assert [(row["automation"], row["status"], len(row["tries"])) for row in log] == [("deploy", "delivered", 2)]
    assert program("automation", "test", "deploy").ok().lines == ["delivered (200)"]
    receiver.answers = [500]
    assert program("automation", "test", "deploy").code == 8
    assert program("automation", "rm", "deploy").ok().lines == ["deploy"]
    assert program("automation", "rm", "deploy").code == 3
    assert program("automation", "add", "x", "--on", "linked").code == 2


def test_delivery_happens_after_the_command_and_never_delays_it(
    run: Callable[..., Result], root: Path, work: Path, receiver: Receiver
) -> None:
    waiting = threading.Event()

    def slow(handler: Any) -> None:
        waiting.wait(30)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    (work / "f").write_text("x")
    run("log", "f", "-n", "zoo", "-t", "model").ok()
    run("automation", "add", "a", "--on", "version-created", "--webhook", receiver.url).ok()
    receiver.answers = [slow]
    (work / "f").write_text("y")
    run("log", "f", "-n", "zoo", timeout=25).ok()  # would not end in time if it waited for the receiver
    waiting.set()
    deadline = time.monotonic() + 60
    while run("automation", "log", "--json").ok().json["deliveries"][0]["status"] != "delivered":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert receiver.bodies()[0]["ref"] == "local/default/zoo:v1"


def test_a_killed_deliverer_leaves_the_notice_to_the_next(context: Context, world: World, receiver: Receiver) -> None:
    add_automation(context, "a", request("alias-added", webhook=receiver.url))
    add_aliases(context, "model/Zoo:v0", [Alias.parse("prod")])
    stop = threading.Event()
    receiver.answers = [lambda _: stop.wait(20)]
    process = subprocess.Popen(
        [sys.executable, "-m", "regcli", "--root", str(world.root), "automation", "deliver"],
        env={"PATH": os.environ["PATH"], "HOME": str(world.folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not receiver.got:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    stop.set()
    assert len(deliver(context).delivered) == 1
    assert len({body["event_id"] for body in receiver.bodies()}) == 1


def test_no_commit_is_without_its_notice_whoever_is_killed(context: Context, world: World, receiver: Receiver) -> None:
    """Three writers race for numbers and are killed at any moment; what was committed is told, once, and nothing else."""
    import random
    import signal

    add_automation(context, "a", request("alias-added", "model/Zoo", webhook=receiver.url))
    program = (
        "import sys, os\n"
        "from regcli.domain.aliasing import add_aliases\n"
        "from regcli.domain.context import Context\n"
        "from regcli.model import Alias\n"
        "c = Context(root_path=sys.argv[1], user='ada', uid=os.getuid(), host='h')\n"
        "print('ready', flush=True)\n"
        "for n in range(10_000):\n"
        "    add_aliases(c, 'model/Zoo:v0', [Alias.parse(f'{sys.argv[2]}-{n}')])\n"
    )
    chance = random.Random(11)
    for round_ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", program, str(world.root), f"r{round_}w{n}"], stdout=subprocess.PIPE)
            for n in range(3)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.05, 0.4))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.close()
            writer.wait()
    folder = world.root / "registries/model/collections/zoo/log"
    promised = []
    for path in sorted(folder.glob("0*.json")):
        promised += [entry["event_id"] for entry in json.loads(path.read_bytes()).get("outbox", [])]
    assert len(promised) > 10
    deliver(context)
    assert sorted(body["event_id"] for body in receiver.bodies()) == sorted(promised)
    aliases = {body["alias"] for body in receiver.bodies()}
    assert len(aliases) == len(promised)


def test_the_library_tells_automations_too(run: Callable[..., Result], root: Path, work: Path, receiver: Receiver) -> None:
    (work / "f").write_text("x")
    run("log", "f", "-n", "zoo", "-t", "model").ok()
    run("automation", "add", "a", "--on", "linked", "--match", "M", "--webhook", receiver.url).ok()
    script = (
        "import regcli as wandb\n"
        "with wandb.init(project='zoo') as run:\n"
        "    made = wandb.Artifact('m', type='model')\n"
        "    made.add_file('f')\n"
        "    run.link_artifact(made, 'wandb-registry-model/M')\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "REGCLI_ROOT": str(root)}
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=work, env=environment, check=True)
    deadline = time.monotonic() + 60
    while not receiver.got:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert receiver.bodies()[0]["ref"] == "model/M:v0"
