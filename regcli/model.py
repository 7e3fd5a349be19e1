"""Names with rules, references and selectors: the words that all floors share.

Nothing here imports more than built-in modules, because resolving a name is on the fast path. Rules: README, "Names".
"""

from __future__ import annotations

from regcli.errors import InvalidNameError, InvalidReferenceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

REGISTRY_PREFIX = "wandb-registry-"
DIGEST_MARK = "@xxh128:"
LATEST = "latest"
MAX_NAME = 128
MAX_REGISTRY_NAME = MAX_NAME - len(REGISTRY_PREFIX)
MIN_DIGEST_PREFIX = 12
DIGEST_HEX = 32

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_MAX_KEY_PARTS = 256
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdef")
_REGISTRY_FORBIDDEN = frozenset("/\\#?%:")
_ALIAS_FORBIDDEN = frozenset("/:@~")


def is_unprintable(character: str) -> bool:
    """Tell whether a character could steer a terminal, hide text or break a line.

    Controls (C0, C1), line and paragraph separators, bidirectional overrides, zero-width spaces, lone surrogates.
    """
    code = ord(character)
    return (
        code < 0x20
        or 0x7F <= code <= 0x9F
        or code in (0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF)
        or 0x202A <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or 0xD800 <= code <= 0xDFFF
        or 0xFFF9 <= code <= 0xFFFB
        or 0xE0000 <= code <= 0xE007F
    )


def fold(name: str) -> str:
    """Return the key under which a name is unique: without regard to case or Unicode normalization."""
    if name.isascii():
        return name.lower()
    import unicodedata

    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def quote(text: str) -> str:
    """Quote a name for a message; what could steer a terminal is escaped."""
    shown = "".join(repr(c)[1:-1] if is_unprintable(c) else c for c in text)
    return f"'{shown}'"


def quote_some(names: Sequence[str]) -> str:
    """Quote the first three of some names for a message, and say how many more there are."""
    shown = ", ".join([quote(name) for name in names[:3]])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def has_endless_key(text: str) -> bool:
    """Tell whether a TOML text has a dotted key of hundreds of parts, which the parser would spend minutes on."""
    for line in text.split("\n"):
        if line.count(".") <= _MAX_KEY_PARTS:
            continue
        parts = 0
        for character in line:
            if character == ".":
                parts += 1
                if parts > _MAX_KEY_PARTS:
                    return True
            elif not (character.isalnum() or character in "_-\"' \t"):
                parts = 0
    return False


def version_index(text: str) -> int | None:
    """Return N for `vN` (ASCII digits, no leading zero), else None."""
    digits = text[1:]
    if len(text) < 2 or text[0] != "v" or not _DIGITS.issuperset(digits) or len(digits) > 18:
        return None
    if len(digits) > 1 and digits[0] == "0":
        return None
    return int(digits)


def _check_length(kind: str, text: str, limit: int) -> None:
    if not text:
        raise InvalidNameError(f"{kind} is empty", hint=f"use 1 to {limit} characters")
    if len(text) > limit:
        raise InvalidNameError(f"{kind} {quote(text[:24] + '…')} is longer than {limit} characters")


def _check_plain(kind: str, text: str) -> None:
    """Check a name of artifacts, types, entities and projects: ASCII letters, digits, `_ - .`."""
    _check_length(kind, text, MAX_NAME)
    if not _NAME_CHARACTERS.issuperset(text):
        wrong = next(c for c in text if c not in _NAME_CHARACTERS)
        hint = "use ASCII letters, digits, '_', '-' and '.'"
        if wrong == "~":
            # As one goes back from `HEAD` in git; here `~` belongs to a selector.
            hint = f"the versions before one are written {quote(text.replace('~', ':latest~', 1))}"
        raise InvalidNameError(f"{kind} {quote(text)} has a character that is not allowed: {quote(wrong)}", hint=hint)
    if text in (".", ".."):
        raise InvalidNameError(f"{kind} may not be {quote(text)}")


