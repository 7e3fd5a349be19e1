"""Collections as such: made empty, described, renamed, removed.

A rename is two commits. The first, in the log of the *new* name's directory, reserves the name (`redirect`), and like every
commit it has one winner, so that a collection made under that name at the same moment and the rename cannot both
succeed, with or without working locks. The second, in the collection's own log, is the rename. A crash between the two
leaves a collection that answers to both names, and the same rename goes on from there. Directories never move, so links
and edges keep pointing to the right place.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import (
    SOURCE,
    Collection,
    chain_of,
    find_collection,
    locate,
    prepare_collection,
    redirected,
    require_free,
    require_right,
)
from regcli.domain.documents import collection_document, format_ttl, links_of
from regcli.errors import (
    ConflictError,
    NotFoundError,
    ProtectedError,
    RefusedError,
    SignatureRefusedError,
    TypeNotAcceptedError,
    UsageError,
)
from regcli.model import ArtifactName, CollectionName, fold, parse_collection, quote, split_reference
from regcli.store.layout import encode_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry
    from regcli.model import Tag, TypeName
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]

NEVER = "none"
KEEP = "keep"


class Changed:
    """The outcome: the collection after it, the commit it rests on, and whether anything had to change."""

    __slots__ = ("changed", "collection", "seq")

    def __init__(self, collection: Collection, seq: int, *, changed: bool) -> None:
        """Bundle the outcome."""
        self.collection = collection
        self.seq = seq
        self.changed = changed


def bare_name(text: str) -> str:
    """Return a collection's reference, provided that nothing selects a version in it."""
    head, tail = split_reference(text)
    if tail is not None:
        raise UsageError(f"{quote(text)} names a version, not a collection", hint=f"write {quote(head)}")
    return head


def create_collection(
    context: Context,
    text: str,
    *,
    type: TypeName | None = None,  # noqa: A002 - the field's own word
    description: str = "",
    tags: Sequence[Tag] = (),
    reason: str | None = None,
) -> Changed:
    """Make an empty collection: one for links in a registry, one for versions to be logged in a project.

    Args:
        context: who asks, and where.
        text: `REGISTRY/COLLECTION`, `NAME` or `ENTITY/PROJECT/NAME`.
        type: the artifact type it has for good; may be None where the registry accepts exactly one.
        description: Markdown.
        tags: labels.
        reason: for the history.

    Raises:
        ConflictError: there is one already. TypeNotAcceptedError, RoleError: the registry does not have it.
    """
    from regcli.domain.linking import creation
    from regcli.domain.log import creation as source_creation
    from regcli.domain.log import shown_project
    from regcli.domain.log_request import merge_tags

    ref = parse_collection(bare_name(text), context.project)
    context.make_root()
    with context.lock("settings"):
        collection = locate(context, ref)
        require_right(context, collection, "create-collection")
        type_name = _type_for(collection.registry, type)
        prepare_collection(collection.registry, collection.base)

        def check(snapshot: Snapshot) -> list[Operation]:
            now = collection.at(snapshot)
            if now.exists:
                raise ConflictError(f"collection {quote(now.ref)} exists already", hint="choose another name")
            before = require_free(context, now)
            if collection.registry is not None:
                op = creation(context, ref, type_name, collection.registry)
            else:
                op = source_creation(ref, shown_project(context, ref), type_name)
            return [*before, {**op, "description": description, "tags": merge_tags((), tags)}]

        change = context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
    after = collection.at(change.snapshot)
    return Changed(after, change.seq, changed=True)


def _type_for(registry: Registry | None, wanted: TypeName | None) -> str:
    accepted: list[str] = registry.state["types"] if registry is not None else []
    if wanted is None:
        if len(accepted) == 1:
            return accepted[0]
        raise UsageError("the type of a new collection is missing", hint="say it with --type, as in `--type model`")
    if registry is not None and accepted and wanted not in accepted:
        raise TypeNotAcceptedError(
            f"registry {quote(registry.name)} does not accept artifacts of type {quote(wanted)}, only {', '.join(accepted)}",
            hint=f"an admin can accept it with `regcli registry edit {quote(registry.name)} --type {wanted}`",
        )
    return str(wanted)


