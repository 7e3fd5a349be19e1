"""Link and unlink: publish a version into a collection of a registry, or withdraw it. A link is a pointer, never a copy."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.aliasing import alias_operations, clearing_operations, moved_from, sign_aliases
from regcli.domain.collections import LINK, is_live, locate, prepare_collection, require_free, with_fresh_settings
from regcli.domain.resolving import CONTENT, Version, resolve, select, source_of
from regcli.domain.settings import is_personal, root_settings
from regcli.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    ProtectedError,
    RefusedError,
    RegcliError,
    TypeMismatchError,
    TypeNotAcceptedError,
    UsageError,
)
from regcli.model import ArtifactName, CollectionRef, fold, parse_collection, parse_reference, quote
from regcli.store import backrefs
from regcli.store.files import random_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.registries import Registry
    from regcli.model import Alias
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]

# What a membership copies of its source, so that it stands alone should the source's log be damaged.
COPIED = (
    "id", "digest", "algorithm", "manifest", "manifest_sha256", "size", "file_count", "description", "metadata", "metrics",
    "tags", "ttl", "inputs", "run", "created_at", "created_by", "updated_at", "references",
)  # fmt: skip


class Linked:
    """The outcome of a link.

    Attributes:
        version: the membership. created: whether it is new. seq: the commit that the answer rests on.
        added: aliases that it has now and had not before. renewed: those that it had, and that were signed again.
        moved: (alias, reference of the membership it left) for those added ones that another version had.
    """

    __slots__ = ("added", "created", "moved", "renewed", "seq", "version")

    def __init__(self, version: Version, done: Sequence[Operation], seq: int, *, created: bool) -> None:
        """Bundle the outcome of the operations that were `done`."""
        set_ = [op for op in done if op["op"] == "alias"]
        self.version = version
        self.created = created
        self.added = [op["alias"] for op in set_ if op["before"] != op["after"]]
        self.renewed = [op["alias"] for op in set_ if op["before"] == op["after"]]
        self.moved = moved_from(version.collection, done)
        self.seq = seq


def parse_target(context: Context, text: str) -> CollectionRef:
    """Parse the target of a link: `REGISTRY/COLLECTION`, or a project's `ENTITY/PROJECT/NAME`."""
    if ":" in text:
        raise UsageError(
            f"link target {quote(text)} has a version or alias", hint="name the collection only; add aliases with --alias"
        )
    return parse_collection(text, context.project)


def check_link(context: Context, text: str, type_name: str, *, entity: str, aliases: Sequence[Alias]) -> Collection:
    """Check every rule of a link that does not depend on the version; returns the target, which need not exist yet.

    Raises:
        NotFoundError: no such registry. RefusedError: a personal entity's version, a type that is not accepted, a role.
        TypeMismatchError: the collection has another type.
    """
    ref = parse_target(context, text)
    target = locate(context, ref)
    if target.registry is not None:
        settings = target.registry.state
        roles.require(settings, context.user, "link")
        for alias in aliases:
            roles.require_alias_right(settings, context.user, alias)
        if is_personal(context, entity):
            raise RefusedError(
                f"versions of the personal entity {quote(entity)} cannot be linked into a registry",
                hint="log it again under a team's entity, as in --project TEAM/PROJECT",
            )
        if settings["types"] and type_name not in settings["types"]:
            raise TypeNotAcceptedError(
                f"registry {quote(settings['name'])} does not accept artifacts of type {quote(type_name)},"
                f" only {', '.join(settings['types'])}",
                hint=f"an admin can accept it with `regcli registry edit {quote(settings['name'])} --type {type_name}`",
            )
    else:
        ArtifactName.parse(ref.name)
    _check_target(target, type_name)
    return target


def _check_target(target: Collection, type_name: str) -> None:
    if not target.exists:
        return
    if target.state["kind"] != LINK:
        raise ConflictError(f"{quote(target.ref)} holds versions that were logged; nothing can be linked into it")
    if target.state["type"] != type_name:
        raise TypeMismatchError(
            f"collection {quote(target.ref)} holds artifacts of type {quote(target.state['type'])}, not {quote(type_name)}",
            hint="link into another collection",
        )