def _check_free(kind: str, text: str, limit: int) -> None:
    r"""Check a name of registries and their collections: any printable text without `/ \ # ? % :`."""
    _check_length(kind, text, limit)
    for character in text:
        if character in _REGISTRY_FORBIDDEN or is_unprintable(character):
            raise InvalidNameError(
                f"{kind} {quote(text)} has a character that is not allowed: {quote(character)}",
                hint="none of / \\ # ? % : and no control characters",
            )
    if text in (".", "..") or not text.strip():
        raise InvalidNameError(f"{kind} may not be {quote(text)}")


class ArtifactName(str):
    """The name of a source collection: ASCII letters, digits, `_ - .`, 1 to 128 characters."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidNameError."""
        _check_plain("artifact name", text)
        return cls(text)


class RunName(ArtifactName):
    """The name of a run: like an artifact name."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidNameError."""
        _check_plain("run name", text)
        return cls(text)


class TypeName(str):
    """An artifact type: like an artifact name; `job` and `wandb-…` are reserved."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the type, or raise InvalidNameError."""
        _check_plain("artifact type", text)
        if text == "job" or text.startswith("wandb-"):
            raise InvalidNameError(f"artifact type {quote(text)} is reserved for internal use")
        return cls(text)


class EntityName(str):
    """The name of an entity (a team or a person): like an artifact name."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidNameError."""
        _check_plain("entity name", text)
        return cls(text)


class ProjectName(str):
    """The name of a project: like an artifact name; `wandb-registry-…` is a registry's."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidNameError."""
        _check_plain("project name", text)
        if text.startswith(REGISTRY_PREFIX):
            raise InvalidNameError(f"project name {quote(text)} starts with '{REGISTRY_PREFIX}', which names a registry")
        return cls(text)


class RegistryName(str):
    r"""The name of a registry: 1 to 113 printable characters, spaces allowed, none of `/ \ # ? % :`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name without the `wandb-registry-` prefix, or raise InvalidNameError."""
        text = text.removeprefix(REGISTRY_PREFIX)
        _check_free("registry name", text, MAX_REGISTRY_NAME)
        return cls(text)


class CollectionName(str):
    """The name of a registry's collection: like a registry name, up to 128 characters."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidNameError."""
        _check_free("collection name", text, MAX_NAME)
        return cls(text)


class Alias(str):
    """A custom alias: 1 to 128 characters without `/ : @ ~`, white space or a leading `-`; never `vN` or `latest`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the alias, or raise InvalidNameError."""
        _check_length("alias", text, MAX_NAME)
        for character in text:
            if character in _ALIAS_FORBIDDEN or character.isspace() or is_unprintable(character):
                raise InvalidNameError(
                    f"alias {quote(text)} has a character that is not allowed: {quote(character)}",
                    hint="no / : @ ~, no white space, no control characters",
                )
        if text.startswith("-"):
            raise InvalidNameError(f"alias {quote(text)} starts with '-'")
        if version_index(text) is not None:
            raise InvalidNameError(f"alias {quote(text)} is a version number, which regcli assigns itself")
        if fold(text) == LATEST:
            raise InvalidNameError("alias 'latest' is kept by regcli: it is always the highest version")
        if text[0] in "vV" and _DIGITS.issuperset(text[1:]) and len(text) > 1:
            raise InvalidNameError(f"alias {quote(text)} looks like a version number")
        return cls(text)


class Tag(str):
    """A tag: word characters and `-`, words separated by spaces, 1 to 128 characters."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the tag, or raise InvalidNameError. Source: the tag rules of the W&B SDK (TG-01 to TG-05)."""
        _check_length("tag", text, MAX_NAME)
        valid = all(c.isalnum() or c in "_-" or c == " " for c in text)
        if not valid or text[0] == " " or text[-1] == " ":
            raise InvalidNameError(
                f"tag {quote(text)} is not allowed",
                hint="use letters, digits, '_' and '-', with single words separated by spaces",
            )
        return cls(text)


