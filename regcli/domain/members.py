"""Members of a registry and their roles. Who somebody is, is the operating system's user name."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.registries import change_settings, find_registry
from regcli.errors import InvalidNameError, NotFoundError, RefusedError, UsageError
from regcli.model import is_unprintable, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.model import RegistryName
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]

MAX_USER = 256


def check_user(user: str) -> str:
    """Return a user's name if it may be one.

    Raises:
        InvalidNameError: it is empty, too long, or has white space or what could steer a terminal.
    """
    if not user or len(user) > MAX_USER:
        raise InvalidNameError(f"a user's name has 1 to {MAX_USER} characters")
    if any(is_unprintable(character) or character.isspace() for character in user):
        raise InvalidNameError(f"user name {quote(user)} has white space or control characters")
    return user


def is_known_user(user: str) -> bool:
    """Tell whether this system knows a user of that name; another one that shares the root may."""
    try:
        import pwd

        pwd.getpwnam(user)
    except (ImportError, KeyError):
        return False
    return True


def require_an_admin(registry: str, members: dict[str, str]) -> None:
    """Refuse what would leave a registry without an admin, which nobody could repair.

    Raises:
        RefusedError: there would be none.
    """
    if roles.ADMIN not in members.values():
        raise RefusedError(
            f"registry {quote(registry)} would have no admin left", hint="make somebody else admin first: --role admin"
        )


def set_member(context: Context, name: RegistryName, user: str, role: str, *, reason: str | None = None) -> Change:
    """Give a user a role in a registry, or another one.

    Raises:
        RoleError: whoever asks is no admin. RefusedError: it would lower the last admin.
        UsageError: there is no such role. InvalidNameError: it is no name of a user.
    """
    check_user(user)
    if role not in roles.ROLES:
        raise UsageError(f"role {quote(role)} is unknown", hint=f"use one of {', '.join(roles.ROLES)}")
    registry = find_registry(context, name)

    def check(snapshot: Snapshot) -> list[Operation]:
        roles.require(snapshot.state, context.user, "members")
        before = snapshot.state["members"].get(user)
        if before == role:
            return []
        require_an_admin(snapshot.state["name"], {**snapshot.state["members"], user: role})
        return [{"op": "member", "member": user, "before": before, "after": role}]

    return change_settings(context, registry, check, reason=reason)


def remove_member(context: Context, name: RegistryName, user: str, *, reason: str | None = None) -> Change:
    """Take a user's role away; what the registry's visibility gives everybody stays.

    Raises:
        RoleError: whoever asks is no admin. NotFoundError: the user has no role. RefusedError: it is the last admin.
    """
    registry = find_registry(context, name)

    def check(snapshot: Snapshot) -> list[Operation]:
        roles.require(snapshot.state, context.user, "members")
        members = snapshot.state["members"]
        before = members.get(user)
        if before is None:
            raise NotFoundError(
                f"user {quote(user)} has no role in registry {quote(snapshot.state['name'])}",
                hint=f"members: {', '.join(sorted(members))}",
            )
        require_an_admin(snapshot.state["name"], {key: value for key, value in members.items() if key != user})
        return [{"op": "member", "member": user, "before": before, "after": None}]

    return change_settings(context, registry, check, reason=reason)


def list_members(context: Context, name: RegistryName) -> tuple[str, list[dict[str, Any]], str | None]:
    """Return the registry's name, its members as `{user, role}`, and the role of everybody else (None: no access)."""
    registry = find_registry(context, name)
    roles.require(registry.state, context.user, "view")
    members = [{"user": user, "role": role} for user, role in sorted(registry.state["members"].items())]
    everybody = roles.MEMBER if registry.state["visibility"] == "organization" else None
    return registry.name, members, everybody
