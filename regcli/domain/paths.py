"""Paths as the W&B SDK writes them: `collection`, `project/collection`, `entity/project/collection`, registries by prefix.

On the command line two parts always name a registry's collection. Scripts written for the original also say
`project/collection`; so here a registry of that name comes first, then a project of the current entity.
Source: `semantics.md` M-06, M-09, LK-05, LK-27.
"""

from __future__ import annotations

from regcli.domain.listing import find_project
from regcli.domain.registries import find_registry
from regcli.domain.values import to_text
from regcli.errors import InvalidNameError, InvalidReferenceError, NotFoundError, RenamedError
from regcli.model import REGISTRY_PREFIX, RegistryName, quote, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.domain.context import Context

_LEGACY = "model-registry"


def canonical_path(context: Context, text: str) -> str:
    """Return a collection's path, with or without `:SELECTOR`, in the form that the rest of the domain parses.

    Raises:
        InvalidReferenceError: it has more than three parts. NotFoundError: two parts name neither a registry nor a project.
    """
    head, tail = split_reference(to_text(text, "a path"))
    selector = text[len(head) :] if tail is not None else ""
    parts = head.split("/")
    if len(parts) > 3:
        raise InvalidReferenceError(f"invalid artifact path {quote(text)}", hint="write entity/project/name:alias")
    if len(parts) > 1 and parts[-2] == _LEGACY:
        context.warnings.append(f"the path of {text} is now {REGISTRY_PREFIX}model/{parts[-1]}")
        parts[-2] = f"{REGISTRY_PREFIX}model"
    if len(parts) == 2 and not parts[0].startswith(REGISTRY_PREFIX):
        parts = _two_parts(context, parts)
    return "/".join(parts) + selector


def _two_parts(context: Context, parts: list[str]) -> list[str]:
    try:
        find_registry(context, RegistryName.parse(parts[0]))
    except RenamedError:
        raise
    except (NotFoundError, InvalidNameError) as error:
        entity = context.project.entity
        try:
            find_project(context, entity, parts[0])
        except (NotFoundError, InvalidNameError):
            if isinstance(error, NotFoundError):
                both = f"{error.message}, and no project of that name that holds anything"
                raise NotFoundError(both, hint=error.hint) from None
            raise error from None
        return [entity, *parts]
    return parts