def _membership(context: Context, snapshot: Snapshot, place: str, source: dict[str, Any]) -> int | None:
    """Return the index under which the artifact is linked in the collection already, or None.

    Raises:
        IntegrityError: it has other content there, which no alias must be set on in the belief that it is the source's.
    """
    artifact_id: str = source["id"]
    for _, where, number in backrefs.read_backrefs(context.root.path, artifact_id, backrefs.LINK, strict=True):
        if where == place:
            record = snapshot.records.get(number)
            if record is not None and is_live(record) and record["id"] == artifact_id:
                if any(record[key] != source[key] for key in CONTENT):
                    raise IntegrityError(
                        f"v{number} there and its source have different content: one was altered", hint="run `regcli verify`"
                    )
                return number
    return None


def link_version(
    context: Context, source_text: str, target_text: str, *, aliases: Sequence[Alias] = (), reason: str | None = None
) -> Linked:
    """Publish a pointer to a version in a collection; no blob is copied.

    Makes the collection when it is missing. Linking a link links its source. Linking the same version again returns the
    membership that is there and applies the aliases. Numbers are never reused. Source: W&B Registry guide, "Link an
    artifact version to a registry".

    Raises:
        NotFoundError: no such version or registry. ProtectedError, RoleError: the user may not, and nothing was linked.
    """
    done: list[Operation] = []
    index = -1
    created = False
    with context.lock("content"), context.lock("settings"):
        # Resolved under the lock that a deletion takes exclusively, so that no link is made to what is being deleted.
        source = source_of(context, resolve(context, source_text, action="use"))
        if not is_live(source.record):
            raise NotFoundError(
                f"the source of {quote(source_text)} was deleted: {source.ref}", hint="bring it back with `regcli undelete`"
            )
        state = source.collection.state
        target = check_link(context, target_text, state["type"], entity=state["entity"], aliases=aliases)
        ref = parse_target(context, target_text)

        def check(snapshot: Snapshot) -> list[Operation]:
            nonlocal done, index, created
            now = target.at(snapshot)
            _check_target(now, state["type"])
            done = []
            existing = _membership(context, snapshot, target.place, source.record) if now.exists else None
            created = existing is None
            index = snapshot.state["next"] if existing is None else existing
            if not now.exists:
                done.extend(require_free(context, now))
                index = max([index, *(op["version"] for op in done)])
                if target.registry is not None:
                    roles.require(target.registry.state, context.user, "create-collection")
                    prepare_collection(target.registry, target.base)
                done.append(creation(context, ref, state["type"], target.registry))
            if created:
                done.append({"op": "link", "version": index, "record": _record(context, source)})
            done.extend(alias_operations(context, now, snapshot, index, aliases))
            sign_aliases(context, now, snapshot, done)
            if created:
                # Last, since whatever is refused must leave nothing behind.
                backrefs.add_backref(context.root.path, source.record["id"], backrefs.LINK, target.place, index)
            return done

        change = context.transact(target.chain, check, reason=reason, settings_seq=target.settings_seq)
        if created and target.registry is not None:
            try:
                _clear_ttl(context, source)
            except RegcliError as error:
                # The link is made. A linked version never expires, whatever its TTL says; `unlink` clears it then.
                context.warnings.append(f"the TTL of {source.ref} was not cleared: {error.message}")
    after = target.at(change.snapshot)
    if target.registry is None and not target.exists:
        _warn_of_registry(context, after)
    made = Version(after, index, change.snapshot.records.get(index) or {})
    if source.seal is not None:
        # The same content: whoever came here by a signed alias and goes on with the link is held to what was signed.
        made.seal = context.trust.seals[target.place, index] = source.seal
    return Linked(made, done, change.seq, created=created)


