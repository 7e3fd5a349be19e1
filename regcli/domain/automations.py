"""Automations: when something happens in a place, a webhook, Slack or a command of the user's own is told.

A definition lies in the settings of its registry, or of the root; who may change it: the root's owner for `.`, an admin
for a registry, a member for a collection of one (RO-03), anybody for projects, which have no roles. A command is
different: it lies in the user's own configuration and is run for the user's own changes only, so that no registry can ever
name a program to run. Secrets are named, never stored.
"""

from __future__ import annotations

from regcli.domain import released, roles
from regcli.domain.collections import Collection, open_place
from regcli.domain.events import EVENTS, METRIC
from regcli.domain.own_automations import change_own, own_path, read_own
from regcli.domain.registries import (
    Registry,
    change_settings,
    directory_at,
    find_registry,
    list_registries,
    open_registry_directory,
    visible,
)
from regcli.domain.settings import root_chain, root_settings
from regcli.errors import ConflictError, NotFoundError, RegcliError, RoleError, UsageError
from regcli.model import is_unprintable, quote
from regcli.store import files
from regcli.store.layout import is_collection_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Definition = dict[str, Any]

ROOT = "."
REGISTRY = "registry"
WEBHOOK = "webhook"
SLACK = "slack"
COMMAND = "command"
MAX_URL = 2000
_REGULAR = frozenset("^$|()+{}\\")


class Automation:
    """A definition and where it was found.

    Attributes:
        name: unique in the root. definition: what is stored: `id, event, scope, match, action, url, template, token_env,
            secret_env, command, created_at, created_by`.
        registry: the registry whose settings hold it, or None (the root's settings, or the user's own).
        is_own: whether it lies in the user's own configuration.
    """

    __slots__ = ("definition", "is_own", "name", "registry")

    def __init__(self, name: str, definition: Definition, registry: Registry | None = None, *, is_own: bool = False) -> None:
        """Bundle what was found."""
        self.name = name
        self.definition = definition
        self.registry = registry
        self.is_own = is_own

    @property
    def store(self) -> str:
        """Where it is kept, as an outbox entry remembers it: the place of the registry, `.` for the root, or `user`."""
        if self.is_own:
            return "user"
        return self.registry.place if self.registry is not None else ROOT

    def covers(self, place: str, *, shared: bool) -> bool:
        """Tell whether an event at a place of the root is in its scope.

        An event that reaches a version through its link (`shared`) is told to the link's registry; whoever watches the whole
        root or a project has heard of it where it happened.
        """
        scope: str = self.definition["scope"]
        if scope == ROOT:
            return not shared
        if scope == REGISTRY:
            return self.registry is not None and (place + "/").startswith(f"{self.store}/")
        return place == scope or place.startswith(f"{scope}/")

    def document(self, context: Context) -> dict[str, Any]:
        """Return the automation as JSON shows it."""
        kept = self.definition
        return {
            "name": self.name,
            "event": kept["event"],
            "scope": _shown_scope(context, self),
            "match": kept["match"],
            "action": kept["action"],
            "url": kept.get("url"),
            "command": kept.get("command"),
            "template": kept.get("template"),
            "token_env": kept.get("token_env"),
            "secret_env": kept.get("secret_env"),
            "created_at": kept["created_at"],
            "created_by": kept["created_by"],
        }


def _shown_scope(context: Context, automation: Automation) -> str:
    scope: str = automation.definition["scope"]
    if scope == REGISTRY and automation.registry is not None:
        return f"{automation.registry.name}/"
    parts = scope.split("/")
    directory = directory_at(scope)
    try:
        if directory is not None:
            return f"{open_registry_directory(context, directory).name}/"
        if is_collection_place(scope):
            return open_place(context, scope).ref
    except (RegcliError, TypeError):
        return scope
    return f"{parts[1]}/{parts[2]}/" if len(parts) == 3 else scope


