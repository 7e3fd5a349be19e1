"""From a reference to one version: the shortest way, since `resolve` runs at every parse of a Makefile."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import LINK, Collection, find_collection, is_live, open_place, require_right
from regcli.errors import ConflictError, IntegrityError, NotFoundError
from regcli.model import LATEST, Selector, VersionRef, fold, parse_reference, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.sealing import Seal

    Record = dict[str, Any]

# What a link and its source have in common for good.
CONTENT = ("digest", "manifest", "manifest_sha256")


class Version:
    """One membership: version `index` of a collection, with its record.

    `record` is the membership's own; tags, metadata, description and TTL of a link are its source's (`shared_record`). `seal`
    is what a signature vouches for, None where nobody does.
    """

    __slots__ = ("collection", "index", "record", "seal")

    def __init__(self, collection: Collection, index: int, record: Record) -> None:
        """Bundle what was resolved."""
        self.collection = collection
        self.index = index
        self.record = record
        self.seal: Seal | None = None

    @property
    def ref(self) -> str:
        """The canonical reference `…:vN`."""
        return self.collection.version_ref(self.index)

    @property
    def version(self) -> str:
        """The version as text, `vN`."""
        return f"v{self.index}"

    @property
    def digest(self) -> str:
        """The manifest digest, 32 hex digits."""
        digest: str = self.record["digest"]
        return digest

    @property
    def is_link(self) -> bool:
        """Whether the version was logged somewhere else and linked here."""
        return "source" in self.record

    @property
    def aliases(self) -> list[str]:
        """Its aliases, `latest` first, without `vN`."""
        return self.collection.aliases_of(self.index)

    def protected_aliases(self) -> list[str]:
        """Those of its aliases that are protected in its registry."""
        registry = self.collection.registry
        if registry is None:
            return []
        return [alias for alias in self.aliases if roles.is_protected(registry.state, alias)]

    def signed_aliases(self) -> list[str]:
        """Those of its aliases that take a signature in its registry."""
        registry = self.collection.registry
        if registry is None:
            return []
        return [alias for alias in self.aliases if roles.is_signed(registry.state, alias)]


def source_of(context: Context, version: Version, opened: dict[str, Collection] | None = None) -> Version:
    """Return the version that was logged: the source of a link, or the version itself.

    `opened` keeps collections by place, for reading many versions in a row; without it everything is read anew.

    Raises:
        IntegrityError: the source's record is gone, or about other content.
    """
    source = version.record.get("source")
    if source is None:
        return version
    collection = opened.get(source["place"]) if opened is not None else None
    if collection is None:
        collection = open_place(context, source["place"])
        if opened is not None:
            opened[source["place"]] = collection
    record = collection.snapshot.records.get(source["version"])
    if record is None or record["id"] != version.record["id"]:
        raise IntegrityError(
            f"the source of {version.ref} is missing: {collection.base} has no such version", hint="run `regcli verify`"
        )
    if any(record[key] != version.record[key] for key in CONTENT):
        # Whoever links or signs by way of a link means the content that the link has.
        raise IntegrityError(
            f"{version.ref} and its source {collection.version_ref(source['version'])} have different content: one was altered",
            hint="run `regcli verify`",
        )
    found = Version(collection, source["version"], record)
    if version.seal is not None:
        # The same content, so that whoever goes on from here is held to the signature too.
        found.seal = context.trust.seals[collection.place, found.index] = version.seal
    return found


def shared_record(context: Context, version: Version, opened: dict[str, Collection] | None = None) -> Record:
    """Return the record that holds what all memberships share; a link's own copy where the source cannot be read."""
    if not version.is_link:
        return version.record
    try:
        return source_of(context, version, opened).record
    except (IntegrityError, KeyError):
        return version.record


def select(collection: Collection, selector: Selector, whole: str, *, deleted: bool = False) -> tuple[int, Record]:
    """Return (index, record) of the version that a selector means in a collection.

    Raises:
        NotFoundError: no version answers. ConflictError: the digest in the reference is another one's.
    """
    index = _select_base(collection, selector, whole, deleted=deleted)
    record = collection.snapshot.records.get(index)
    for _ in range(selector.back):
        index, record = _before(collection, index, whole)
    if record is None or not (is_live(record) or deleted):
        gone = "was unlinked" if collection.state["kind"] == LINK else "was deleted"
        state = gone if record is not None else "does not exist"
        raise NotFoundError(f"version v{index} of {quote(collection.ref)} {state}", hint=_versions_hint(collection))
    if selector.kind != "digest" and selector.digest is not None and not record["digest"].startswith(selector.digest):
        raise ConflictError(
            f"{quote(whole)} does not have that digest: {collection.version_ref(index)} has {record['digest']}",
            hint="the alias has moved since the digest was taken",
        )
    return index, record