class Selector:
    """What follows the name in a reference: which version of the collection is meant.

    Attributes:
        kind: `alias` (also `latest`), `version` or `digest`.
        text: the alias, or the digest's hex digits (a prefix of at least 12).
        index: N for `vN`, else -1.
        back: how many versions before it (`~K`).
        digest: hex digits that the version's digest must start with, or None.
        is_default: nothing was written, so `latest` is meant.
    """

    __slots__ = ("back", "digest", "index", "is_default", "kind", "text")

    def __init__(
        self, kind: str, text: str, *, index: int = -1, back: int = 0, digest: str | None = None, is_default: bool = False
    ) -> None:
        self.kind = kind
        self.text = text
        self.index = index
        self.back = back
        self.digest = digest
        self.is_default = is_default

    def __str__(self) -> str:
        """Return the selector as it is written after the colon."""
        back = f"~{self.back}" if self.back else ""
        digest = f"{DIGEST_MARK}{self.digest}" if self.digest else ""
        if self.kind == "digest":
            return f"{DIGEST_MARK}{self.text}{back}"
        return f"{self.text}{back}{digest}"


def _parse_hex(text: str, whole: str) -> str:
    lowered = text.lower()
    if not _HEX.issuperset(lowered) or not MIN_DIGEST_PREFIX <= len(lowered) <= DIGEST_HEX:
        raise InvalidReferenceError(
            f"reference {quote(whole)} has a malformed digest {quote(text)}",
            hint=f"give {MIN_DIGEST_PREFIX} to {DIGEST_HEX} hexadecimal digits after '{DIGEST_MARK}'",
        )
    return lowered


def parse_selector(text: str, whole: str) -> Selector:
    """Parse what follows the first colon of a reference (`whole` is for messages)."""
    if text.startswith(DIGEST_MARK):
        hexadecimal, back = _split_back(text[len(DIGEST_MARK) :], whole)
        return Selector("digest", _parse_hex(hexadecimal, whole), back=back)
    digest = None
    mark = text.find(DIGEST_MARK)
    if mark >= 0:
        digest = _parse_hex(text[mark + len(DIGEST_MARK) :], whole)
        text = text[:mark]
    text, back = _split_back(text, whole)
    if not text:
        raise InvalidReferenceError(
            f"reference {quote(whole)} has nothing after the colon", hint="name an alias or a version, as in NAME:v0"
        )
    if text == LATEST:
        return Selector("alias", LATEST, back=back, digest=digest)
    # A number is found whatever its case, as every name is; `V1` can be nobody's alias.
    index = version_index(text.lower())
    if index is not None:
        return Selector("version", f"v{index}", index=index, back=back, digest=digest)
    bad = next((c for c in text if c in _ALIAS_FORBIDDEN or c.isspace() or is_unprintable(c)), None)
    if bad is not None or text.startswith("-") or len(text) > MAX_NAME:
        raise InvalidReferenceError(f"reference {quote(whole)} has a malformed alias {quote(text[:MAX_NAME])}")
    return Selector("alias", text, back=back, digest=digest)


def _split_back(text: str, whole: str) -> tuple[str, int]:
    head, tilde, count = text.partition("~")
    if not tilde:
        return text, 0
    if count == "":
        return head, 1
    if not _DIGITS.issuperset(count) or len(count) > 9:
        raise InvalidReferenceError(f"reference {quote(whole)} has a malformed '~': write ~K with a number")
    return head, int(count)


class CollectionRef:
    """The place of a collection: `REGISTRY/COLLECTION`, or `ENTITY/PROJECT/NAME`.

    Attributes:
        registry: the registry's name, or None for a collection of a project.
        entity, project: set for a collection of a project, else None.
        name: the collection's name.
    """

    __slots__ = ("entity", "name", "project", "registry")

    def __init__(
        self, name: str, *, registry: str | None = None, entity: str | None = None, project: str | None = None
    ) -> None:
        self.registry = registry
        self.entity = entity
        self.project = project
        self.name = name

    @property
    def is_registry(self) -> bool:
        """Whether the collection lives in a registry."""
        return self.registry is not None

    def __str__(self) -> str:
        """Return the canonical reference of the collection."""
        if self.registry is not None:
            return f"{self.registry}/{self.name}"
        return f"{self.entity}/{self.project}/{self.name}"