def name_test(pattern: str) -> Callable[[str], bool]:
    """Return the test that `--match` means for names, without regard to case.

    A glob (`prod*`, `v?`), or a regular expression where the pattern holds a character that only those have: a caret, dollar
    sign, bar, bracket, plus, brace or backslash, or `.*`.

    Raises:
        PatternError: a malformed expression.
    """
    from regcli.domain.patterns import Pattern

    if not _REGULAR.isdisjoint(pattern) or ".*" in pattern:
        return Pattern(pattern if pattern.startswith("(?") else f"(?i){pattern}").found_in
    import re

    pieces = ["(?is)^"]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        end = pattern.find("]", at + 2) if character == "[" else -1
        if end > 0:
            inner = pattern[at + 1 : end]
            pieces.append("[" + ("^" + inner[1:] if inner[0] == "!" else inner) + "]")
            at = end
        else:
            pieces.append({"*": ".*", "?": "."}.get(character) or re.escape(character))
        at += 1
    return Pattern("".join(pieces) + "$").found_in


def sound(kept: dict[str, Any]) -> Iterator[tuple[str, Definition]]:
    """Yield the stored automations that can be used; one that was written by hand must not stop everybody's changes."""
    for name, definition in kept.items():
        texts = [definition.get(key) for key in ("id", "event", "scope", "action")] if isinstance(definition, dict) else [None]
        if all(isinstance(text, str) for text in texts) and isinstance(definition.get("match"), (str, type(None))):
            yield name, {"created_at": "", "created_by": "", "match": None, **definition}


class Request:
    """What `automation add` was told.

    Attributes:
        event: one of EVENTS. scope: a registry, project or collection, or `.`. match: a pattern, or None.
        webhook, slack, command: exactly one is given. template: text of the payload, or None.
        token_env, secret_env: names of variables, or None.
    """

    __slots__ = ("command", "event", "match", "scope", "secret_env", "slack", "template", "token_env", "webhook")

    def __init__(self, event: str, scope: str) -> None:
        """Start with what is always needed."""
        self.event = event
        self.scope = scope
        self.match: str | None = None
        self.webhook: str | None = None
        self.slack: str | None = None
        self.command: str | None = None
        self.template: str | None = None
        self.token_env: str | None = None
        self.secret_env: str | None = None


def add_automation(context: Context, name: str, request: Request, *, reason: str | None = None) -> tuple[Automation, int]:
    """Store an automation, and let it have the user's secrets where it names any.

    One of the user's that reads the same, but was added with another configuration directory, is only let have them here.

    Returns:
        The automation, and the commit of the settings that holds it (0 for one in the user's own configuration).

    Raises:
        ConflictError: there is one of that name. RoleError: the user may not. UsageError: something about it is wrong.
        NotFoundError: the place does not exist.
    """
    _check_name(name)
    definition = _definition(context, request)
    context.make_root()
    registry, scope = _parse_scope(context, request.scope)
    definition["scope"] = scope
    taken = next((item for item in list_automations(context) if item.name == name), None)
    if taken is not None:
        return _release_again(context, taken, Automation(name, definition, registry))
    if request.command is not None:
        if scope == REGISTRY and registry is not None:
            definition["scope"] = registry.place
        return _add_own(context, name, definition), 0
    automation = Automation(name, definition, registry)
    _require_right(context, automation)
    make_outbox(context)
    seq = _change(context, automation, None, definition, reason)
    if released.needs_secrets(automation):
        released.release(context, automation)
    return automation, seq


def _release_again(context: Context, taken: Automation, wanted: Automation) -> tuple[Automation, int]:
    """Let an automation that is there have the secrets of its author, who adds it once more from somewhere else."""
    fresh = ("id", "created_at")
    same = [{key: value for key, value in item.definition.items() if key not in fresh} for item in (taken, wanted)]
    if (
        same[0] != same[1]
        or taken.store != wanted.store
        or not released.needs_secrets(taken)
        or released.is_released(context, taken)
    ):
        raise _taken(taken.name)
    released.release(context, taken)
    return taken, taken.registry.snapshot.seq if taken.registry is not None else root_settings(context).seq


def remove_automation(context: Context, name: str, *, reason: str | None = None) -> tuple[Automation, int]:
    """Remove an automation; what it still had to deliver is given up.

    Raises:
        NotFoundError: there is none of that name that the user may see. RoleError: the user may not.
    """
    automation = find_automation(context, name)
    if automation.is_own:
        change_own(context, lambda kept: kept.pop(name, None))
        return automation, 0
    _require_right(context, automation, removing=True)
    seq = _change(context, automation, automation.definition, None, reason)
    released.withdraw(context, automation)
    return automation, seq


