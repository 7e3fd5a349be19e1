"""Signing: the operations that set, move or clear a signed alias get their statement, made by the user's SSH key."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.sealing import check_alias, check_signer
from regcli.domain.statements import CLEAR, DEFAULT_LIFETIME, SET, TYPE, about, encode_statement, parse_signed
from regcli.errors import SignatureRefusedError
from regcli.model import fold, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]


def sign_operations(context: Context, collection: Collection, snapshot: Snapshot, ops: Sequence[Operation]) -> None:
    """Add a signed statement to every operation on an alias that must be signed; others are left alone.

    Args:
        context: who changes what, and with which key.
        collection: with its registry's settings as they are now.
        snapshot: the state that the operations follow.
        ops: all of one transaction; a link that an alias is set on may be among them.

    Raises:
        SignatureRefusedError: there is no key, or it is no trusted signer's; nothing was written.
    """
    registry = collection.registry
    if registry is None:
        return
    for op in ops:
        if op["op"] == "alias" and roles.is_signed(registry.state, op["alias"]):
            op["signature"] = _sign(context, collection, snapshot, ops, op)


def needs_renewal(context: Context, collection: Collection, alias: str, index: int, record: dict[str, Any] | None) -> bool:
    """Tell whether an alias that is on the right version already needs a new signature: its own is missing or not valid."""
    if collection.registry is None or record is None or not roles.is_signed(collection.registry.state, alias):
        return False
    if context.trust.expires is not None:
        return True
    try:
        check_alias(context, collection, alias, index, record)
    except SignatureRefusedError:
        return True
    return False


def _sign(
    context: Context, collection: Collection, snapshot: Snapshot, ops: Sequence[Operation], op: Operation
) -> dict[str, str]:
    from regcli.domain.context import format_time
    from regcli.domain.signers import find_principal
    from regcli.domain.sshkeys import find_key, fingerprint, sign

    registry = collection.registry
    key = find_key(context.trust)
    principal = find_principal(context.trust, key.public)
    if principal is None or registry is None:
        raise SignatureRefusedError(
            f"alias {quote(op['alias'])} must be signed, and the key {fingerprint(key.public)} is none of a trusted signer's",
            hint="list it first with `regcli trust add PRINCIPAL KEY.pub`, as everybody who reads the alias must",
        )
    index = op["after"]
    record = None if index is None else _record_of(snapshot, ops, index)
    files = None if record is None else _files(context, record)
    if record is not None and files is not None:
        _hold_to_earlier(context, snapshot, record, files)
    counter, previous = _next(context, collection, snapshot, op["alias"])
    creation = next((other for other in ops if other["op"] == "create"), snapshot.state)
    now = context.clock()
    lifetime = context.trust.expires or DEFAULT_LIFETIME
    statement = {
        "type": TYPE,
        "root": context.root.id,
        "collection": {"id": creation["id"], "place": collection.place, "name": f"{registry.name}/{creation['name']}"},
        "alias": op["alias"],
        "action": CLEAR if record is None else SET,
        **about(record, index),
        "files": files,
        "counter": counter,
        "previous": previous,
        "settings_seq": registry.snapshot.seq,
        "issued": format_time(now),
        "expires": format_time(now + lifetime),
        "signer": principal,
    }
    text = encode_statement(statement)
    signature = sign(key, text.encode())
    signed = parse_signed({"statement": text, "signature": signature}, f"alias {quote(op['alias'])}")
    return {"statement": signed.text, "signature": signed.signature}


def _record_of(snapshot: Snapshot, ops: Sequence[Operation], index: int) -> dict[str, Any]:
    for op in ops:
        if op["op"] in ("link", "version") and op["version"] == index:
            made: dict[str, Any] = op["record"]
            return made
    record = snapshot.records.get(index)
    if record is None:
        raise SignatureRefusedError(f"there is no version v{index} to sign")
    return record


def _next(context: Context, collection: Collection, snapshot: Snapshot, alias: str) -> tuple[int, str | None]:
    """Return number and predecessor of the next statement: after the log's, and after all that this user has seen."""
    counter, previous = 0, None
    stored = snapshot.state.get("signed", {}).get(fold(alias))
    if stored is not None:
        try:
            last = parse_signed(stored, f"alias {quote(alias)}")
        except SignatureRefusedError:
            # Written by hand; what comes next replaces it.
            pass
        else:
            counter, previous = last.counter, last.sha256
    mark = context.trust.witness(context.root).mark(collection.place, fold(alias))
    if mark is not None and mark["counter"] > counter:
        counter, previous = mark["counter"], mark["sha256"]
    return counter + 1, previous


def _files(context: Context, record: dict[str, Any]) -> dict[str, str]:
    """Hash the stored bytes of a version with BLAKE3 and store the list; returns its address and its own BLAKE3."""
    from regcli.domain.manifests import read_manifest
    from regcli.store.proofs import digest_of, measure

    content = context.root.content
    entries = read_manifest(context, record)
    data = measure(content, content.read(record["manifest"]), entries)
    with content.batch() as batch:
        address = batch.put_bytes(data)
        batch.publish()
    return {"list": address, "blake3": digest_of(data).hex()}


def _hold_to_earlier(context: Context, snapshot: Snapshot, record: dict[str, Any], files: dict[str, str]) -> None:
    """Refuse to sign stored bytes that are not those that were signed for the same manifest: somebody swapped them.

    What was signed is known where the version was named by a signed alias, and where one of the collection is on it.

    Raises:
        SignatureRefusedError: a trusted signer vouched for others.
    """
    known = [seal.statement for seal in context.trust.seals.values()]
    for stored in snapshot.state.get("signed", {}).values():
        try:
            signed = parse_signed(stored, "a signed alias")
            if _vouches_for_others(signed.statement, record, files):
                check_signer(context, signed, "a signed alias")
                known.append(signed.statement)
        except SignatureRefusedError:
            # Anybody may have written it.
            continue
    for statement in known:
        if _vouches_for_others(statement, record, files):
            raise SignatureRefusedError(
                f"the stored content is not what {quote(statement['signer'])} signed as {quote(statement['alias'])}:"
                " BLAKE3 differs, though XXH3-128 does not",
                hint="somebody swapped the stored content on purpose; restore the root from a copy you trust",
            )


def _vouches_for_others(statement: dict[str, Any], record: dict[str, Any], files: dict[str, str]) -> bool:
    said = statement["files"]
    return statement["manifest_sha256"] == record["manifest_sha256"] and said is not None and said["blake3"] != files["blake3"]


def remember(context: Context, ops: Sequence[Operation]) -> None:
    """After the commit: whoever signed has seen the statement, so that going back behind it is noticed at once."""
    witness = context.trust.witness(context.root)
    for op in ops:
        if op["op"] == "alias" and "signature" in op:
            signed = parse_signed(op["signature"], f"alias {quote(op['alias'])}")
            named = signed.statement["collection"]
            mark = {"counter": signed.counter, "sha256": signed.sha256, "action": signed.statement["action"], "proof": None}
            witness.remember(context, named["place"], named["name"], fold(op["alias"]), mark)
