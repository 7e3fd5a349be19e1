"""What a user has seen of signed aliases: a root that goes back behind it is not believed.

Two small files in the user's own state directory: `seen/<hash of the root's id>.json`, and, since whoever writes to a root can
give it another id, one about where it lies, `seen/<hash of "path:" and the path>.json`. Both are
`{"format":1,"root":id or "path:"…,"required":{place or folded name of a registry:[alias]},
"aliases":{place of a collection:{alias:{counter,sha256,action,proof}}}}`; that of a path has no aliases, only what is required.
`proof` is a hash of statement, signature and list of signers that `ssh-keygen` has approved once. On the fast path.
"""

from __future__ import annotations

import os

from regcli.domain.registries import SYNONYMS
from regcli.domain.trust import path_subject, seen_name
from regcli.errors import IntegrityError, RegcliError, SignatureRefusedError
from regcli.model import fold
from regcli.store import files, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry

    Mark = dict[str, Any]

FORMAT = 1
MAX_SEEN = 16 << 20


def name_key(name: str) -> str:
    """Return the key of a registry's name; the names that mean another one have that one's."""
    key = fold(name)
    return SYNONYMS.get(key, key)


class _Memory:
    """One file.

    Attributes:
        subject: the id of the root, or `path:` and where it lies. path: the file, or None where nothing can be remembered.
    """

    __slots__ = ("_document", "path", "subject")

    def __init__(self, directory: str | None, subject: str) -> None:
        """Name the file; it is read at first use."""
        self.subject = subject
        self.path = None if directory is None else f"{directory}/{seen_name(subject)}"
        self._document: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Return what was seen, empty where nothing was.

        Raises:
            SignatureRefusedError: the file is damaged, so that nobody can tell what was seen.
        """
        if self._document is None:
            self._document = self._read()
        return self._document

    def requires(self, registries: Iterable[str], key: str) -> bool:
        """Tell whether an alias was seen signed in a registry of one of these places and names."""
        required = self.document()["required"]
        return any(key in required.get(registry, ()) for registry in registries)

    def _read(self) -> dict[str, Any]:
        fresh: dict[str, Any] = {"format": FORMAT, "root": self.subject, "required": {}, "aliases": {}}
        if self.path is None:
            return fresh
        try:
            data = files.read_document(self.path, MAX_SEEN)
        except (FileNotFoundError, NotADirectoryError):
            return fresh
        try:
            document = jsontext.loads(data, self.path)
            if document["format"] != FORMAT or document["root"] != self.subject:
                raise IntegrityError(f"{self.path} is corrupt: it is about something else, or of another format")
            _check(document)
        except (RegcliError, KeyError, TypeError, ValueError, AttributeError) as error:
            words = error.message if isinstance(error, RegcliError) else f"{self.path} is corrupt"
            raise SignatureRefusedError(
                f"what was seen of signed aliases cannot be read: {words}",
                hint="restore the file, or start anew with `regcli trust forget`",
            ) from None
        else:
            return dict(document)

    def change(self, context: Context, change: Callable[[dict[str, Any]], None], *, anew: bool = False) -> None:
        """Change the file under its lock; with `anew` one that is damaged is removed instead.

        Raises:
            OSError, StorageError, BusyError: it cannot be. SignatureRefusedError: it is damaged.
        """
        if self.path is None:
            return
        from regcli.store import ownfiles

        with ownfiles.Changing(self.path, wait=context.wait, sleep=context.sleep):
            try:
                document = self._read()
            except SignatureRefusedError:
                if not anew:
                    raise
                # Damaged: forgetting is what the user asks for, and all that can be done.
                self._document = None
                os.unlink(self.path)
                return
            change(document)
            ownfiles.replace(self.path, jsontext.dumps(document).encode() + b"\n", MAX_SEEN)
            self._document = document

    def forget(self, context: Context, registries: Sequence[str], key: str | None) -> set[str]:
        """Forget one alias of a registry's places and names, or all of them; returns those that were known."""
        gone: set[str] = set()

        def change(document: dict[str, Any]) -> None:
            for registry in registries:
                names = document["required"].pop(registry, [])
                left = [name for name in names if key not in (None, name)]
                if left:
                    document["required"][registry] = left
                gone.update(set(names).difference(left))
            # A place has a slash, and a name has none: a registry may be called `registries`.
            below = tuple(f"{registry}/" for registry in registries if "/" in registry)
            for place, known in document["aliases"].items():
                if place.startswith(below):
                    for name in gone:
                        known.pop(name, None)

        if self.path is not None and os.path.exists(self.path):
            self.change(context, change, anew=True)
        return gone