class VersionRef:
    """A collection's place and the selector of a version in it."""

    __slots__ = ("collection", "selector")

    def __init__(self, collection: CollectionRef, selector: Selector) -> None:
        self.collection = collection
        self.selector = selector

    def __str__(self) -> str:
        """Return the reference as text."""
        return f"{self.collection}:{self.selector}"


class ProjectRef:
    """The current project, as `ENTITY/PROJECT`."""

    __slots__ = ("entity", "project")

    def __init__(self, entity: str, project: str) -> None:
        self.entity = entity
        self.project = project

    def __str__(self) -> str:
        """Return `ENTITY/PROJECT`."""
        return f"{self.entity}/{self.project}"


def parse_project(text: str, default_entity: str) -> ProjectRef:
    """Parse `[ENTITY/]PROJECT`."""
    parts = text.split("/")
    if len(parts) == 1:
        return ProjectRef(EntityName.parse(default_entity), ProjectName.parse(parts[0]))
    if len(parts) == 2:
        return ProjectRef(EntityName.parse(parts[0]), ProjectName.parse(parts[1]))
    raise InvalidReferenceError(f"project {quote(text)} has too many parts", hint="write [ENTITY/]PROJECT")


def parse_collection(text: str, current: ProjectRef) -> CollectionRef:
    """Parse a collection's reference without selector; the number of segments decides what it names."""
    parts = text.split("/")
    if len(parts) in (2, 3) and not parts[-1] and all(parts[:-1]):
        what = "a registry" if len(parts) == 2 else "a project"
        raise InvalidReferenceError(
            f"{quote(text)} names {what}, not a collection", hint=f"`regcli ls {quote(text)}` lists its collections"
        )
    if ":" in parts[-1]:
        name, _ = split_reference(text)
        raise InvalidReferenceError(f"{quote(text)} names a version, not a collection", hint=f"use {quote(name)}")
    if len(parts) == 1:
        return CollectionRef(ArtifactName.parse(parts[0]), entity=current.entity, project=current.project)
    if len(parts) == 2:
        return CollectionRef(CollectionName.parse(parts[1]), registry=RegistryName.parse(parts[0]))
    if len(parts) == 3 and parts[1].startswith(REGISTRY_PREFIX):
        # The organization in front of a W&B full name has no counterpart here: a root is the organization.
        return CollectionRef(CollectionName.parse(parts[2]), registry=RegistryName.parse(parts[1]))
    if len(parts) == 3:
        return CollectionRef(
            ArtifactName.parse(parts[2]), entity=EntityName.parse(parts[0]), project=ProjectName.parse(parts[1])
        )
    raise InvalidReferenceError(
        f"reference {quote(text)} has too many parts",
        hint="write NAME, REGISTRY/COLLECTION or ENTITY/PROJECT/NAME",
    )


def split_reference(text: str) -> tuple[str, str | None]:
    """Split a reference into the collection's part and the selector's (None where nothing selects)."""
    head, colon, tail = text.partition(":")
    if not colon:
        return text, None
    if head.endswith("@xxh128"):
        # NAME@xxh128:HEX, a digest without an alias
        return head[: -len("@xxh128")], "@xxh128:" + tail
    return head, tail


def parse_reference(text: str, current: ProjectRef) -> VersionRef:
    """Parse a reference to a version; without a selector `latest` is meant."""
    head, tail = split_reference(text)
    collection = parse_collection(head, current)
    if tail is None:
        return VersionRef(collection, Selector("alias", LATEST, is_default=True))
    return VersionRef(collection, parse_selector(tail, text))