def _warn_of_registry(context: Context, made: Collection) -> None:
    """Warn of a collection made in the project under a registry's name: `link zoo model` was hardly meant so."""
    from regcli.domain.listing import list_visible_registries

    if any(fold(registry.name) == fold(made.name) for registry in list_visible_registries(context)):
        context.warnings.append(
            f"{quote(made.name)} is a registry too; {quote(made.ref)} was made in the project."
            f" To publish in the registry, write {quote(f'{made.name}/COLLECTION')}"
        )


def creation(
    context: Context, ref: CollectionRef, type_name: str, registry: Registry | None, description: str = ""
) -> Operation:
    """Return the operation that makes a link collection."""
    op: Operation = {
        "op": "create",
        "id": random_hex(16),
        "kind": LINK,
        "name": str(ref.name),
        "type": type_name,
        "description": description,
        "tags": [],
    }
    if registry is not None:
        op["registry"] = registry.state["id"]
    else:
        from regcli.domain.log import shown_project

        op["entity"], op["project"] = shown_project(context, ref)
    return op


def _record(context: Context, source: Version) -> dict[str, Any]:
    state = source.collection.state
    return {
        **{key: source.record[key] for key in COPIED if key in source.record},
        "source": {
            "entity": state["entity"],
            "project": state["project"],
            "name": state["name"],
            "version": source.index,
            "place": source.collection.place,
        },
        "linked_at": context.now(),
        "linked_by": context.user,
    }


def _clear_ttl(context: Context, source: Version) -> None:
    """Switch off the TTL of a version that was linked; unlinking does not bring it back.

    A crash before this leaves a linked version with a TTL, which gc never expires, and `unlink` clears it then.
    """

    def check(snapshot: Snapshot) -> list[Operation]:
        record = snapshot.records.get(source.index)
        if record is None or record["ttl"] is None:
            return []
        if record["ttl"] == "inherit" and snapshot.state["ttl"] is None and root_settings(context).state["ttl"] is None:
            return []
        return [{"op": "edit", "version": source.index, "field": "ttl", "before": record["ttl"], "after": None}]

    context.transact(source.collection.chain, check)


def unlink(context: Context, text: str, *, reason: str | None = None) -> tuple[Version, int]:
    """Withdraw a link; the source and its content stay.

    Returns:
        The membership that was withdrawn, and the commit that did it.

    Raises:
        UsageError: the reference names a source. ProtectedError, RoleError: the user may not.
    """
    ref = parse_reference(text, context.project)
    version = resolve(context, text)
    if not version.is_link:
        raise UsageError(
            f"{quote(version.ref)} is not a linked artifact and cannot be unlinked",
            hint=f"to delete it, use `regcli delete {version.ref}`",
        )
    require_unlink_right(context, version)
    _settle_ttl(context, version)
    with context.lock("settings"):
        collection = with_fresh_settings(context, version.collection)
        withdrawn = version

        def check(snapshot: Snapshot) -> list[Operation]:
            nonlocal withdrawn
            now = collection.at(snapshot)
            index, record = select(now, ref.selector, text)
            withdrawn = Version(now, index, record)
            require_unlink_right(context, withdrawn)
            return sign_aliases(context, now, snapshot, unlink_operations(now, index))

        change = context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
    return Version(collection, withdrawn.index, withdrawn.record), change.seq


def _settle_ttl(context: Context, version: Version) -> None:
    if version.collection.registry is not None:
        source = source_of(context, version)
        if is_live(source.record):
            _clear_ttl(context, source)


def require_unlink_right(context: Context, version: Version) -> None:
    """Refuse withdrawing a link that the user may not withdraw."""
    registry = version.collection.registry
    if registry is None:
        return
    roles.require(registry.state, context.user, "unlink")
    protected = version.protected_aliases()
    if protected and not roles.allows(registry.state, context.user, "delete-protected"):
        raise ProtectedError(
            f"{quote(version.ref)} is protected by alias {quote(protected[0])} and cannot be unlinked",
            hint=f"ask an admin: {roles.name_admins(registry.state)}",
        )


def unlink_operations(collection: Collection, index: int) -> list[Operation]:
    """Return the operations that withdraw a link together with its custom aliases."""
    return [*clearing_operations(collection, index), {"op": "unlink", "version": index}]