def _check(document: dict[str, Any]) -> None:
    """Raise KeyError, TypeError, ValueError or AttributeError where what was seen is not of the shape that is written."""
    for aliases in document["required"].values():
        if type(aliases) is not list or not set(map(type, aliases)) <= {str}:
            raise ValueError("aliases are malformed")
    for known in document["aliases"].values():
        for mark in known.values():
            if type(mark["counter"]) is not int or type(mark["sha256"]) is not str:
                raise ValueError("a mark is malformed")


class Witness:
    """What was seen of one root.

    Attributes:
        root_id: the root's random id; copies of a root have one witness. path: where it lies, without links.
    """

    __slots__ = ("_here", "_root", "path", "root_id")

    def __init__(self, directory: str | None, root_id: str, path: str) -> None:
        """Name the files; they are read at first use."""
        self.root_id = root_id
        self.path = path
        self._root = _Memory(directory, root_id)
        self._here = _Memory(directory, path_subject(path))

    def requires(self, registry: Registry, key: str) -> bool:
        """Tell whether an alias of a registry was once seen signed, whatever the registry's settings say now.

        A registry is known by its place and by its name: another one under the name has to be as good.
        """
        name = name_key(registry.name)
        return self._root.requires([registry.place, name], key) or self._here.requires([name], key)

    def mark(self, place: str, key: str) -> Mark | None:
        """Return the newest statement that was seen of an alias of a collection, or None.

        Raises:
            SignatureRefusedError: one of the files is damaged.
        """
        self._here.document()
        found: Mark | None = self._root.document()["aliases"].get(place, {}).get(key)
        return found

    def registries(self, key: str | None) -> list[str]:
        """Return the keys of the names of registries in which an alias, or any, was seen signed. Raises as `mark` does."""
        required = [*self._root.document()["required"].items(), *self._here.document()["required"].items()]
        return sorted({name for name, aliases in required if key in (None, *aliases) and "/" not in name})

    def aliases(self, place: str) -> list[str]:
        """Return the keys of the aliases of a collection of which a statement was seen. Raises as `mark` does."""
        return list(self._root.document()["aliases"].get(place, {}))

    def remember(self, context: Context, place: str, ref: str, key: str, mark: Mark) -> None:
        """Keep a statement as the newest that was seen. Where that cannot be, a warning says so.

        `place` and `ref` are of the collection that it is about.
        """
        registry_place = "/".join(place.split("/")[:2])
        name = name_key(ref.partition("/")[0])

        def note(document: dict[str, Any], registries: Iterable[str]) -> None:
            for where in registries:
                names = document["required"].setdefault(where, [])
                if key not in names:
                    names.append(key)

        def note_all(document: dict[str, Any]) -> None:
            known = document["aliases"].setdefault(place, {})
            if key not in known or known[key]["counter"] <= mark["counter"]:
                known[key] = mark
            note(document, (registry_place, name))

        try:
            known = self._root.requires([registry_place], key) and self._root.requires([name], key)
            if not known or self.mark(place, key) != mark:
                self._root.change(context, note_all)
            if not self._here.requires([name], key):
                self._here.change(context, lambda document: note(document, (name,)))
        except (OSError, RegcliError) as error:
            reason = error.message if isinstance(error, RegcliError) else str(error.strerror or error).lower()
            context.warnings.append(f"the signature cannot be remembered, so going back would not be noticed: {reason}")

    def forget(self, context: Context, registry: Registry, key: str | None, former: Iterable[str] = ()) -> list[str]:
        """Forget one alias of a registry, or all of them; returns those that were known.

        Args:
            context: who forgets.
            registry: which one.
            key: of the alias, or None for all.
            former: keys of other names that lead to it.

        Raises:
            StorageError: a file cannot be written.
        """
        names = [name_key(registry.name), *former]
        gone: set[str] = set()
        for memory, registries in ((self._root, [registry.place, *names]), (self._here, names)):
            try:
                gone |= memory.forget(context, registries, key)
            except OSError as error:
                raise files.explain(error, f"cannot write {memory.path}") from error
        return sorted(gone)


def forget_aliases(context: Context, registry: Registry, alias: str | None) -> list[str]:
    """Forget what this user has seen of one alias of a registry, or of all of them; returns those that were known."""
    from regcli.domain.sealing import leads_to

    witness = context.trust.witness(context.root)
    key = None if alias is None else fold(alias)
    try:
        former = [name for name in witness.registries(key) if leads_to(context, name, registry)]
    except SignatureRefusedError:
        # Damaged: all of it is forgotten.
        former = []
    return witness.forget(context, registry, key, former)
