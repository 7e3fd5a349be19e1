"""Names as the library takes them: parsed, and with what the original reserves or ignores."""

from __future__ import annotations

from regcli.domain.values import to_text
from regcli.errors import InvalidNameError
from regcli.model import LATEST, MAX_NAME, Alias, ArtifactName, CollectionName, RegistryName, Tag, TypeName, fold, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# (type, start of the name) that the original keeps for artifacts of its own. Source: `semantics.md` C-07.
_RESERVED = (("run_table", "run-"), ("code", "source-"))


def check_artifact_names(name: str, type_name: str) -> tuple[str, str]:
    """Return name and type of a new artifact.

    Raises:
        InvalidNameError: one breaks the rules, or both together are reserved. NotTextError: one is no string.
    """
    to_text(name, "the artifact's name")
    to_text(type_name, "the artifact's type")
    parsed = ArtifactName.parse(name), TypeName.parse(type_name)
    for reserved, start in _RESERVED:
        if type_name == reserved and name.startswith(start):
            raise InvalidNameError(
                f"artifact name {quote(name)} with type {quote(type_name)} is reserved for internal use",
                hint="choose another name or type",
            )
    return str(parsed[0]), str(parsed[1])


def check_collection_name(name: str, *, in_registry: bool) -> str:
    """Return a collection's new name, by the rules of where it lies.

    Raises:
        InvalidNameError: it breaks them. NotTextError: it is no string.
    """
    to_text(name, "a collection's name")
    return str(CollectionName.parse(name) if in_registry else ArtifactName.parse(name))


def parse_registry(name: str) -> RegistryName:
    """Return a registry's name, given with its prefix or without.

    Raises:
        InvalidNameError: it breaks the rules. NotTextError: it is no string.
    """
    return RegistryName.parse(to_text(name, "a registry's name"))


def parse_tags(tags: Iterable[str] | str | None) -> list[Tag]:
    """Return tags, each once, the first kept, in the order given; one wrong tag rejects all.

    Raises:
        InvalidNameError: a tag breaks the rules.
    """
    if isinstance(tags, str):
        tags = [tags]
    kept: dict[str, Tag] = {}
    for text in tags or ():
        to_text(text, "a tag")
        try:
            tag = Tag.parse(text)
        except InvalidNameError as error:
            if len(text) > MAX_NAME:
                raise
            raise InvalidNameError(
                f"invalid tag {quote(str(text))}: tags must only contain alphanumeric characters separated by hyphens,"
                " underscores, and/or spaces",
                hint=error.hint,
            ) from error
        kept.setdefault(fold(tag), tag)
    return list(kept.values())


def parse_aliases(aliases: Iterable[str] | str | None) -> list[Alias]:
    """Return custom aliases, each once; `latest`, which every new version has anyway, is left out.

    Raises:
        InvalidNameError: an alias breaks the rules.
    """
    if isinstance(aliases, str):
        aliases = [aliases]
    kept: dict[str, Alias] = {}
    for text in aliases or ():
        if fold(to_text(text, "an alias")) != LATEST:
            alias = Alias.parse(text)
            kept.setdefault(fold(alias), alias)
    return list(kept.values())
