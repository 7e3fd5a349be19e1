"""Shared roots: several users of one group work on one directory, and the file system keeps them apart.

Directories are set-gid, group-writable and sticky, so that everybody in the group can add commits and blobs, and only the owner
of a directory can delete, replace or rename what others added. The kernel sets the owner of a file, so the owner of a commit's
file says who made it. A commit of a registry whose file belongs to another user than it names, or whose user had no right to it
under the settings it was judged by, is *void*: it is skipped, though it stays in the chain, and `verify` reports it.

This is in force where a registry's settings directory is the very one that was shared: its owner and inode are recorded in
the settings. A copy that lost the owners, as `rsync` makes it, has another inode and is read as it is. An admin of the copy
puts it in force again with `regcli init --shared`; what was there until then is accepted.
"""

from __future__ import annotations

import os
import stat

from regcli.domain import roles
from regcli.errors import ConflictError, RefusedError, RegcliError, UsageError
from regcli.model import fold, quote
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry
    from regcli.store.chain import Snapshot

    State = dict[str, Any]
    Commit = dict[str, Any]
    Operation = dict[str, Any]
    Judge = Callable[[Snapshot, Commit, int], str | None]

# Everybody in the group adds, nobody deletes what is another's.
OPEN = stat.S_ISGID | stat.S_ISVTX | 0o775
# Only the owner adds.
OWNED = stat.S_ISGID | 0o755
_OTHERS = 0o007
_LOCKS = ("content", "content-gate", "settings", "settings-gate")


def user_of(uid: int) -> str:
    """Return the name of a user's number, as commits have it."""
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"uid-{uid}"


def in_force(base: str, shared: dict[str, Any] | None) -> bool:
    """Tell whether a registry's settings directory is the one that was shared, not a copy of it."""
    if shared is None:
        return False
    try:
        status = os.lstat(f"{base}/settings")
    except OSError:
        return False
    return bool(status.st_ino == shared["inode"] and status.st_uid == shared["uid"])


def _identity(commit: Commit, owner: int) -> str | None:
    if commit.get("uid") != owner or commit.get("user") != user_of(owner):
        return f"it names user {quote(str(commit.get('user')))}, but its file belongs to {quote(user_of(owner))}"
    return None


def _refusal(settings: State, user: str, action: str) -> str | None:
    try:
        roles.require(settings, user, action)
    except RegcliError as error:
        return error.message
    return None


# Commits of a registry's settings

_SETTINGS_ACTIONS = {
    "rename": "rename-registry",
    "remove": "delete-registry",
    "protect": "protect",
    "unprotect": "protect",
    "member": "members",
    "redirect": "members",
}
_FIELD_ACTIONS = {
    "description": "edit-registry",
    "types": "types",
    "visibility": "visibility",
    "ttl": "ttl",
    "shared": "members",
}


def settings_judge(base: str) -> Judge:
    """Return what decides whether a commit of the settings log in `base` counts."""

    def judge(snapshot: Snapshot, commit: Commit, owner: int) -> str | None:
        state = snapshot.state
        if not in_force(base, state["shared"]):
            return None
        problem = _identity(commit, owner)
        for op in commit["ops"]:
            if problem is None:
                problem = _refusal(state, commit["user"], _settings_action(op))
        return problem

    return judge


def _settings_action(op: Operation) -> str:
    if op["op"] == "set":
        return _FIELD_ACTIONS.get(op["field"], "members")
    if op["op"] == "automation":
        scope = str((op.get("after") or op.get("before") or {}).get("scope", ""))
        return "collection-automation" if "/" in scope.rstrip("/") else "registry-automation"
    # Whoever would begin the registry anew has to be allowed to end it.
    return _SETTINGS_ACTIONS.get(op["op"], "delete-registry")


# Commits of a registry's collections


def collection_judge(registry: Registry, base: str) -> Judge | None:
    """Return what decides whether a commit of the collection in `base` counts; None where everything does."""
    shared = registry.state["shared"]
    if not in_force(registry.base, shared):
        return None
    accepted: int = shared["accepted"].get(os.path.basename(base), 0)
    known: dict[int, State] = {registry.snapshot.seq: registry.state}

    def settings_at(seq: int) -> State:
        if seq not in known:
            known[seq] = registry.chain.replay(seq).state
        return known[seq]

    def judge(snapshot: Snapshot, commit: Commit, owner: int) -> str | None:
        if commit["seq"] <= accepted:
            return None
        problem = _identity(commit, owner)
        if problem is not None:
            return problem
        seq = commit.get("settings_seq")
        if not isinstance(seq, int) or seq < snapshot.state["settings_seq"]:
            return "it was judged by settings that are older than those of the commit before it"
        try:
            settings = settings_at(seq)
        except RegcliError:
            return f"it was judged by settings number {seq}, which do not exist"
        for op in commit["ops"]:
            for action in _actions(op, snapshot.state, settings):
                refused = _refusal(settings, commit["user"], action)
                if refused is not None:
                    return refused
            if op["op"] in ("create", "redirect") and os.lstat(f"{base}/log").st_uid != owner:
                return "the directory of the collection belongs to another user than its maker"
        return None

    return judge


