"""Aliases: set, moved, removed, with protection and compare-and-set."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import Collection, find_collection, require_right, with_fresh_settings
from regcli.domain.resolving import Version, resolve, select
from regcli.errors import ConflictError, NotFoundError, UsageError
from regcli.model import LATEST, Alias, fold, parse_collection, parse_reference, quote, split_reference, version_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]

NONE = "none"


class AliasChange:
    """The outcome of a change of aliases.

    Attributes:
        ref: the version or collection it was about.
        aliases: the version's aliases after it.
        moved: (alias, reference of the membership it left).
        seq: the commit that the answer rests on. changed: whether anything had to change.
    """

    __slots__ = ("aliases", "changed", "moved", "ref", "seq")

    def __init__(self, ref: str, aliases: list[str], moved: list[tuple[str, str]], seq: int, *, changed: bool) -> None:
        """Bundle the outcome."""
        self.ref = ref
        self.aliases = aliases
        self.moved = moved
        self.seq = seq
        self.changed = changed

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "ref": self.ref,
            "aliases": self.aliases,
            "moved": [{"alias": alias, "from": ref} for alias, ref in self.moved],
            "seq": self.seq,
        }


def alias_operations(
    context: Context,
    collection: Collection,
    snapshot: Snapshot,
    index: int,
    aliases: Sequence[Alias],
    expect: str | None = None,
) -> list[Operation]:
    """Return the operations that give version `index` the aliases, after checking every right.

    Raises:
        ConflictError: `expect` names another holder than the alias has.
        RoleError, ProtectedError: the user may not set one of them.
    """
    if collection.registry is not None:
        for alias in aliases:
            roles.require_alias_right(collection.registry.state, context.user, alias)
    ops: list[Operation] = []
    seen: set[str] = set()
    for alias in aliases:
        key = fold(alias)
        held = snapshot.state["aliases"].get(key)
        check_expectation(alias, held[1] if held else None, expect)
        if key in seen:
            continue
        seen.add(key)
        if (
            held is None
            or held[1] != index
            or (is_signed(collection, alias) and needs_renewal(context, collection, snapshot, alias, index))
        ):
            before = held[1] if held else None
            ops.append({"op": "alias", "alias": str(alias), "before": before, "after": index})
    return ops


def check_expectation(alias: str, holder: int | None, expect: str | None) -> None:
    """Compare an alias's holder with `--expect vN|none`.

    Raises:
        ConflictError: somebody changed it meanwhile. UsageError: `expect` is neither.
    """
    if expect is None:
        return
    if fold(expect) == NONE:
        expected = None
    else:
        expected = version_index(expect.lower())
        if expected is None:
            raise UsageError(f"--expect takes vN or 'none', not {quote(expect)}")
    if holder != expected:
        found = f"v{holder}" if holder is not None else "no version"
        wanted = f"v{expected}" if expected is not None else "no version"
        raise ConflictError(f"alias {quote(alias)} is on {found}, not on {wanted} as expected", hint="look again, then decide")


def moved_from(collection: Collection, ops: Sequence[Operation]) -> list[tuple[str, str]]:
    """Return (alias, reference it left) for the operations that moved an alias from another version."""
    return [
        (op["alias"], collection.version_ref(op["before"]))
        for op in ops
        if op["op"] == "alias" and op["before"] is not None and op["after"] is not None and op["before"] != op["after"]
    ]


def clearing_operations(collection: Collection, index: int) -> list[Operation]:
    """Return the operations that take all custom aliases from a version that goes."""
    return [
        {"op": "alias", "alias": alias, "before": index, "after": None}
        for alias in collection.aliases_of(index)
        if alias != LATEST
    ]


def is_signed(collection: Collection, alias: str) -> bool:
    """Tell whether the registry of a collection demands a signature for an alias."""
    return collection.registry is not None and roles.is_signed(collection.registry.state, alias)


def needs_renewal(context: Context, collection: Collection, snapshot: Snapshot, alias: str, index: int) -> bool:
    """Tell whether an alias that is on the right version already needs a new signature."""
    from regcli.domain import signing

    return signing.needs_renewal(context, collection, alias, index, snapshot.records.get(index))


def sign_aliases(context: Context, collection: Collection, snapshot: Snapshot, ops: list[Operation]) -> list[Operation]:
    """Return the operations of one transaction, those on aliases that must be signed with their signature.

    Raises:
        SignatureRefusedError: there is no key of a trusted signer; nothing was written.
    """
    if any(op["op"] == "alias" and is_signed(collection, op["alias"]) for op in ops):
        from regcli.domain.signing import sign_operations

        sign_operations(context, collection, snapshot, ops)
    return ops


def add_aliases(
    context: Context, text: str, aliases: Sequence[Alias], *, expect: str | None = None, reason: str | None = None
) -> AliasChange:
    """Give the version that a reference means custom aliases; one that another version holds moves.

    Raises:
        ConflictError: `expect` lost. ProtectedError, RoleError: the user may not. NotFoundError: no such version.
        SignatureRefusedError: the reference is an alias that is not signed as it must be, or there is no key to sign with.
    """
    ref = parse_reference(text, context.project)
    collection = find_collection(context, ref.collection)
    # Whoever names a version by a signed alias means what was signed, not where somebody put the alias since.
    by_alias = ref.selector.kind == "alias" and fold(ref.selector.text) != LATEST
    meant = resolve(context, text) if by_alias else None
    done: list[Operation] = []
    index = -1
    with context.lock("settings"):
        collection = with_fresh_settings(context, collection)

        def check(snapshot: Snapshot) -> list[Operation]:
            nonlocal index, done
            now = collection.at(snapshot)
            index, record = select(now, ref.selector, text)
            if meant is not None and meant.seal is not None:
                _require_same(context, meant, Version(now, index, record))
            done = sign_aliases(context, now, snapshot, alias_operations(context, now, snapshot, index, aliases, expect))
            return done

        change = context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
    after = collection.at(change.snapshot)
    return AliasChange(
        after.version_ref(index), after.aliases_of(index), moved_from(after, done), change.seq, changed=bool(done)
    )


def _require_same(context: Context, meant: Version, found: Version) -> None:
    """Refuse what a signed alias means by now, where that is not what its signature was checked for."""
    from regcli.domain.sealing import recall_seal

    if found.index != meant.index:
        raise ConflictError(f"the alias moved from {quote(meant.ref)} meanwhile", hint="look again, then decide")
    recall_seal(context, found)


def remove_aliases(
    context: Context, text: str, aliases: Sequence[str], *, expect: str | None = None, reason: str | None = None
) -> AliasChange:
    """Remove aliases from a version, or, when the reference names only a collection, from whichever version holds them.

    Raises:
        NotFoundError: an alias is not there. ProtectedError, RoleError: the user may not.
    """
    names = [Alias.parse(alias) for alias in dict.fromkeys(aliases)]
    head, tail = split_reference(text)
    ref = parse_reference(text, context.project)
    collection = find_collection(context, parse_collection(head, context.project))
    index: int | None = None
    with context.lock("settings"):
        collection = with_fresh_settings(context, collection)

        def check(snapshot: Snapshot) -> list[Operation]:
            nonlocal index
            now = collection.at(snapshot)
            if tail is not None:
                index, _ = select(now, ref.selector, text)
            ops: list[Operation] = []
            for alias in names:
                held = snapshot.state["aliases"].get(fold(alias))
                if collection.registry is not None:
                    roles.require_alias_right(collection.registry.state, context.user, alias)
                check_expectation(alias, held[1] if held else None, expect)
                if held is None or (index is not None and held[1] != index):
                    where = now.version_ref(index) if index is not None else now.ref
                    hint = f"it is on v{held[1]}" if held is not None else f"`regcli alias ls {quote(now.ref)}` lists them"
                    raise NotFoundError(f"{quote(where)} has no alias {quote(alias)}", hint=hint)
                ops.append({"op": "alias", "alias": held[0], "before": held[1], "after": None})
            return sign_aliases(context, now, snapshot, ops)

        change = context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
    after = collection.at(change.snapshot)
    if index is not None:
        return AliasChange(after.version_ref(index), after.aliases_of(index), [], change.seq, changed=True)
    remaining = sorted(shown for shown, _ in after.state["aliases"].values())
    return AliasChange(after.ref, remaining, [], change.seq, changed=True)


def list_aliases(context: Context, text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return (reference, aliases) of a version or, without selector, of a whole collection.

    Each alias is `{alias, ref, version, protected, signed}`, `latest` included.
    """
    head, tail = split_reference(text)
    ref = parse_reference(text, context.project)
    collection = find_collection(context, parse_collection(head, context.project))
    require_right(context, collection, "view")
    pairs = [(shown, holder) for shown, holder in collection.state["aliases"].values()]
    if collection.state["latest"] is not None:
        pairs.append((LATEST, collection.state["latest"]))
    where = collection.ref
    if tail is not None:
        index, record = select(collection, ref.selector, text)
        where = Version(collection, index, record).ref
        pairs = [pair for pair in pairs if pair[1] == index]
    registry = collection.registry
    return where, [
        {
            "alias": alias,
            "ref": collection.version_ref(holder),
            "version": f"v{holder}",
            "protected": registry is not None and roles.is_protected(registry.state, alias),
            "signed": is_signed(collection, alias),
        }
        for alias, holder in sorted(pairs, key=lambda pair: (-pair[1], pair[0] != LATEST, pair[0]))
    ]
