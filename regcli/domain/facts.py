"""Facts: what is known of a notice when it is sent, of which every payload is made."""

from __future__ import annotations

from regcli.domain.events import METRIC
from regcli.errors import RegcliError, SignatureRefusedError
from regcli.model import fold, quote
from regcli.store.layout import is_collection_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.automations import Automation
    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.outbox import Notice
    from regcli.domain.statements import Signed

    Facts = dict[str, Any]


def facts_of(context: Context, notice: Notice, commit: dict[str, Any], entry: dict[str, Any], automation: Automation) -> Facts:
    """Return everything that a payload may say about a notice."""
    event = entry["event"]
    facts: Facts = {
        "event_id": notice.event_id,
        "automation": automation.name,
        "time": commit.get("time"),
        "user": commit.get("user"),
        "host": commit.get("host"),
        "reason": commit.get("reason"),
        "seq": commit.get("seq"),
        "match": automation.definition["match"] if event["event"] == METRIC else None,
        **{key: event.get(key) for key in ("event", "place", "collection", "version", "alias", "previous", "tag", "protected")},
    }
    facts.update(_thing(context, event))
    return facts


def require_signed(context: Context, event: dict[str, Any], commit: dict[str, Any]) -> None:
    """Refuse to tell of a change of a signed alias that no trusted signer made: whoever hears of it acts on it.

    Raises:
        SignatureRefusedError: the operation of the commit is not signed as it must be, or repeats an earlier one.
    """
    if event["event"] not in ("alias-added", "alias-removed"):
        return
    place: str = event["place"]
    alias: str = event["alias"]
    if not is_collection_place(place):
        raise SignatureRefusedError(f"{quote(place)} is no collection, and has no alias {quote(alias)}")
    from regcli.domain import roles
    from regcli.domain.collections import open_place

    collection = open_place(context, place)
    registry = collection.registry
    if registry is None or not (roles.is_signed(registry.state, alias) or context.trust.has_seen(context.root)):
        return
    from regcli.domain.sealing import check_alias, needs_check

    if not needs_check(context, collection, alias):
        return
    index = int(event["version"][1:]) if event["event"] == "alias-added" else None
    record = None if index is None else collection.snapshot.records.get(index)
    signature = next(
        (
            op.get("signature")
            for op in commit["ops"]
            if op["op"] == "alias" and fold(op["alias"]) == fold(alias) and op["after"] == index
        ),
        None,
    )
    if signature is None or commit.get("place") != place:
        raise SignatureRefusedError(f"alias {quote(alias)} of {quote(collection.ref)} was changed without a signature")
    if fold(str(event.get("collection"))) != fold(collection.name) or (index is not None and event["version"] != f"v{index}"):
        raise SignatureRefusedError(f"the notice names another collection or version than {quote(collection.ref)}:v{index}")
    signed = check_alias(context, collection, alias, index, record, stored=signature)
    _require_new(collection, alias, signed, commit["seq"])


def _require_new(collection: Collection, alias: str, signed: Signed, seq: int) -> None:
    """Refuse a statement that does not follow those of earlier commits: anybody can commit an old one once more.

    Raises:
        SignatureRefusedError: it is older than one of them, or one of them itself.
    """
    from regcli.domain.statements import parse_signed

    for commit, _ in collection.chain.commits(upto=seq - 1):
        for op in commit["ops"]:
            if not isinstance(op, dict) or "signature" not in op or fold(str(op.get("alias"))) != fold(alias):
                continue
            try:
                before = parse_signed(op["signature"], "an earlier change")
            except SignatureRefusedError:
                # Written by hand; those that follow it are not held to it.
                continue
            # A collection that was made anew counts anew.
            is_same = before.statement["collection"]["id"] == signed.statement["collection"]["id"]
            if is_same and before.counter >= signed.counter:
                raise SignatureRefusedError(
                    f"the statement about alias {quote(alias)} of {quote(collection.ref)} is from before commit {seq}"
                )


def _thing(context: Context, event: dict[str, Any]) -> Facts:
    """Return what is known of the version, collection or registry that an event is about."""
    from regcli.domain.collections import open_place
    from regcli.domain.documents import version_document
    from regcli.domain.registries import open_registry_directory
    from regcli.domain.resolving import Version

    place: str = event["place"]
    version = event.get("version")
    nothing: Facts = {"registry": None, "entity": context.root.entity, "project": None}
    try:
        if not is_collection_place(place):
            name = open_registry_directory(context, place.split("/")[1]).name
            return {**nothing, "ref": name, "registry": name}
        collection = open_place(context, place)
        named = {
            "registry": collection.registry.name if collection.registry is not None else None,
            "entity": collection.state["entity"] or context.root.entity,
            "project": collection.state["project"],
        }
        record = collection.snapshot.records.get(int(version[1:])) if version is not None else None
        if record is None or version is None:
            return {**named, "ref": collection.ref if version is None else f"{collection.ref}:{version}"}
        document = version_document(context, Version(collection, int(version[1:]), record), related=False)
        kept = ("ref", "type", "id", "digest", "size", "aliases", "tags", "metadata", "metrics", "description", "source")
        return {**named, **{key: document[key] for key in kept}}
    except RegcliError as error:
        context.warnings.append(error.message)
        return {**nothing, "ref": f"{place}:{version}" if version else place}