def _holds_protected(state: State, settings: State, index: int | None) -> bool:
    return any(
        (index is None or holder == index) and roles.is_protected(settings, shown)
        for shown, holder in state["aliases"].values()
    )


def _actions(op: Operation, state: State, settings: State) -> list[str]:
    """Return the rights that an operation takes."""
    name = op["op"]
    if name == "alias":
        return ["alias", "set-protected"] if fold(op["alias"]) in settings["protected"] else ["alias"]
    if name in ("unlink", "remove", "rename"):
        index = op["version"] if name == "unlink" else None
        actions = [{"unlink": "unlink", "remove": "delete-collection", "rename": "edit-collection"}[name]]
        return [*actions, "delete-protected"] if _holds_protected(state, settings, index) else actions
    table = {"create": "create-collection", "redirect": "create-collection", "link": "link"}
    return [table[name]] if name in table else ["edit-collection"]


# Making it so


def _open_directory(root: str, path: str, mode: int, group: int, *, make: bool = True) -> None:
    try:
        if make:
            files.make_within(root, path)
        set_mode(root, path, mode, group)
    except OSError as error:
        raise files.explain(error, f"cannot share {path} with the group") from error


def set_mode(root: str, path: str, mode: int, group: int | None = None) -> None:
    """Set mode and group of a directory of the root; a member who put a link there must not have another one opened.

    Raises:
        OSError: it cannot be. IntegrityError: it is a link.
    """
    descriptor = files.open_within(root, path)
    try:
        if group is not None:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _open_shards(root: str, path: str, group: int) -> None:
    try:
        top = files.open_within(root, path)
    except OSError as error:
        raise files.explain(error, f"cannot share {path} with the group") from error
    try:
        for number in range(256):
            shard = f"{path}/{number:02x}"
            try:
                os.mkdir(f"{number:02x}", dir_fd=top)
            except FileExistsError:
                pass
            set_mode(root, shard, OPEN, group)
        files.fsync_names(top)
    except OSError as error:
        raise files.explain(error, f"cannot share {path} with the group") from error
    finally:
        os.close(top)


def find_group(name: str) -> int:
    """Return the number of a group of the operating system, given by name or number.

    Raises:
        UsageError: there is none of that name.
    """
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        import grp

        return grp.getgrnam(name).gr_gid
    except (ImportError, KeyError):
        raise UsageError(f"this system knows no group {quote(name)}", hint="`getent group` lists the groups") from None


def share_root(context: Context, group: str) -> list[str]:
    """Share a root with a group; done again, it mends permissions and takes in what was copied. Returns the registries.

    Raises:
        UsageError: there is no such group. RefusedError: the root's directory belongs to somebody else.
    """
    from regcli.domain.registries import list_registries

    gid = find_group(group)
    root, _ = context.make_root()
    owner = os.lstat(root.path).st_uid
    if os.geteuid() not in (0, owner):
        raise RefusedError(
            f"the root {root.path} belongs to {quote(user_of(owner))}, who alone can share it",
            hint=f"they run `regcli init --shared --group {group}`",
        )
    # With the dot, since the root itself may be reached by a link.
    for name in ("/.", "/locks", "/registries", "/packs", "/packs/index", "/blobs", "/backrefs", "/projects", "/settings"):
        _open_directory(root.path, f"{root.path}{name}", OPEN, gid)
    # Everybody's own caches lie below; the outbox is there once an automation was added.
    for name in ("/cache", "/outbox", "/outbox/done"):
        if name == "/cache" or os.path.isdir(f"{root.path}{name}"):
            _open_directory(root.path, f"{root.path}{name}", OPEN, gid)
    # Made by the owner, who then can sweep them: whoever owns a sticky directory may delete in it.
    for name in ("blobs", "backrefs"):
        _open_shards(root.path, f"{root.path}/{name}", gid)
    _open_directory(root.path, f"{root.path}/settings", OWNED, gid)
    for name in ("projects", "backrefs"):
        for directory, _, _ in os.walk(f"{root.path}/{name}"):
            if os.geteuid() in (0, os.lstat(directory).st_uid):
                _open_directory(root.path, directory, OPEN, gid, make=False)
    _open_locks(root.path, gid)
    root.share(group)
    shared = []
    for registry in list_registries(context):
        if os.path.isdir(registry.base) and os.geteuid() not in (0, os.lstat(registry.base).st_uid):
            context.warnings.append(f"registry {registry.name} belongs to somebody else, who has to share it")
            continue
        share_registry(context, registry, group)
        shared.append(registry.name)
    return shared


def require_shared_root(context: Context, group: str) -> None:
    """Share the root with a group unless it is shared; a registry in it may have a group of its own.

    Raises:
        RefusedError: it is not shared, and belongs to somebody else.
    """
    find_group(group)
    context.make_root()
    if context.root.shared is None:
        share_root(context, group)


