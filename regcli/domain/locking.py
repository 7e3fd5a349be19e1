"""Pins: `lock` writes which versions a project uses, `sync` brings exactly those, all or none.

Rules: spec 4 (`lock`, `sync`) and 5 (a lock is stale once its alias has moved).
"""

from __future__ import annotations

import os

from regcli.domain import roles
from regcli.domain.collections import find_collection, is_live, require_right
from regcli.domain.download import Downloaded, default_directory, download_version
from regcli.domain.lockfile import (
    LOCK_NAME,
    Editing,
    LockFileError,
    Pin,
    clean_directory,
    is_guarded,
    read_lock,
    write_lock,
)
from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import Version, resolve
from regcli.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RegcliError,
    SignatureRefusedError,
    UsageError,
)
from regcli.model import LATEST, fold, parse_reference, quote, quote_some, version_index
from regcli.store.manifest import REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.download import DownloadOptions
    from regcli.store.manifest import Entry

OK = "ok"
STALE = "stale"
MISSING = "missing"
# How many other versions of a collection are looked at for files that an earlier sync left.
_EARLIER = 16
_EARLIER_ENTRIES = 200_000


class PinState:
    """How a pin stands to the root.

    Attributes:
        pin: the entry. state: `ok`, `stale` (the reference means another version now) or `missing` (the locked version
            cannot be had). now: the reference that `pin.reference` means now, or None. message: a sentence.
        refusal: the error, where what it means now is not signed as it must be.
    """

    __slots__ = ("message", "now", "pin", "refusal", "state")

    def __init__(
        self, pin: Pin, state: str, now: str | None, message: str, refusal: SignatureRefusedError | None = None
    ) -> None:
        """Bundle what was found."""
        self.pin = pin
        self.state = state
        self.now = now
        self.message = message
        self.refusal = refusal

    def document(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {**self.pin.document(), "state": self.state, "now": self.now, "message": self.message}


def require_lock(base: str) -> list[Pin]:
    """Return the pins of the lock in a directory.

    Raises:
        NotFoundError: there is no lock.
    """
    pins = read_lock(base)
    if pins is None:
        raise NotFoundError(f"there is no {LOCK_NAME} here", hint="make one with `regcli lock REF`")
    return pins


def canonical_reference(context: Context, text: str) -> str:
    """Return a reference as the lock writes it: the collection in full, and the selector."""
    ref = parse_reference(text, context.project)
    return f"{find_collection(context, ref.collection).ref}:{ref.selector}"


def _pin(context: Context, reference: str, directory: str | None, old: Pin | None) -> Pin:
    """Return the pin of what a reference means now; where it goes stays, unless that was the default."""
    version = _resolve_pin(context, reference, old, action="download")
    if directory is None:
        moves = old is None or old.directory == _default_directory(version, old.version)
        directory = _default_directory(version, version.version) if old is None or moves else old.directory
    extra = old.extra if old is not None else None
    directory = clean_directory(directory, reference)
    selector = parse_reference(reference, context.project).selector
    # By its number or as `latest` the version may have been asked for in one go with a signed alias.
    signed = version.seal is not None and selector.kind == "alias" and fold(selector.text) != LATEST
    return Pin(reference, version.version, version.digest, version.record["size"], directory, extra, signed=signed)


def _resolve_pin(context: Context, reference: str, old: Pin | None, *, action: str) -> Version:
    """Return what a reference means now. What was signed when it was locked has to be, whatever the root demands by now.

    Raises:
        SignatureRefusedError: it is not.
    """
    version = resolve(context, reference, action=action)
    if old is not None and old.signed and version.seal is None:
        from regcli.domain.sealing import take_unsigned

        error = SignatureRefusedError(
            f"{quote(reference)} was signed when it was locked, and is not now",
            hint=f"if that is meant, forget the pin first: `regcli lock --rm {quote(reference)}`",
        )
        take_unsigned(context, error)
    return version


def _default_directory(version: Version, number: str) -> str:
    return default_directory(version).removesuffix(version.version) + number


def lock_references(context: Context, base: str, references: Sequence[str], directory: str | None = None) -> list[Pin]:
    """Add references to the lock in directory `base`, or pin them anew; returns their pins.

    Args:
        context: who asks, and where.
        base: the directory of the lock.
        references: what to pin; each is written in its canonical form.
        directory: where it goes, from the working directory; None for the default or what the lock says already.

    Raises:
        NotFoundError, RoleError: one cannot be resolved; the lock stays as it was.
        LockFileError: the directory lies outside, or another pin has it.
    """
    if directory is not None and len(references) > 1:
        raise UsageError("one directory cannot hold several versions", hint="lock them one by one, each with its own -o")
    place = None if directory is None else _relative(base, directory)
    with Editing(base, context.wait):
        pins = {pin.reference: pin for pin in read_lock(base) or []}
        done = []
        for text in references:
            reference = canonical_reference(context, text)
            pins[reference] = _pin(context, reference, place, pins.get(reference))
            done.append(pins[reference])
        _write(base, pins)
    return done


def _relative(base: str, directory: str) -> str:
    """Return a directory as the lock writes it; an absolute one may lie below the lock."""
    path = os.path.relpath(os.path.abspath(directory), os.path.abspath(base)) if os.path.isabs(directory) else directory
    return path.replace("\\", "/") if os.name == "nt" else path


def _write(base: str, pins: dict[str, Pin]) -> bool:
    places: dict[str, Pin] = {}
    for pin in pins.values():
        other = places.setdefault(pin.directory.casefold(), pin)
        if other is not pin:
            raise ConflictError(
                f"{quote(pin.reference)} and {quote(other.reference)} would share the directory {quote(pin.directory)}",
                hint="choose another with -o DIR",
            )
    return write_lock(base, pins.values())


def update_lock(context: Context, base: str, references: Sequence[str] = ()) -> list[tuple[Pin, Pin]]:
    """Pin anew what the lock has, or only some of it; returns (before, after) of each pin that changed.

    Raises:
        NotFoundError: there is no lock, it does not have that reference, or one cannot be resolved any more; nothing
            was written.
    """
    with Editing(base, context.wait):
        pins = {pin.reference: pin for pin in require_lock(base)}
        chosen = [_find_pin(context, pins, text) for text in references] or list(pins.values())
        changes = []
        for old in chosen:
            new = _pin(context, old.reference, None, old)
            pins[old.reference] = new
            if new.document() != old.document():
                changes.append((old, new))
        if changes:
            _write(base, pins)
    return changes


def remove_pins(context: Context, base: str, references: Sequence[str]) -> list[Pin]:
    """Take references out of the lock, whether or not they mean anything still; what was synced stays where it is.

    Raises:
        NotFoundError: there is no lock, or it does not have one of them; nothing was written.
    """
    with Editing(base, context.wait):
        pins = {pin.reference: pin for pin in require_lock(base)}
        gone = {pin.reference: pin for pin in (_find_pin(context, pins, text) for text in references)}
        _write(base, {reference: pin for reference, pin in pins.items() if reference not in gone})
    return list(gone.values())


def _find_pin(context: Context, pins: dict[str, Pin], text: str) -> Pin:
    if text in pins:
        return pins[text]
    reference = canonical_reference(context, text)
    if reference not in pins:
        raise NotFoundError(
            f"{LOCK_NAME} does not have {quote(reference)}",
            hint=f"it has: {', '.join(pins) or 'nothing'}",
        )
    return pins[reference]


def find_pinned(context: Context, pin: Pin) -> Version:
    """Return the version that a pin names: that number with that digest, else one of its collection with that digest.

    Raises:
        NotFoundError: the version is gone. IntegrityError: the number has another digest now. RoleError: no access.
    """
    ref = parse_reference(pin.reference, context.project)
    collection = find_collection(context, ref.collection)
    require_right(context, collection, "download")
    index = version_index(pin.version)
    record = collection.snapshot.records.get(index) if index is not None else None
    if index is not None and record is not None and is_live(record) and record["digest"] == pin.digest:
        return Version(collection, index, record)
    for other, candidate in collection.versions():
        # Numbers differ where a collection came here by another way; the digest says that it is the same.
        if candidate["digest"] == pin.digest:
            return Version(collection, other, candidate)
    where = f"{collection.ref}:{pin.version}"
    if record is not None and is_live(record):
        raise IntegrityError(
            f"{quote(where)} has digest {record['digest']}, but {LOCK_NAME} has {pin.digest}",
            hint="the lock was made with another root, or altered; pin it anew with `regcli lock --update`",
        )
    raise NotFoundError(
        f"the locked version {quote(where)} is gone", hint="`regcli undelete` brings it back; or `regcli lock --update`"
    )


def check_pin(context: Context, pin: Pin) -> PinState:
    """Tell how one pin stands to the root."""
    try:
        locked = find_pinned(context, pin)
    except RegcliError as error:
        return PinState(pin, MISSING, None, error.message)
    try:
        now = _resolve_pin(context, pin.reference, pin, action="view")
    except RegcliError as error:
        return PinState(pin, STALE, None, error.message, error if isinstance(error, SignatureRefusedError) else None)
    if now.digest != pin.digest or (now.version != pin.version and locked.version == pin.version):
        return PinState(pin, STALE, now.ref, f"{pin.reference} is {now.version} now, the lock has {pin.version}")
    return PinState(pin, OK, now.ref, f"{pin.reference} is {pin.version}")


def check_lock(context: Context, pins: Iterable[Pin]) -> list[PinState]:
    """Return how each pin stands to the root; all of them, never only the first that is wrong."""
    return [check_pin(context, pin) for pin in pins]


class Staged:
    """A pin, found and checked, and what bringing it will do."""

    __slots__ = ("directory", "entries", "outdated", "pin", "version")

    def __init__(self, pin: Pin, version: Version, entries: list[Entry], directory: str) -> None:
        """Bundle what was found."""
        self.pin = pin
        self.version = version
        self.entries = entries
        self.directory = directory
        self.outdated: list[str] = []


def sync(
    context: Context, base: str, options: DownloadOptions, *, frozen: bool = False, force: bool = False
) -> list[tuple[Pin, Downloaded]]:
    """Bring exactly the locked versions. All is found and checked before the first file is written.

    Files that stand in the way and are stored nowhere are refused (`force` overwrites them). A file that another version
    of the same collection has at its path is removed when the locked one does not have it; all other files stay.

    Raises:
        NotFoundError, IntegrityError, RoleError: a locked version cannot be had; nothing was written.
        SignatureRefusedError: an alias is not, or was never, signed as it must be; nothing was written.
        ConflictError: `frozen`, and a reference has moved. RefusedError: local changes would be lost; nothing was written.
    """
    pins = require_lock(base)
    if frozen:
        _refuse_stale(check_lock(context, pins))
    staged = [_stage(context, base, pin) for pin in pins]
    _require_blobs(context, staged)
    lost = []
    for item in staged:
        lost += [f"{item.pin.directory}/{path}" for path in _survey(context, item, options)]
    if lost and not force:
        raise RefusedError(
            f"local changes that are stored nowhere would be lost: {quote_some(lost)}",
            hint="log them first, or give --force to lose them",
        )
    return [(item.pin, _bring(context, item, options)) for item in staged]


def _refuse_stale(states: list[PinState]) -> None:
    wrong = [state for state in states if state.state != OK]
    for state in wrong:
        if state.refusal is not None:
            raise state.refusal
    if any(state.state == MISSING for state in wrong):
        raise NotFoundError("; ".join(state.message for state in wrong), hint="pin what is there with `regcli lock --update`")
    if wrong:
        # What means nothing any more can only be taken out.
        has_gone = any(state.now is None for state in wrong)
        raise ConflictError(
            f"{LOCK_NAME} is stale: {'; '.join(state.message for state in wrong)}",
            hint="take pins out with `regcli lock --rm REF`, or leave out --frozen"
            if has_gone
            else "take the new versions with `regcli lock --update`, or leave out --frozen",
        )


def _stage(context: Context, base: str, pin: Pin) -> Staged:
    version = find_pinned(context, pin)
    hold_to_signature(context, version, pin)
    entries = read_manifest(context, version.record)
    directory = _target(context, base, pin)
    for entry in entries:
        # Beyond ASCII are characters that some file systems do not see.
        if not entry[0].isascii() or any(name in entry[0].casefold() for name in (".git", "git~1", ".regcli", LOCK_NAME)):
            _refuse_guarded(pin, entry[0])
    return Staged(pin, version, entries, directory)


def hold_to_signature(context: Context, version: Version, pin: Pin) -> None:
    """Where a pin's alias must be signed, or was when it was locked, demand that a trusted signer once set it to this version.

    Raises:
        SignatureRefusedError: nobody did, so that the lock or the root was made up.
    """
    selector = parse_reference(pin.reference, context.project).selector
    registry = version.collection.registry
    if not pin.signed:
        if registry is None or selector.kind != "alias" or selector.text == LATEST:
            return
        if not roles.is_signed(registry.state, selector.text) and not context.trust.has_seen(context.root):
            return
    from regcli.domain.sealing import hold_pin_to_signature, needs_check

    if pin.signed or needs_check(context, version.collection, selector.text):
        hold_pin_to_signature(context, version, selector.text, selector.back)


def _refuse_guarded(pin: Pin, path: str) -> None:
    if is_guarded(path):
        raise RefusedError(
            f"{quote(pin.reference)} has the file {quote(path)}, which git or regcli would obey",
            hint="bring it with `regcli download` to a place of its own",
        )


def _target(context: Context, base: str, pin: Pin) -> str:
    """Return where a pin goes, as a path without links.

    Raises:
        LockFileError: a link on the way leads out of the project, into `.git`, or into the root.
    """
    top = os.path.realpath(base)
    # The default has a colon where file names may have one; the same lock serves all systems.
    directory = pin.directory.replace(":", "-") if os.name == "nt" else pin.directory
    path = os.path.realpath(os.path.join(top, *directory.split("/")))
    inside = os.path.relpath(path, top).replace(os.sep, "/")
    root = os.path.realpath(context.root.path)
    if inside == ".." or inside.startswith("../") or os.path.isabs(inside) or is_guarded(inside):
        raise LockFileError(
            f"directory {quote(pin.directory)} of {quote(pin.reference)} leads out of the project by a link",
            hint="remove the link, or bring the version with `regcli download`",
        )
    if path == root or path.startswith(root + os.sep):
        raise LockFileError(f"directory {quote(pin.directory)} of {quote(pin.reference)} lies in the root itself")
    return path


def _require_blobs(context: Context, staged: list[Staged]) -> None:
    wanted = {entry[1]: (item, entry[0]) for item in staged for entry in item.entries if entry[3] != REFERENCE}
    missing = wanted.keys() - context.root.content.have(wanted)
    if missing:
        item, path = wanted[min(missing)]
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise IntegrityError(
            f"the content of {quote(path)} of {item.version.ref} is missing from the store{more}",
            hint="run `regcli verify` to see all damage",
        )


def _survey(context: Context, item: Staged, options: DownloadOptions) -> list[str]:
    from regcli.store.overwrite import survey

    found = survey(context.root.content, item.entries, item.directory, earlier=_earlier(context, item), cache=options.cache)
    item.outdated = found.outdated
    return found.lost


def _earlier(context: Context, item: Staged) -> dict[str, set[tuple[str, int]]]:
    """Return the files of other versions of the collection, of which an earlier sync may have left some."""
    known: dict[str, set[tuple[str, int]]] = {}
    if not os.path.isdir(item.directory):
        return known
    seen = {item.version.record["manifest"]}
    budget = _EARLIER_ENTRIES
    for _, record in item.version.collection.versions():
        if len(seen) > _EARLIER or budget <= 0:
            break
        if record["manifest"] in seen:
            continue
        seen.add(record["manifest"])
        try:
            entries = read_manifest(context, record)
        except RegcliError:
            # A damaged version is none of this one's business.
            continue
        budget -= len(entries)
        for path, digest, size, flags, _ in entries:
            if flags != REFERENCE:
                known.setdefault(path, set()).add((digest, size))
    return known


def _bring(context: Context, item: Staged, options: DownloadOptions) -> Downloaded:
    from regcli.store.compare import remove_files

    done = download_version(context, item.version, item.entries, item.directory, options)
    if item.outdated:
        remove_files(item.directory, item.outdated)
        done.removed += len(item.outdated)
    return done