def find_automation(context: Context, name: str) -> Automation:
    """Find an automation by name.

    Raises:
        NotFoundError: with the nearest name.
    """
    known = list_automations(context)
    for automation in known:
        if automation.name == name:
            return automation
    from regcli.domain.nearest import nearest

    close = nearest(name, [automation.name for automation in known])
    hint = f"did you mean {quote(close)}?" if close else "`regcli automation ls` lists them"
    raise NotFoundError(f"there is no automation {quote(name)}", hint=hint)


def list_automations(context: Context, scope: str | None = None) -> list[Automation]:
    """Return the automations that the user may see, sorted by name; only those of a place when one is given."""
    found = [Automation(name, kept) for name, kept in sound(root_settings(context).state["automations"])]
    for registry in list_registries(context):
        if visible(context, registry):
            found.extend(Automation(name, kept, registry) for name, kept in sound(registry.state["automations"]))
    found.extend(own_automations(context))
    if scope is not None:
        registry_of, wanted = _parse_scope(context, scope)
        store = registry_of.place if registry_of is not None else None
        places = {wanted, store} if wanted == REGISTRY else {wanted}
        found = [
            item
            for item in found
            if item.definition["scope"] in places and (wanted != REGISTRY or item.store == store or item.is_own)
        ]
    return sorted(found, key=lambda item: item.name)


def _taken(name: str) -> ConflictError:
    return ConflictError(f"there is an automation {quote(name)} already", hint="choose another name, or remove that one first")


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > 128 or name.startswith("-") or any(is_unprintable(c) or c == "/" for c in name):
        raise UsageError(
            f"automation name {quote(name[:128])} is not allowed", hint="use 1 to 128 characters, no '/', no leading '-'"
        )


def _definition(context: Context, request: Request) -> Definition:
    if request.event not in EVENTS:
        raise UsageError(f"event {quote(request.event)} is unknown", hint=f"use one of {', '.join(EVENTS)}")
    actions = {WEBHOOK: request.webhook, SLACK: request.slack, COMMAND: request.command}
    chosen = [action for action, value in actions.items() if value is not None]
    if len(chosen) != 1:
        raise UsageError("an automation has exactly one action", hint="give one of --webhook URL, --slack URL, --command CMD")
    if request.event == METRIC:
        from regcli.domain.where import parse_where

        if request.match is None:
            raise UsageError("the event 'metric' needs a condition", hint="as in --match 'accuracy > 0.9'")
        parse_where(request.match, metrics=True)
    elif request.match is not None:
        name_test(request.match)
    definition: Definition = {
        "id": files.random_hex(8),
        "event": request.event,
        "scope": ROOT,
        "match": request.match,
        "action": chosen[0],
        "created_at": context.now(),
        "created_by": context.user,
    }
    if request.command is not None:
        from regcli.domain.commands import check_command

        _refuse_for_commands(request)
        return {**definition, "command": check_command(request.command), "root": None}
    definition["url"] = _check_url(context, request.webhook or request.slack or "", with_token=request.token_env is not None)
    if request.template is not None:
        from regcli.domain.payloads import check_template

        check_template(request.template, [name for name in (request.token_env, request.secret_env) if name])
        definition["template"] = request.template
    for field in ("token_env", "secret_env"):
        variable = getattr(request, field)
        if variable is not None:
            if request.slack is not None:
                raise UsageError("Slack takes neither token nor secret", hint="its URL is the secret: give it as env:VARIABLE")
            definition[field] = _check_variable(variable)
    return definition


def _refuse_for_commands(request: Request) -> None:
    if request.template is not None or request.token_env is not None or request.secret_env is not None:
        raise UsageError(
            "a command takes neither template nor token nor secret", hint="it gets the event as JSON on its standard input"
        )


def _check_variable(name: str) -> str:
    if not name.isascii() or not name.isidentifier() or len(name) > 128:
        raise UsageError(f"{quote(name)} is not the name of an environment variable", hint="name the variable, not its value")
    return name