def _open_locks(root: str, group: int) -> None:
    for name in _LOCKS:
        path = f"{root}/locks/{name}.lock"
        try:
            descriptor = files.open_to_append(path, root, 0o664)
            try:
                os.fchown(descriptor, -1, group)
                os.fchmod(descriptor, 0o664)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot share {path} with the group") from error


def close_directories(root: str, base: str, group: str) -> dict[str, Any]:
    """Make a registry's directories, as yet for their owner alone; returns what its settings are to record.

    They are opened to the group only when the settings that protect them are committed: nobody slips in a commit before.

    Raises:
        ConflictError: somebody else made the directory.
    """
    find_group(group)
    for path in (base, f"{base}/settings", f"{base}/collections"):
        try:
            # With a mode of its own a directory does not take over its parent's.
            files.make_within(root, path, 0o755)
            owner = os.lstat(path).st_uid
            if os.geteuid() not in (0, owner):
                raise ConflictError(f"{path} belongs to {quote(user_of(owner))}", hint="choose another name")
            set_mode(root, path, OWNED)
        except OSError as error:
            raise files.explain(error, f"cannot share {path} with the group") from error
    accepted = {}
    for directory in files.scan_names(f"{base}/collections"):
        numbers = [name[:10] for name in files.scan_names(f"{base}/collections/{directory}/log") if name.endswith(".json")]
        accepted[directory] = max((int(number) for number in numbers if number.isdigit()), default=0)
    status = os.lstat(f"{base}/settings")
    return {"group": group, "uid": status.st_uid, "inode": status.st_ino, "accepted": accepted}


def open_directories(root: str, base: str, group: str, *, restricted: bool) -> None:
    """Open a shared registry's directories to the group, and to everybody for reading unless it is restricted.

    Raises:
        StorageError: they belong to somebody else, or the group is none of the user's.
    """
    gid = find_group(group)
    closed = _OTHERS if restricted else 0
    for directory in files.scan_names(f"{base}/collections"):
        for path in (f"{base}/collections/{directory}", f"{base}/collections/{directory}/log"):
            if os.path.isdir(path):
                _open_directory(root, path, OPEN & ~closed, gid, make=False)
    for name in ("settings", "collections"):
        _open_directory(root, f"{base}/{name}", OPEN & ~closed, gid, make=False)
    _open_directory(root, base, OWNED & ~closed, gid, make=False)


def share_registry(context: Context, registry: Registry, group: str) -> None:
    """Share a registry of a shared root; where that is in force already, only its permissions are mended.

    Raises:
        RoleError: the user is no admin of it.
    """
    from regcli.domain.registries import change_settings

    roles.require(registry.state, context.user, "members")
    shared = registry.state["shared"]
    if shared is None or shared["group"] != group or not in_force(registry.base, shared):
        after = close_directories(context.root.path, registry.base, group)

        def check(snapshot: Snapshot) -> list[Operation]:
            roles.require(snapshot.state, context.user, "members")
            return [{"op": "set", "field": "shared", "before": snapshot.state["shared"], "after": after}]

        change_settings(context, registry, check)
    open_directories(context.root.path, registry.base, group, restricted=registry.state["visibility"] == "restricted")


def reserve_registry_directory(root: str, base: str) -> None:
    """Make the directory of a registry's new name so that nobody else can begin a registry there.

    Raises:
        ConflictError: somebody else made it.
    """
    try:
        files.make_within(root, f"{base}/settings")
        for path in (f"{base}/settings", base):
            if os.lstat(path).st_uid != os.geteuid():
                raise ConflictError(f"{path} belongs to {quote(user_of(os.lstat(path).st_uid))}", hint="choose another name")
            set_mode(root, path, OWNED)
    except OSError as error:
        raise files.explain(error, f"cannot make {base}") from error


def close_registry(root: str, base: str) -> None:
    """Take the permissions of everybody outside the group away, when a registry becomes restricted.

    Raises:
        StorageError: the directories belong to somebody else.
    """
    for path in (base, f"{base}/settings", f"{base}/collections"):
        try:
            set_mode(root, path, stat.S_IMODE(os.lstat(path).st_mode) & ~_OTHERS)
        except OSError as error:
            raise files.explain(error, f"cannot close {path}") from error


def make_collection_directories(root: str, base: str) -> None:
    """Make the directories of a new collection of a shared registry, and see that they are the maker's own.

    Raises:
        ConflictError: somebody else made them, and could delete what is added.
    """
    try:
        files.make_within(root, f"{base}/log")
    except OSError as error:
        raise files.explain(error, f"cannot make {base}") from error
    for path in (base, f"{base}/log"):
        owner = os.lstat(path).st_uid
        if owner != os.geteuid():
            raise ConflictError(
                f"{path} was made by {quote(user_of(owner))}", hint="choose another name, or remove the directory"
            )
