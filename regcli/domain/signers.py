"""Whose signatures are believed: lists of allowed signers in OpenSSH's own form, kept outside of every root."""

from __future__ import annotations

import os
import stat

from regcli.domain.sshkeys import NAMESPACE, fingerprint, parse_public, read_public
from regcli.errors import MissingPathError, NotFoundError, SignatureRefusedError, UsageError
from regcli.model import is_unprintable, quote
from regcli.store import files, ownfiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.trust import Trust

MAX_SIGNERS = 4 << 20
MAX_PRINCIPAL = 256
_SPECIAL = frozenset("*?!,\"'#\\")


class Signer:
    """One line of a list.

    Attributes:
        principals: whose key it is. key: `TYPE BASE64`. namespaces: what it may sign, () for all.
        options: all options as they are written. is_system: whether the machine's list has it, not the user's.
    """

    __slots__ = ("is_system", "key", "namespaces", "options", "principals")

    def __init__(self, principals: list[str], key: str, options: list[str], *, is_system: bool) -> None:
        """Take the parts of the line."""
        self.principals = principals
        self.key = key
        self.options = options
        self.is_system = is_system
        self.namespaces: tuple[str, ...] = ()
        for option in options:
            name, _, value = option.partition("=")
            if name.lower() == "namespaces":
                self.namespaces = tuple(part for part in value.strip('"').split(",") if part)

    def document(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {
            "principal": ",".join(self.principals),
            "key_type": self.key.split()[0],
            "fingerprint": fingerprint(self.key),
            "namespaces": list(self.namespaces),
            "options": [option for option in self.options if not option.lower().startswith("namespaces=")],
            "system": self.is_system,
        }


def check_principal(text: str) -> str:
    """Return the name of a signer if it may be one: printable, without white space or what means something in the list.

    Raises:
        UsageError: it may not.
    """
    if not text or len(text) > MAX_PRINCIPAL or text.startswith("-"):
        raise UsageError(
            f"principal {quote(text[:40])} is empty, too long or begins with '-'", hint="an e-mail address is usual"
        )
    wrong = next((c for c in text if c in _SPECIAL or c.isspace() or is_unprintable(c)), None)
    if wrong is not None:
        raise UsageError(f"principal {quote(text)} has a character that is not allowed: {quote(wrong)}")
    return text


def _words(line: str) -> list[str]:
    """Split a line at white space outside of double quotes."""
    words, word, quoted = [], "", False
    for character in line:
        if character == '"':
            quoted = not quoted
        if character in " \t" and not quoted:
            if word:
                words.append(word)
            word = ""
        else:
            word += character
    return [*words, word] if word else words


def _parse_line(line: str, *, is_system: bool) -> Signer | None:
    words = _words(line.strip())
    if not words or words[0].startswith("#"):
        return None
    for position in range(1, min(len(words) - 1, 3)):
        key = parse_public(" ".join(words[position : position + 2]))
        if key is not None:
            options = _split_options(words[1]) if position == 2 else []
            return Signer(words[0].strip('"').split(","), key, options, is_system=is_system)
    return None


def _split_options(text: str) -> list[str]:
    options, option, quoted = [], "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == "," and not quoted:
            options.append(option)
            option = ""
        else:
            option += character
    return [*options, option]


def read_signers_file(path: str | None) -> bytes | None:
    """Return the bytes of a list, None when there is none.

    Raises:
        SignatureRefusedError: others may write to it, so that it proves nothing.
    """
    if path is None:
        return None
    # The list may be a link, as files of a home directory often are.
    path = os.path.realpath(path)
    try:
        data = files.read_document(path, MAX_SIGNERS)
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise SignatureRefusedError(f"everybody may write to {path}, so it proves nothing", hint=f"chmod go-w {path}")
    return data


def list_signers(trust: Trust) -> list[Signer]:
    """Return the allowed signers, the user's own first."""
    found = []
    for path, is_system in ((trust.signers_path, False), (trust.system_path, True)):
        text = (read_signers_file(path) or b"").decode("utf-8", "replace")
        found += [signer for line in text.splitlines() if (signer := _parse_line(line, is_system=is_system)) is not None]
    return found


def find_principal(trust: Trust, key: str) -> str | None:
    """Return the name under which a key is listed and may sign aliases, or None."""
    for signer in list_signers(trust):
        if signer.key == key and (not signer.namespaces or NAMESPACE in signer.namespaces):
            for principal in signer.principals:
                if not _SPECIAL.intersection(principal):
                    return principal
    return None


def _changing(context: Context) -> tuple[ownfiles.Changing, str]:
    """Return what keeps other processes from changing the user's list, and its path."""
    path = context.trust.signers_path
    if path is None:
        raise UsageError("there is no directory for the user's own settings")
    # Where the list is a link the lock lies beside the link: what it leads to may be under version control.
    return ownfiles.Changing(path, wait=context.wait, sleep=context.sleep), os.path.realpath(path)


def add_signer(
    context: Context,
    principal: str,
    key_path: str,
    *,
    namespaces: tuple[str, ...] = (NAMESPACE,),
    valid_after: str | None = None,
    valid_before: str | None = None,
) -> tuple[Signer, bool]:
    """Add a key to the user's list; a key that the principal has there already is listed anew.

    Args:
        context: who asks, and where the user's list is.
        principal: whose it is.
        key_path: a public key's file.
        namespaces: what it may sign; by default only aliases.
        valid_after: `YYYYMMDD` or `YYYYMMDDHHMM[SS][Z]`, as `ssh-keygen` reads it; before it nothing is believed.
        valid_before: likewise, from then on.

    Returns:
        The signer, and whether the list changed.

    Raises:
        MissingPathError: there is no such file. UsageError: the principal, key or a time is none.
        StorageError: the list cannot be written. BusyError: another process keeps it.
    """
    check_principal(principal)
    key = read_public(os.path.expanduser(key_path))
    if key is None:
        if not os.path.lexists(os.path.expanduser(key_path)):
            raise MissingPathError(f"there is no file {quote(key_path)}")
        raise UsageError(f"{key_path} is not a public SSH key", hint="name the file that ends in .pub")
    for name in namespaces:
        if not name or any(c in _SPECIAL - {"*", "?"} or c.isspace() or is_unprintable(c) for c in name):
            raise UsageError(f"namespace {quote(name)} is malformed")
    options = [f'namespaces="{",".join(namespaces)}"'] if namespaces else []
    times = []
    for name, value in (("valid-after", valid_after), ("valid-before", valid_before)):
        if value is not None:
            times.append(_parse_time(value))
            options.append(f'{name}="{value}"')
    if len(times) == 2 and times[0] >= times[1]:
        raise UsageError(f"from {valid_after} until {valid_before} is no time at all", hint="--valid-after is the earlier one")
    signer = Signer([principal], key, options, is_system=False)
    line = " ".join([principal, *([",".join(options)] if options else []), key])
    changing, path = _changing(context)
    with changing:
        lines = _lines(path)
        if line in lines:
            return signer, False
        _write(path, [*(old for old in lines if not _is(old, principal, key)), line])
    return signer, True


def _parse_time(text: str) -> datetime:
    """Return a time as `ssh-keygen` reads it; one line that it would not read, and the key would never be believed."""
    from datetime import datetime

    digits = text.removesuffix("Z")
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    try:
        if form is None or not (digits.isascii() and digits.isdigit()):
            raise ValueError
        return datetime.strptime(digits, form)  # noqa: DTZ007 - the zone, local or UTC, is for ssh-keygen
    except ValueError:
        raise UsageError(f"{quote(text)} is not a time", hint="write YYYYMMDD or YYYYMMDDHHMMSSZ") from None


def _is(line: str, principal: str, key: str | None) -> bool:
    signer = _parse_line(line, is_system=False)
    return signer is not None and signer.principals == [principal] and key in (None, signer.key)


def remove_signer(context: Context, principal: str) -> list[Signer]:
    """Take a principal's keys off the user's list; returns them.

    Raises:
        NotFoundError: the list has none. StorageError, BusyError: as `add_signer`.
    """
    changing, path = _changing(context)
    with changing:
        lines = _lines(path)
        gone = [signer for line in lines if _is(line, principal, None) and (signer := _parse_line(line, is_system=False))]
        if gone:
            _write(path, [line for line in lines if not _is(line, principal, None)])
            return gone
    listed = sorted({",".join(signer.principals) for signer in list_signers(context.trust)})
    raise NotFoundError(f"{quote(principal)} is not among your signers", hint=f"there are: {', '.join(listed) or 'none'}")


def _lines(path: str) -> list[str]:
    return (read_signers_file(path) or b"").decode("utf-8", "surrogateescape").splitlines()


def _write(path: str, lines: list[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    ownfiles.replace(path, data, MAX_SIGNERS)