def edit_collection_settings(
    context: Context,
    text: str,
    *,
    description: str | None = None,
    rename: str | None = None,
    type: TypeName | None = None,  # noqa: A002 - the field's own word
    ttl: int | str | None = KEEP,
    tags: Sequence[Tag] | None = None,
    reason: str | None = None,
) -> Changed:
    """Change description, name, type, default TTL or tags of a collection, together or not at all.

    Args:
        context: who asks, and where.
        text: the collection.
        description: the new Markdown text, or None to keep it.
        rename: the new name, without the part before it; links, versions and aliases stay, the old name says the new one.
        type: another artifact type, for a collection of a project none of whose versions is linked.
        ttl: default TTL of its versions: seconds, None for never, `inherit` for the root's, or `keep`.
        tags: exactly these, in this order, or None to keep them.
        reason: for the history.

    Raises:
        RoleError, ProtectedError: the user may not. ConflictError: the new name is taken.
        RefusedError: the type of a collection of links, or of versions that are linked.
    """
    with context.lock("settings"):
        collection = find_collection(context, parse_collection(bare_name(text), context.project))
        require_right(context, collection, "edit-collection")
        new = _new_name(collection, rename)
        if type is not None:
            _check_retype(context, collection, type)
        if new is not None:
            _require_renamable(context, collection, new)
            _reserve(context, collection, new)

        def check(snapshot: Snapshot) -> list[Operation]:
            now = collection.at(snapshot)
            if not now.exists:
                raise NotFoundError(f"collection {quote(collection.ref)} was deleted")
            if new is not None:
                _require_renamable(context, now, new)
            return _edits(snapshot.state, new, {"description": description, "type": type}, ttl, tags)

        change = context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
    after = collection.at(change.snapshot)
    return Changed(after, change.seq, changed=change.commit is not None)


def _edits(
    state: dict[str, Any], new: str | None, fields: dict[str, str | None], ttl: int | str | None, tags: Sequence[Tag] | None
) -> list[Operation]:
    ops: list[Operation] = []
    if new is not None and state["name"] != new:
        ops.append({"op": "rename", "version": None, "before": state["name"], "after": new})
    after: dict[str, Any] = {field: str(value) for field, value in fields.items() if value is not None}
    if ttl != KEEP:
        after["ttl"] = NEVER if ttl is None else None if ttl == "inherit" else ttl
    ops.extend(
        {"op": "edit", "version": None, "field": field, "before": state[field], "after": value}
        for field, value in after.items()
        if state[field] != value
    )
    words = None if tags is None else [str(tag) for tag in tags]
    if words is not None and state["tags"] != words:
        ops.append({"op": "tags", "version": None, "before": state["tags"], "after": words})
    return ops


def _new_name(collection: Collection, text: str | None) -> str | None:
    """Return the parsed new name; a full reference is taken when it stays in the same registry or project."""
    if text is None:
        return None
    prefix = collection.ref[: len(collection.ref) - len(collection.name)]
    if fold(text).startswith(fold(prefix)):
        text = text[len(prefix) :]
    if "/" in text:
        raise UsageError(
            f"{quote(text)} is in another place: a collection can be renamed, not moved", hint="give the bare new name"
        )
    return CollectionName.parse(text) if collection.registry is not None else ArtifactName.parse(text)


def _reserve(context: Context, collection: Collection, new: str) -> None:
    """Commit to the new name's directory that the name is this collection's, unless it is already.

    Raises:
        ConflictError: the name is another collection's, or an old name of one.
    """
    owner, _, own = collection.base.rpartition("/")
    directory = encode_name(new)
    if directory == own:
        # Back to the first name, or only another case: the directory is the collection's own.
        return
    if collection.registry is not None and collection.registry.state["shared"] is not None:
        require_right(context, collection, "create-collection")
    chain = chain_of(context, f"{owner}/{directory}", collection.registry)
    prepare_collection(collection.registry, chain.base)

    def check(snapshot: Snapshot) -> list[Operation]:
        there = Collection(chain, snapshot, collection.registry)
        moved = redirected(context, there)
        if moved is not None and moved.base == collection.base:
            return []
        holder = there if there.exists else moved
        if holder is not None:
            words = "exists already" if fold(holder.name) == fold(new) else f"was renamed to {quote(holder.name)}"
            raise ConflictError(f"collection {quote(new)} {words}", hint="choose another name")
        return [{"op": "redirect", "to": own, "id": collection.state["id"], "name": new}]

    context.transact(chain, check)


def protected_versions(collection: Collection) -> list[tuple[str, str]]:
    """Return (reference, alias) of the protected aliases that versions of a registry's collection hold."""
    if collection.registry is None:
        return []
    return [
        (collection.version_ref(holder), shown)
        for shown, holder in sorted(collection.state["aliases"].values())
        if roles.is_protected(collection.registry.state, shown)
    ]


