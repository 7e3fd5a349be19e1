"""Whom a user trusts: where the signers are listed and what was seen before is kept, as values from the outermost floor.

All of it lies outside of every root, since whoever can write to a root must not decide whose signatures are believed. On the
fast path: built-in modules only.
"""

from __future__ import annotations

from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from regcli.domain.sealing import Seal
    from regcli.domain.witness import Witness
    from regcli.store.root import Root


def seen_name(subject: str) -> str:
    """Return the name of the file about a root's id or a path; what others may have chosen becomes a name only as a hash."""
    return f"{sha256_hex(subject.encode('utf-8', 'replace'))[:32]}.json"


def path_subject(path: str) -> str:
    """Return what a file about a place is about; no root has such an id."""
    return f"path:{path}"


class Trust:
    """The user's own files and choices about signatures.

    Attributes:
        config_path: the directory of the user's own settings; None where there is no such place.
        state_path: the directory of what the program remembers for the user; None where there is no such place.
        signers_path: the user's list of allowed signers, in the form of `ssh-keygen`; None where there is no such place.
        system_path: the machine's list, which root keeps.
        revoked_path: keys (or a key revocation list) that are believed no more, whatever the lists say.
        seen_path: the directory where the highest counters are remembered.
        sign_key: file of the key to sign with, or None for git's key or the agent's.
        expires: seconds that a new signature holds, or None for the default.
        allow_unsigned: take what is not signed as it must be; only ever set by an option that was typed.
        tell: says at once what is taken unsigned, before the work that follows; None to keep it with the other warnings.
        seals: (place, version) -> what a signature vouched for in this process, so that later reads are held to it.
    """

    __slots__ = (
        "_witness", "allow_unsigned", "config_path", "expires", "revoked_path", "seals", "seen_path", "sign_key",
        "signers_path", "state_path", "system_path", "tell",
    )  # fmt: skip

    def __init__(
        self,
        *,
        config_path: str | None = None,
        state_path: str | None = None,
        system_path: str | None = None,
        sign_key: str | None = None,
    ) -> None:
        """Name the places; nothing is read."""
        self.config_path = config_path
        self.state_path = state_path
        self.signers_path = f"{config_path}/allowed_signers" if config_path is not None else None
        self.revoked_path = f"{config_path}/revoked_keys" if config_path is not None else None
        self.system_path = system_path
        self.seen_path = f"{state_path}/seen" if state_path is not None else None
        self.sign_key = sign_key
        self.expires: int | None = None
        self.allow_unsigned = False
        self.tell: Callable[[str], object] | None = None
        self.seals: dict[tuple[str, int], Seal] = {}
        self._witness: Witness | None = None

    def has_seen(self, root: Root) -> bool:
        """Tell whether anything was ever seen signed in a root or where it lies: no more, for the many where nothing was."""
        if self.seen_path is None:
            return False
        import os

        from regcli.store import files

        # What cannot be looked at is not "never seen": that would open the way to what is older.
        return files.is_there(f"{self.seen_path}/{seen_name(root.id)}") or files.is_there(
            f"{self.seen_path}/{seen_name(path_subject(os.path.realpath(root.path)))}"
        )

    def witness(self, root: Root) -> Witness:
        """Return what the user has seen of a root's signed aliases; read at first use."""
        import os

        path = os.path.realpath(root.path)
        if self._witness is None or (self._witness.root_id, self._witness.path) != (root.id, path):
            from regcli.domain.witness import Witness

            self._witness = Witness(self.seen_path, root.id, path)
        return self._witness
