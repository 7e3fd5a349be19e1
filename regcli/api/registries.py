"""Registries as the library shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from regcli.api import session
from regcli.api.errors import documented, translated
from regcli.domain.names import parse_registry
from regcli.domain.registries import Registry as StoredRegistry
from regcli.domain.registries import find_registry, protected_names
from regcli.domain.values import to_optional_text
from regcli.errors import ConflictError, NotFoundError, UsageError
from regcli.model import RegistryName, TypeName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from regcli.api.queries import Collections, Versions
    from regcli.domain.context import Context

    Filter = Mapping[str, Any] | None


class UserMember(NamedTuple):
    """A user with a role in a registry: `restricted_viewer`, `viewer`, `member` or `admin`."""

    user: str
    role: str


class Registry:
    """A shared space for published versions.

    Description, name, visibility and accepted types can be assigned; `save()` stores all changes together.

    Source: `semantics.md` RY-01 to RY-17.
    """

    def __init__(self, registry: StoredRegistry) -> None:
        """Show a registry as it was read."""
        self._session = session.session()
        self._read(registry)

    def _read(self, registry: StoredRegistry) -> None:
        self._registry = registry
        self._name: str = registry.name
        self._description: str = registry.state["description"]
        self._visibility: str = registry.state["visibility"]
        self._types: list[str] = list(registry.state["types"])
        self._allow_all = not self._types

    def _context(self, command: str) -> Context:
        return self._session.context_for(f"Registry.{command}")

    @property
    def id(self) -> str:
        """Its id; a rename keeps it."""
        return str(self._registry.state["id"])

    @property
    def name(self) -> str:
        """The name, without prefix; assign and `save()` to rename."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = str(translated(parse_registry)(name))

    @property
    def full_name(self) -> str:
        """`wandb-registry-NAME`."""
        return f"wandb-registry-{self._name}"

    @property
    def entity(self) -> str:
        """The root's own entity, which plays the organization's part."""
        return str(self._context("entity").root.entity)

    organization = entity

    @property
    def path(self) -> list[str]:
        """Entity and full name."""
        return [self.entity, self.full_name]

    @property
    def description(self) -> str:
        """Markdown."""
        return self._description

    @description.setter
    def description(self, description: str | None) -> None:
        self._description = translated(to_optional_text)(description, "the description") or ""

    @property
    def visibility(self) -> str:
        """`organization` (everybody is at least member) or `restricted` (members only)."""
        return self._visibility

    @visibility.setter
    def visibility(self, visibility: str) -> None:
        check_visibility(visibility)
        self._visibility = visibility

    @property
    def allow_all_artifact_types(self) -> bool:
        """Whether every type is accepted; set it to False before adding types."""
        return self._allow_all

    @allow_all_artifact_types.setter
    def allow_all_artifact_types(self, allowed: bool) -> None:
        if allowed and self._registry.state["types"]:
            raise ValueError("a registry that accepts only some types cannot accept all again: types are only ever added")
        self._allow_all = allowed

    @property
    def artifact_types(self) -> list[str]:
        """The accepted types; add to the list, then `save()`. Saved types cannot be removed."""
        return self._types

    @artifact_types.setter
    def artifact_types(self, types: Iterable[str]) -> None:
        self._types = list(types)

    @property
    def created_at(self) -> str:
        """When it was made, RFC 3339 in UTC."""
        return str(self._registry.state["created_at"])

    @property
    def updated_at(self) -> str:
        """When its settings changed last, RFC 3339 in UTC."""
        return str(self._registry.state["updated_at"])

    @property
    def protected_aliases(self) -> list[str]:
        """The names of its protected aliases, sorted; `regcli protect` changes them."""
        return protected_names(self._registry.state)

    @translated
    def save(self) -> None:
        """Store what was assigned.

        Raises:
            ValueError: a type that was saved is missing, types were added while all are accepted, or the new name is taken.
            CommError: the user may not, or the visibility would be widened.
        """
        from regcli.domain.registry_settings import edit_registry

        state = self._registry.state
        types = self._new_types(state["types"])
        context = self._context("save")
        changed = self._visibility != state["visibility"]
        try:
            edit_registry(
                context,
                RegistryName(state["name"]),
                description=self._description if self._description != state["description"] else None,
                types=types,
                visibility=self._visibility if changed else None,
                rename=RegistryName.parse(self._name) if self._name != state["name"] else None,
            )
        except ConflictError as error:
            raise documented(error, ValueError) from error
        session.settle(context)
        self._read(find_registry(context, self._name))

    def _new_types(self, saved: list[str]) -> list[TypeName]:
        missing = [kind for kind in saved if kind not in self._types]
        if missing:
            raise UsageError(f"Cannot remove artifact type {missing[0]!r} that was saved to the registry")
        added = [kind for kind in self._types if kind not in saved]
        if added and not saved and self._allow_all:
            raise UsageError("Cannot add artifact types while all are accepted; set allow_all_artifact_types = False first")
        return [TypeName.parse(kind) for kind in added]

    @translated
    def delete(self) -> None:
        """Delete it with its collections and links; what was linked stays where it was logged.

        Raises:
            ValueError: it is gone already. CommError: the user is no admin of it.
        """
        from regcli.domain.registry_settings import remove_registry

        context = self._context("delete")
        try:
            remove_registry(context, RegistryName(self._registry.name))
        except NotFoundError as error:
            raise documented(error, ValueError) from error
        session.settle(context)

    @translated
    def load(self) -> Registry:
        """Read it again; what was assigned and not saved is lost."""
        self._read(find_registry(self._context("load"), self._registry.name))
        return self

    def collections(
        self,
        filter: Filter = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Collections:
        """Return its collections; see `Registries.collections`."""
        from regcli.api.queries import Collections

        return Collections(self._only(), filter, order, per_page=per_page, start=start)

    def versions(
        self,
        filter: Filter = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Versions:
        """Return the versions in all its collections; see `Registries.versions`."""
        from regcli.api.queries import Versions

        return Versions(self.collections(), filter, order, per_page=per_page, start=start)

    def _only(self) -> Callable[[], Iterable[StoredRegistry]]:
        return lambda: [find_registry(self._context("query"), self._registry.name)]

    # Members

    @translated
    def user_members(self) -> list[UserMember]:
        """Return the users with a role of their own, by name."""
        from regcli.domain.members import list_members

        _, members, _ = list_members(self._context("members"), RegistryName(self._registry.name))
        return [UserMember(member["user"], member["role"]) for member in members]

    def team_members(self) -> list[Any]:
        """Return an empty list: members are users of the operating system, never teams."""
        return []

    def members(self) -> list[UserMember]:
        """Return all members."""
        return self.user_members()

    @translated
    def add_members(self, *members: str | UserMember, role: str = "restricted_viewer") -> Registry:
        """Give users a role; those that have one keep it.

        Args:
            members: names of users.
            role: which; as in the original the lowest by default.

        Raises:
            TypeError: no user is named. CommError: whoever asks is no admin.
        """
        from regcli.domain.members import set_member

        if not members:
            raise TypeError("Must provide at least one member to add")
        known = {member.user for member in self.user_members()}
        for user in map(_user, members):
            if user not in known:
                set_member(self._context("add_members"), RegistryName(self._registry.name), user, role)
        return self

    @translated
    def remove_members(self, *members: str | UserMember) -> Registry:
        """Take users' roles away.

        Raises:
            TypeError: no user is named. CommError: one has no role, is the last admin, or whoever asks is no admin.
        """
        from regcli.domain.members import remove_member

        if not members:
            raise TypeError("Must provide at least one member to remove")
        for user in map(_user, members):
            remove_member(self._context("remove_members"), RegistryName(self._registry.name), user)
        return self

    @translated
    def update_member(self, member: str | UserMember, role: str) -> Registry:
        """Give a user another role.

        Raises:
            ValueError: there is no such role. CommError: it would lower the last admin, or whoever asks is no admin.
        """
        from regcli.domain.members import set_member

        set_member(self._context("update_member"), RegistryName(self._registry.name), _user(member), role)
        return self

    def __eq__(self, other: object) -> bool:
        """Equal when it is the same registry."""
        return isinstance(other, Registry) and self._registry.base == other._registry.base

    def __hash__(self) -> int:
        """Consistent with `==`."""
        return hash(self._registry.base)

    def __repr__(self) -> str:
        """Show the name."""
        return f"<Registry {self._registry.name}>"


def _user(member: str | UserMember) -> str:
    return member.user if isinstance(member, UserMember) else member


def check_visibility(visibility: str) -> None:
    """Refuse a visibility that there is not; a ValueError."""
    if visibility not in ("organization", "restricted"):
        raise ValueError(f"Invalid visibility: {visibility!r}. Must be 'organization' or 'restricted'")