def _select_base(collection: Collection, selector: Selector, whole: str, *, deleted: bool) -> int:
    state = collection.state
    if selector.kind == "version":
        return selector.index
    if selector.kind == "digest":
        return _by_digest(collection, selector.text, whole, deleted=deleted)
    if fold(selector.text) == LATEST:
        latest: int | None = state["latest"]
        if latest is None:
            raise NotFoundError(f"collection {quote(collection.ref)} has no versions")
        return latest
    held = state["aliases"].get(fold(selector.text))
    if held is None:
        from regcli.domain.nearest import nearest

        close = nearest(selector.text, [shown for shown, _ in state["aliases"].values()] + [LATEST])
        hint = f"did you mean {quote(close)}?" if close else _aliases_hint(collection)
        raise NotFoundError(f"collection {quote(collection.ref)} has no alias {quote(selector.text)}", hint=hint)
    index: int = held[1]
    return index


def _by_digest(collection: Collection, prefix: str, whole: str, *, deleted: bool) -> int:
    matches: dict[str, int] = {}
    for index, record in collection.versions(deleted=deleted):
        if record["digest"].startswith(prefix):
            matches.setdefault(record["digest"], index)
    if not matches:
        raise NotFoundError(f"no version of {quote(collection.ref)} has a digest that starts with {prefix}")
    if len(matches) > 1:
        raise ConflictError(f"{quote(whole)} is ambiguous: {len(matches)} digests start with {prefix}", hint="give more digits")
    return next(iter(matches.values()))


def _before(collection: Collection, index: int, whole: str) -> tuple[int, Record]:
    for older, record in collection.snapshot.records.descending(index):
        if is_live(record):
            return older, record
    raise NotFoundError(f"{quote(whole)} goes back before the first version of {quote(collection.ref)}")


def _versions_hint(collection: Collection) -> str | None:
    latest = collection.state["latest"]
    return f"the latest is v{latest}" if latest is not None else "the collection has no versions"


def _aliases_hint(collection: Collection) -> str:
    names = sorted(shown for shown, _ in collection.state["aliases"].values())[:8]
    return f"its aliases: {', '.join(['latest', *names])}"


def resolve_ref(context: Context, ref: VersionRef, whole: str, *, action: str = "view", deleted: bool = False) -> Version:
    """Return the version that a parsed reference means; `action` is what the user's role must allow."""
    collection = find_collection(context, ref.collection)
    require_right(context, collection, action)
    selector = ref.selector
    if collection.registry is None or selector.kind != "alias" or fold(selector.text) == LATEST:
        version = Version(collection, *select(collection, selector, whole, deleted=deleted))
        if context.trust.seals:
            from regcli.domain.sealing import recall_seal

            recall_seal(context, version)
        return version
    return _resolve_alias(context, collection, ref, whole, deleted=deleted)


def _resolve_alias(context: Context, collection: Collection, ref: VersionRef, whole: str, *, deleted: bool) -> Version:
    """Follow an alias of a registry, which may have to be signed."""
    selector = ref.selector
    registry = collection.registry
    entry = registry.state["protected"].get(fold(selector.text)) if registry is not None else None
    if not (entry is not None and entry["signed"]) and not context.trust.has_seen(context.root):
        return Version(collection, *select(collection, selector, whole, deleted=deleted))
    from regcli.domain import sealing

    if not sealing.needs_check(context, collection, selector.text):
        return Version(collection, *select(collection, selector, whole, deleted=deleted))
    if fold(selector.text) not in collection.state["aliases"]:
        sealing.check_absence(context, collection, selector.text)
    version = Version(collection, *select(collection, selector, whole, deleted=deleted))
    sealing.hold_to_signature(context, version, selector.text, selector.back)
    return version


def resolve(context: Context, text: str, *, action: str = "view", deleted: bool = False) -> Version:
    """Return the version that a reference means.

    Raises:
        InvalidReferenceError: it cannot be parsed. NotFoundError: nothing answers. RoleError: the user may not.
    """
    return resolve_ref(context, parse_reference(text, context.project), text, action=action, deleted=deleted)
