"""Automations and searches in a shared root, with real user ids: everybody's changes are told."""

from __future__ import annotations

import http.client
import os
import shutil
import tempfile
import urllib.request  # noqa: TID253 - see NEEDED
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain import sharing
from regcli.domain.aliasing import add_aliases
from regcli.domain.automations import Request, add_automation, list_automations
from regcli.domain.collection_settings import create_collection
from regcli.domain.context import Context
from regcli.domain.delivery import deliver, log_of
from regcli.domain.linking import link_version
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.members import set_member
from regcli.domain.outbox import pending
from regcli.domain.registries import create_registry
from regcli.domain.search import Query, search
from regcli.domain.verification import verify_root
from regcli.errors import RegcliError
from regcli.model import Alias, RegistryName, TypeName
from regcli.store.ingest import Source
from tests.domain.world import is_root, run_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not is_root(), reason="NOT TESTED: automations with several user ids, which takes root")

ADMIN, MEMBER, OTHER = 64201, 64202, 64203
GROUP = 64210
# Imported before the user changes, who may not be able to read this interpreter's own files.
NEEDED = (http.client, urllib.request, "".encode("idna"))
DEAD = "http://127.0.0.1:9/x"


@pytest.fixture
def root() -> Iterator[str]:
    path = Path(tempfile.mkdtemp(prefix="regcli-shared-"))
    path.chmod(0o755)
    os.chown(path, ADMIN, GROUP)
    place = str(path / "root")

    def make(context: Context) -> None:
        sharing.require_shared_root(context, str(GROUP))
        create_registry(context, RegistryName.parse("team"), group=str(GROUP))
        set_member(context, RegistryName.parse("team"), sharing.user_of(ADMIN), "admin")
        create_collection(context, "team/zoo", type=TypeName.parse("model"))

    do(place, ADMIN, make)
    yield place
    shutil.rmtree(path)


def do(root: str, uid: int, work: Callable[[Context], Any]) -> Any:
    """Do something as a user with a private umask; only JSON comes back."""
    context = Context(root_path=root, user=sharing.user_of(uid), uid=uid, host="lab", command="test", wait=5)
    return run_as(uid, GROUP, lambda: work(context), umask=0o077)


def publish(context: Context) -> str:
    folder = tempfile.mkdtemp()
    Path(folder, "f").write_text("content")
    request = LogRequest("work", TypeName.parse("model"))
    request.sources = [Source(f"{folder}/f")]
    source = log_version(context, request)
    shutil.rmtree(folder)
    return link_version(context, source.ref, "team/zoo").version.ref


def hook(name: str, scope: str) -> Callable[[Context], str]:
    def work(context: Context) -> str:
        request = Request("alias-added", scope)
        request.webhook = DEAD
        try:
            return add_automation(context, name, request)[0].name
        except RegcliError as error:
            return error.kind

    return work


def alias(name: str) -> Callable[[Context], int]:
    return lambda context: add_aliases(context, "team/zoo:v0", [Alias.parse(name)]).seq


def test_everybodys_changes_are_noted_and_tried(root: str) -> None:
    assert do(root, MEMBER, publish) == "team/zoo:v0"
    assert do(root, ADMIN, hook("team", "team/")) == "team"
    assert do(root, MEMBER, hook("own", "team/zoo")) == "own"
    assert do(root, OTHER, hook("whole", "team/")) == "role"
    assert do(root, MEMBER, hook("root", ".")) == "role"
    assert do(root, MEMBER, hook("source", "work")) == "role"
    for uid, name in ((MEMBER, "a"), (OTHER, "b"), (ADMIN, "c")):
        do(root, uid, alias(name))
    assert do(root, OTHER, lambda context: len(pending(context))) == 6
    # Only what one could take off the list afterwards is sent; whoever owns the directory can take everything.
    assert do(root, OTHER, lambda context: len(deliver(context).failed)) == 2
    assert do(root, ADMIN, lambda context: len(deliver(context, now=True).failed)) == 6
    tries = do(root, MEMBER, lambda context: sorted(len(notice.tries) for notice in log_of(context)))
    assert tries == [1, 1, 1, 1, 2, 2]
    assert do(root, ADMIN, lambda context: [problem.message for problem in verify_root(context).problems]) == []


def test_what_is_done_can_be_read_by_all(root: str) -> None:
    do(root, MEMBER, publish)
    do(root, ADMIN, hook("team", "team/"))
    do(root, MEMBER, alias("a"))

    def cancel(context: Context) -> int:
        from regcli.domain.automations import remove_automation

        remove_automation(context, "team")
        return len(deliver(context).cancelled)

    assert do(root, ADMIN, cancel) == 1
    assert do(root, OTHER, lambda context: [notice.status for notice in log_of(context)]) == ["cancelled"]
    assert do(root, OTHER, lambda context: [item.name for item in list_automations(context)]) == []


def test_everybody_searches_with_a_catalog_of_their_own(root: str) -> None:
    do(root, MEMBER, publish)
    do(root, MEMBER, alias("a"))

    def find(context: Context) -> list[str]:
        return [result.ref for result in search(context, Query(None, alias="a"))]

    for uid in (MEMBER, OTHER, ADMIN):
        assert do(root, uid, find) == ["team/zoo:v0"]
    assert sorted(os.listdir(f"{root}/cache")) == [f"catalog-{uid}" for uid in (ADMIN, MEMBER, OTHER)]
    # What somebody else puts there is not believed.
    forged = f"{root}/cache/catalog-{OTHER}"
    for name in os.listdir(forged):
        os.chown(f"{forged}/{name}", MEMBER, GROUP)
    do(root, ADMIN, alias("b"))
    assert do(root, OTHER, find) == ["team/zoo:v0"]