def _check_url(context: Context, url: str, *, with_token: bool) -> str:
    from urllib.parse import urlsplit

    if url.startswith(released.URL_FROM):
        return released.URL_FROM + _check_variable(url.removeprefix(released.URL_FROM))
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if (
        parts.scheme not in ("http", "https")
        or not host
        or len(url) > MAX_URL
        or any(c.isspace() or is_unprintable(c) for c in url)
    ):
        raise UsageError(
            f"{quote(url[:200])} is not a URL to post to", hint="give https://… (or env:VARIABLE, to keep it secret)"
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the URL holds a password, which everybody could read", hint="use --token-env, or --webhook env:VARIABLE"
        )
    if with_token and parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
        context.warnings.append(f"the token will travel unencrypted to {host}: use https")
    return url


def _parse_scope(context: Context, text: str) -> tuple[Registry | None, str]:
    """Return the registry whose settings hold automations of a place (None: the root's), and the scope as stored."""
    from regcli.domain.listing import find_place

    if text == ROOT:
        return None, ROOT
    found = find_place(context, text)
    if isinstance(found, Registry):
        return found, REGISTRY
    if isinstance(found, Collection):
        return found.registry, found.place
    return None, found.base[len(context.root.path) + 1 :]


def _require_right(context: Context, automation: Automation, *, removing: bool = False) -> None:
    scope = automation.definition["scope"]
    if automation.registry is not None:
        action = "registry-automation" if scope == REGISTRY else "collection-automation"
        roles.require(automation.registry.state, context.user, action)
        return
    owner = context.root.owner
    if context.user == owner:
        return
    # The settings of a shared root can be written by its owner alone.
    if scope == ROOT or context.root.shared is not None:
        raise RoleError(
            f"user {quote(context.user)} is not the owner of the root and may not change its automations", hint=f"ask {owner}"
        )
    if removing and automation.definition["created_by"] != context.user:
        raise RoleError(
            f"automation {quote(automation.name)} is {quote(automation.definition['created_by'])}'s",
            hint=f"ask {automation.definition['created_by']} or {owner}",
        )


def _change(
    context: Context, automation: Automation, before: Definition | None, after: Definition | None, reason: str | None
) -> int:
    """Commit an automation to the settings that hold it; returns the commit's number."""
    name = automation.name
    registry = automation.registry

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        held = snapshot.state["automations"].get(name)
        if after is not None and held is not None:
            raise _taken(name)
        if after is None and held is None:
            raise NotFoundError(f"automation {quote(name)} was removed meanwhile")
        if registry is not None:
            _require_right(context, Automation(name, after or held, Registry(registry.chain, snapshot)))
        return [{"op": "automation", "name": name, "before": held if after is None else before, "after": after}]

    if registry is not None:
        return change_settings(context, find_registry(context, registry.name), check, reason=reason).seq
    return context.transact(root_chain(context), check, reason=reason).seq


def make_outbox(context: Context) -> None:
    """Make the directory whose presence says that there are, or were, automations."""
    root = context.root
    try:
        for path in (f"{root.path}/outbox", f"{root.path}/outbox/done"):
            files.make_within(root.path, path)
            if root.shared is not None:
                from regcli.domain.sharing import OPEN, set_mode

                set_mode(root.path, path, OPEN)
    except PermissionError:
        # Somebody else made it and lets the group write; if not, writing into it will say so.
        return
    except OSError as error:
        raise files.explain(error, f"cannot make {root.path}/outbox") from error


# The user's own automations


def own_automations(context: Context) -> list[Automation]:
    """Return the user's own automations of this root."""
    return [
        Automation(name, kept, is_own=True)
        for name, kept in sound(read_own(context))
        if kept.get("root") == context.root.id and isinstance(kept.get("command"), str)
    ]


def _add_own(context: Context, name: str, definition: Definition) -> Automation:
    if own_path(context) is None:
        raise UsageError("there is no configuration directory to keep a command in")
    definition["root"] = context.root.id

    def add(kept: dict[str, Definition]) -> None:
        if name in kept:
            raise _taken(name)
        kept[name] = definition

    change_own(context, add)
    return Automation(name, definition, is_own=True)
