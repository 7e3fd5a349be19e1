"""What a user has seen of signed aliases: a root that goes back behind it is not believed.

One small file for each root in the user's own state directory, `seen/<hash of the root's id>.json`:
`{"format":1,"root":…,"required":{place of a registry:[alias]},
"aliases":{place of a collection:{alias:{counter,sha256,action,proof}}}}`.
`proof` is a hash of statement, signature and list of signers that `ssh-keygen` has approved once. On the fast path.
"""

from __future__ import annotations

import os

from regcli.domain.trust import seen_name
from regcli.errors import IntegrityError, RegcliError, SignatureRefusedError
from regcli.model import fold
from regcli.store import files, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry

    Mark = dict[str, Any]

FORMAT = 1
MAX_SEEN = 16 << 20


class Witness:
    """What was seen of one root.

    Attributes:
        root_id: the root's random id; copies of a root have one witness.
        path: the file, or None where nothing can be remembered.
    """

    __slots__ = ("_document", "path", "root_id")

    def __init__(self, directory: str | None, root_id: str) -> None:
        """Name the file; it is read at first use."""
        self.root_id = root_id
        self.path = None if directory is None else f"{directory}/{seen_name(root_id)}"
        self._document: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Return what was seen, empty where nothing was.

        Raises:
            SignatureRefusedError: the file is damaged, so that nobody can tell what was seen.
        """
        if self._document is None:
            self._document = self._read()
        return self._document

    def _read(self) -> dict[str, Any]:
        fresh: dict[str, Any] = {"format": FORMAT, "root": self.root_id, "required": {}, "aliases": {}}
        if self.path is None:
            return fresh
        try:
            data = files.read_document(self.path, MAX_SEEN)
        except (FileNotFoundError, NotADirectoryError):
            return fresh
        try:
            document = jsontext.loads(data, self.path)
            if document["format"] != FORMAT or document["root"] != self.root_id:
                raise IntegrityError(f"{self.path} is corrupt: it is about another root, or of another format")
            for name in ("required", "aliases"):
                for value in document[name].values():
                    iter(value)
        except (RegcliError, KeyError, TypeError, AttributeError) as error:
            words = error.message if isinstance(error, RegcliError) else f"{self.path} is corrupt"
            raise SignatureRefusedError(
                f"what was seen of signed aliases cannot be read: {words}",
                hint="restore the file, or start anew with `regcli trust forget`",
            ) from None
        else:
            return dict(document)

    def requires(self, registry_place: str, key: str) -> bool:
        """Tell whether an alias of a registry was once seen signed, whatever the registry's settings say now."""
        return key in self.document()["required"].get(registry_place, ())

    def mark(self, place: str, key: str) -> Mark | None:
        """Return the newest statement that was seen of an alias of a collection, or None."""
        found: Mark | None = self.document()["aliases"].get(place, {}).get(key)
        return found

    def remember(self, context: Context, registry_place: str, place: str, key: str, mark: Mark) -> None:
        """Keep a statement as the newest that was seen. Where that cannot be, a warning says so."""
        if self.path is None:
            return
        if self.requires(registry_place, key) and self.mark(place, key) == mark:
            return
        directory = os.path.dirname(self.path)
        lock = files.Lock(f"{self.path}.lock")
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            lock.acquire(exclusive=True, wait=context.wait, clock=context.clock, sleep=context.sleep)
            try:
                document = self._read()
                known = document["aliases"].setdefault(place, {})
                if key not in known or known[key]["counter"] <= mark["counter"]:
                    known[key] = mark
                names = document["required"].setdefault(registry_place, [])
                if key not in names:
                    names.append(key)
                self._write(document)
            finally:
                lock.release()
        except (OSError, RegcliError) as error:
            reason = error.message if isinstance(error, RegcliError) else str(error.strerror or error).lower()
            context.warnings.append(f"the signature cannot be remembered, so going back would not be noticed: {reason}")

    def forget(self, context: Context, registry_place: str, key: str | None) -> list[str]:
        """Forget one alias of a registry, or all of them; returns those that were known."""
        if self.path is None or not os.path.exists(self.path):
            return []
        lock = files.Lock(f"{self.path}.lock")
        lock.acquire(exclusive=True, wait=context.wait, clock=context.clock, sleep=context.sleep)
        try:
            try:
                document = self._read()
            except SignatureRefusedError:
                # Damaged: forgetting is what the user asks for, and all that can be done.
                self._document = None
                os.unlink(self.path)
                return []
            names = document["required"].get(registry_place, [])
            gone = [name for name in names if key in (None, name)]
            document["required"][registry_place] = [name for name in names if name not in gone]
            for place, known in document["aliases"].items():
                if place.startswith(f"{registry_place}/"):
                    for name in gone:
                        known.pop(name, None)
            self._write(document)
        except OSError as error:
            raise files.explain(error, f"cannot write {self.path}") from error
        finally:
            lock.release()
        return gone

    def _write(self, document: dict[str, Any]) -> None:
        if self.path is not None:
            files.replace_file(self.path, jsontext.dumps(document).encode() + b"\n", mode=0o600, durable=True)
        self._document = document


def forget_aliases(context: Context, registry: Registry, alias: str | None) -> list[str]:
    """Forget what this user has seen of one alias of a registry, or of all of them; returns those that were known."""
    witness = context.trust.witness(context.root.id)
    return witness.forget(context, registry.place, None if alias is None else fold(alias))
