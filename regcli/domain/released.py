"""To which automations the user's secrets go: those that the user added, remembered outside of every root.

Whoever can write to a root can write a definition, and a commit in anybody's name. So `automation add` notes in the user's own
configuration what exactly was added, and a definition that reads otherwise by one letter gets no secret of this user's.
"""

from __future__ import annotations

import os

from regcli.errors import RegcliError, StorageError, reason_of
from regcli.store import files, jsontext, ownfiles
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from regcli.domain.automations import Automation
    from regcli.domain.context import Context

# Before the name of the variable that holds a URL.
URL_FROM = "env:"


def needs_secrets(automation: Automation) -> bool:
    """Tell whether anything of an automation is read from the environment of who delivers."""
    kept = automation.definition
    return bool(kept.get("token_env") or kept.get("secret_env")) or str(kept.get("url")).startswith(URL_FROM)


def is_released(context: Context, automation: Automation) -> bool:
    """Tell whether this user added exactly this automation, in this root."""
    return automation.definition["created_by"] == context.user and _fingerprint(context, automation) in _read(context)


def release(context: Context, automation: Automation) -> None:
    """Note that the user's secrets may go to an automation, which the user has just added.

    Raises:
        StorageError: it cannot be read or written. BusyError: another process keeps it.
    """
    mark = _fingerprint(context, automation)
    if context.trust.config_path is not None and mark not in _read(context):
        _change(context, lambda marks: [*marks, mark])


def withdraw(context: Context, automation: Automation) -> None:
    """Forget an automation that was removed. Raises as `release` does."""
    mark = _fingerprint(context, automation)
    if mark in _read(context):
        _change(context, lambda marks: [item for item in marks if item != mark])


def _fingerprint(context: Context, automation: Automation) -> str:
    import json

    told = [context.root.id, automation.store, automation.name, automation.definition]
    return sha256_hex(json.dumps(told, sort_keys=True).encode())


def _path(context: Context) -> str:
    return f"{context.trust.config_path}/released.json"


def _read(context: Context, *, strict: bool = False) -> list[str]:
    """Return what is noted; with `strict`, what is there but cannot be read just now is an error, not nothing."""
    try:
        status = os.stat(_path(context))
        data = files.read_document(_path(context))
        if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
            context.warnings.append(f"{_path(context)} is not believed: others can write it (chmod 600)")
            return []
        document = jsontext.loads(data, _path(context))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, RegcliError) as error:
        if strict and isinstance(error, OSError):
            raise files.explain(error, f"cannot read {_path(context)}") from error
        if strict and isinstance(error, StorageError):
            raise
        context.warnings.append(error.message if isinstance(error, RegcliError) else f"{_path(context)}: {reason_of(error)}")
        return []
    found = document.get("automations") if isinstance(document, dict) else None
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def _change(context: Context, change: Callable[[list[str]], list[str]]) -> None:
    path = _path(context)
    with ownfiles.Changing(path, wait=context.wait, sleep=context.sleep):
        marks = change(_read(context, strict=True))
        ownfiles.replace(path, jsontext.dumps({"format": 1, "automations": marks}).encode() + b"\n")
