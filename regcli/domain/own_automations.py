"""The file of the user's own automations, those that run commands: in the user's configuration, outside of every root."""

from __future__ import annotations

import os

from regcli.errors import IntegrityError, RefusedError, RegcliError
from regcli.store import files, jsontext, ownfiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from regcli.domain.context import Context

    Definition = dict[str, Any]


def own_path(context: Context) -> str | None:
    """Return the file of the user's own automations, or None where there is no configuration."""
    return f"{context.trust.config_path}/automations.json" if context.trust.config_path is not None else None


def read_own(context: Context) -> dict[str, Definition]:
    """Return the user's own automations of all roots; a file that others could have written is not believed."""
    path = own_path(context)
    if path is None:
        return {}
    try:
        data = _believed(path)
    except RefusedError as error:
        context.warnings.append(error.message)
        return {}
    except (OSError, RegcliError):
        return {}
    return _parse_own(data, path)


def _believed(path: str) -> bytes:
    """Return the bytes of a file of the user's own.

    Raises:
        OSError, RegcliError: it cannot be read. RefusedError: others could have written it.
    """
    status = os.stat(path)
    data = files.read_document(path)
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise RefusedError(f"{path} is not believed: others can write it (chmod 600)", hint="look at what it says first")
    return data


def _parse_own(data: bytes, path: str) -> dict[str, Definition]:
    try:
        document = jsontext.loads(data, path)
    except IntegrityError as error:
        # It lies in no root: `verify`, which is advised elsewhere, does not look at it.
        raise IntegrityError(error.message, hint="mend it, or remove it and add your automations again") from None
    found = document.get("automations") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def change_own(context: Context, change: Callable[[dict[str, Definition]], object]) -> None:
    """Change the user's own automations; where what is there cannot be read, nothing is written over it.

    Raises:
        RefusedError: others could have written it. StorageError, IntegrityError: it cannot be read or written.
    """
    path = own_path(context) or ""
    with ownfiles.Changing(path, wait=context.wait, sleep=context.sleep):
        try:
            kept = _parse_own(_believed(path), path)
        except (FileNotFoundError, NotADirectoryError):
            kept = {}
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        change(kept)
        ownfiles.replace(path, jsontext.dumps({"format": 1, "automations": kept}).encode() + b"\n")
