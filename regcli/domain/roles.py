"""Who may do what in a registry: one table.

Source: the role table of the W&B Registry docs; where that contradicts itself, accepted types, visibility and members are
the admin's. An explicit role decides; without one, a registry with visibility `organization` lets everybody in as member.
"""

from __future__ import annotations

from regcli.errors import ProtectedError, RoleError
from regcli.model import fold, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, Any]

RESTRICTED_VIEWER = "restricted_viewer"
VIEWER = "viewer"
MEMBER = "member"
ADMIN = "admin"
ROLES = (RESTRICTED_VIEWER, VIEWER, MEMBER, ADMIN)
_RANK = {role: rank for rank, role in enumerate(ROLES)}

# action -> (least role, what it is called in a refusal)
ACTIONS: dict[str, tuple[str, str]] = {
    "view": (RESTRICTED_VIEWER, "look into"),
    "download": (VIEWER, "download from"),
    "use": (VIEWER, "use versions of"),
    "create-collection": (MEMBER, "create collections in"),
    "edit-collection": (MEMBER, "edit collections of"),
    "delete-collection": (MEMBER, "delete collections of"),
    "edit-version": (MEMBER, "edit versions in"),
    "alias": (MEMBER, "set aliases in"),
    "link": (MEMBER, "link versions into"),
    "unlink": (MEMBER, "unlink versions from"),
    "edit-registry": (MEMBER, "edit the description of"),
    "rename-registry": (MEMBER, "rename"),
    "collection-automation": (MEMBER, "change automations of collections in"),
    "registry-automation": (ADMIN, "change automations of"),
    "set-protected": (ADMIN, "add, move or remove protected aliases in"),
    "protect": (ADMIN, "change the protected aliases of"),
    "types": (ADMIN, "change the accepted types of"),
    "visibility": (ADMIN, "change the visibility of"),
    "ttl": (ADMIN, "change the default TTL of"),
    "members": (ADMIN, "change the members of"),
    "delete-protected": (ADMIN, "delete what a protected alias protects in"),
    "delete-registry": (ADMIN, "delete"),
}


def effective_role(registry: State, user: str) -> str | None:
    """Return the user's role in a registry, or None for no access."""
    explicit: str | None = registry["members"].get(user)
    if explicit is not None:
        return explicit
    return MEMBER if registry["visibility"] == "organization" else None


def least_role(registry: State, action: str) -> str:
    """Return the least role that an action takes.

    In a shared registry only admins make collections and rename: whoever makes a directory can do anything in it.
    """
    if action in ("create-collection", "rename-registry") and registry["shared"] is not None:
        return ADMIN
    return ACTIONS[action][0]


def allows(registry: State, user: str, action: str) -> bool:
    """Tell whether the user may do `action` in the registry."""
    role = effective_role(registry, user)
    return role is not None and _RANK[role] >= _RANK[least_role(registry, action)]


def require(registry: State, user: str, action: str) -> None:
    """Refuse what the user's role does not allow.

    Raises:
        RoleError: naming the role that the user has and the one it takes.
    """
    if allows(registry, user, action):
        return
    least, words = least_role(registry, action), ACTIONS[action][1]
    role = effective_role(registry, user)
    have = f"is {role}" if role is not None else "has no access"
    raise RoleError(
        f"user {quote(user)} {have} and may not {words} registry {quote(registry['name'])}: that takes {least}",
        hint=f"ask an admin of the registry: {name_admins(registry)}",
    )


def name_admins(registry: State) -> str:
    """Return the names of the registry's admins, for a hint."""
    return ", ".join(sorted(user for user, role in registry["members"].items() if role == ADMIN)) or "nobody is one"


def is_protected(registry: State, alias: str) -> bool:
    """Tell whether an alias is on the registry's protected list."""
    return fold(alias) in registry["protected"]


def is_signed(registry: State, alias: str) -> bool:
    """Tell whether an alias is on the registry's list of those that must be signed."""
    entry = registry["protected"].get(fold(alias))
    return entry is not None and bool(entry["signed"])


def require_alias_right(registry: State, user: str, alias: str) -> None:
    """Refuse setting, moving or removing an alias that the user may not touch.

    Raises:
        RoleError: the user may set no aliases here.
        ProtectedError: the alias is protected and the user is no admin.
    """
    require(registry, user, "alias")
    if is_protected(registry, alias) and not allows(registry, user, "set-protected"):
        raise ProtectedError(
            f"alias {quote(alias)} is protected in registry {quote(registry['name'])}",
            hint=f"ask an admin ({name_admins(registry)}), or choose another alias",
        )