def signed_versions(collection: Collection) -> list[tuple[str, str]]:
    """Return those of the protected aliases that take a signature."""
    registry = collection.registry
    found = protected_versions(collection)
    return [(ref, alias) for ref, alias in found if registry is not None and roles.is_signed(registry.state, alias)]


def require_unsigned(collections: Iterable[Collection], refusal: str, *, dropped: Container[str] | None = None) -> None:
    """Refuse what would take a signed alias away, or the name that it was signed under, without asking for a key.

    Args:
        collections: all that this is about.
        refusal: what cannot be done, for the message.
        dropped: keys of aliases that are to need no signature any more; None for all that need one. What was demanded of
            them but never signed is nobody's to lose.

    Raises:
        SignatureRefusedError: a version in one of them holds a signed alias; clearing that first is signed.
    """
    for collection in collections:
        for ref, alias in signed_versions(collection):
            if dropped is None or (fold(alias) in dropped and fold(alias) in collection.state.get("signed", {})):
                raise SignatureRefusedError(
                    f"{refusal}: {quote(ref)} holds the signed alias {quote(alias)}",
                    hint=f"clear it first, with a signer's key: `regcli alias rm {quote(collection.ref)} {quote(alias)}`",
                )


def require_unprotected(context: Context, collection: Collection, what: str) -> None:
    """Refuse what would touch a protected alias in a collection, unless the user is admin there."""
    held = protected_versions(collection)
    registry = collection.registry
    if held and registry is not None and not roles.allows(registry.state, context.user, "delete-protected"):
        raise ProtectedError(
            f"collection {quote(collection.ref)} cannot be {what}: {quote(held[0][0])} is protected by"
            f" alias {quote(held[0][1])}",
            hint=f"ask an admin: {roles.name_admins(registry.state)}",
        )


def _require_renamable(context: Context, collection: Collection, new: str) -> None:
    require_unprotected(context, collection, "renamed")
    if fold(new) != fold(collection.name):
        require_unsigned([collection], f"collection {quote(collection.ref)} cannot be renamed")


def _check_retype(context: Context, collection: Collection, type_name: TypeName) -> None:
    if collection.state["type"] == type_name:
        return
    if collection.state["kind"] != SOURCE:
        raise RefusedError(
            f"collection {quote(collection.ref)} has type {quote(collection.state['type'])} for good",
            hint="link into another collection, which then takes the other type",
        )
    for _, record in collection.versions():
        link = next(links_of(context, record["id"], strict=True), None)
        if link is not None:
            raise RefusedError(
                f"the type of {quote(collection.ref)} cannot change: a version of it is linked in collections of that type",
                hint="log under another name, or unlink its versions first",
            )


def collection_details(context: Context, text: str) -> dict[str, Any]:
    """Return what `collection show` prints.

    Raises:
        NotFoundError: there is no such collection. RoleError: the user may not look.
    """
    collection = find_collection(context, parse_collection(bare_name(text), context.project))
    return show_collection(context, collection)


def show_collection(context: Context, collection: Collection) -> dict[str, Any]:
    """Return a collection's fields as JSON has them, with its size and its default TTL."""
    require_right(context, collection, "view")
    state = collection.state
    return {
        **collection_document(collection),
        "registry": collection.registry.name if collection.registry is not None else None,
        "protected_aliases": sorted({alias for _, alias in protected_versions(collection)}),
        "signed_aliases": sorted({alias for _, alias in signed_versions(collection)}),
        "ttl": "inherit" if state["ttl"] is None else format_ttl(state["ttl"]),
        "size": sum(record["size"] for _, record in collection.versions()),
        "former_names": [name for name in dict.fromkeys(state["former"]) if name != fold(collection.name)],
    }


def list_all_collections(context: Context, text: str | None) -> list[dict[str, Any]]:
    """Return the collections of a registry or project, or of all that the user may see.

    Raises:
        NotFoundError: there is no such place. RoleError: the user may not look.
    """
    from regcli.domain import listing

    if text is not None:
        # A bare name is a registry here: a collection has no collections.
        return listing.collection_rows(context, listing.find_container(context, text))
    places: list[Registry | listing.Project] = [*listing.list_visible_registries(context), *listing.list_projects(context)]
    return [row for place in places for row in listing.collection_rows(context, place)]
