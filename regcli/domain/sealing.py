"""Reading a signed alias: everything that a signature can prove is proven, or the alias is refused (exit 5).

The signer must be on a list that lies outside of the root; the statement must be about exactly this root, collection, alias and
version; it must not be older than what this user has seen, nor expired. See `regcli help signing`.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.resolving import CONTENT
from regcli.domain.statements import CLEAR, SET, Signed, about, parse_signed, same_alias
from regcli.errors import IntegrityError, RegcliError, SignatureRefusedError, StorageError
from regcli.model import fold, quote
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.registries import Registry
    from regcli.domain.resolving import Version
    from regcli.store.manifest import Entry
    from regcli.store.proofs import Proofs

    State = dict[str, Any]

# A clock may be wrong by this many seconds before a signature counts as one of the future.
_CLOCKS_DIFFER = 86400
_EXPIRES_SOON = 14 * 86400


class Seal:
    """What a signature vouches for: the version's content, file by file.

    Attributes:
        alias: the reference that was asked for. signer: who signed. statement: all that was signed.
    """

    __slots__ = ("alias", "signer", "statement")

    def __init__(self, alias: str, statement: dict[str, Any]) -> None:
        """Take a statement that was proven."""
        self.alias = alias
        self.signer: str = statement["signer"]
        self.statement = statement

    def document(self) -> dict[str, str]:
        """Return the promised JSON fields."""
        issued, expires = self.statement["issued"], self.statement["expires"]
        return {"alias": self.alias, "signer": self.signer, "issued_at": issued, "expires_at": expires}


def needs_check(context: Context, collection: Collection, alias: str) -> bool:
    """Tell whether an alias has to be signed: the settings say so, or this user has seen it signed before.

    Seen in this registry, or in one whose name leads to this registry by now, whatever it calls itself.
    """
    if collection.registry is None:
        return False
    if roles.is_signed(collection.registry.state, alias):
        return True
    try:
        witness = context.trust.witness(context.root)
        return witness.requires(collection.registry, fold(alias)) or any(
            leads_to(context, name, collection.registry) for name in witness.registries(fold(alias))
        )
    except SignatureRefusedError as error:
        take_unsigned(context, error)
        return False


def leads_to(context: Context, name: str, registry: Registry) -> bool:
    """Tell whether somebody who writes the name, or one that means the same, gets to the registry."""
    from regcli.domain.registries import SYNONYMS, open_registry_directory, redirected
    from regcli.store.layout import encode_name

    for spelled in (name, *(synonym for synonym, meant in SYNONYMS.items() if meant == name)):
        try:
            found = open_registry_directory(context, encode_name(spelled))
            if (redirected(context, found) or found).base == registry.base:
                return True
        except RegcliError:
            # A name that leads nowhere does not lead here.
            continue
    return False


def take_unsigned(context: Context, error: SignatureRefusedError) -> None:
    """Raise the error, or, where `--allow-unsigned` was typed, tell of it before anything is done with what is taken."""
    if not context.trust.allow_unsigned:
        raise error
    (context.trust.tell or context.warnings.append)(f"taken without a valid signature: {error.message}")


def hold_to_signature(context: Context, version: Version, alias: str, back: int) -> None:
    """Check the signature of the alias that led to a version, and note on the version what it vouches for.

    Raises:
        SignatureRefusedError: something is not as it must be, and `--allow-unsigned` was not typed.
    """
    what = f"{version.collection.ref}:{alias}"
    try:
        if back:
            raise SignatureRefusedError(
                f"{quote(f'{what}~{back}')} is not what was signed", hint="name the version that you mean as :vN"
            )
        signed = check_alias(context, version.collection, alias, version.index, version.record)
    except SignatureRefusedError as error:
        take_unsigned(context, error)
        return
    seal = Seal(what, signed.statement)
    version.seal = seal
    context.trust.seals[version.collection.place, version.index] = seal


def hold_pin_to_signature(context: Context, version: Version, alias: str, back: int) -> None:
    """Check that a trusted signer once set the alias to the version of a pin, which may have been moved since.

    A lock keeps on purpose what an alias meant once: neither age nor a newer statement counts against it.

    Raises:
        SignatureRefusedError: nobody did, and `--allow-unsigned` was not typed.
    """
    try:
        if back:
            raise SignatureRefusedError(f"a pin of {alias}~{back} is not what was signed", hint="lock the version as :vN")
        signed = _find_statement(context, version, alias)
    except SignatureRefusedError as error:
        take_unsigned(context, error)
        return
    version.seal = Seal(f"{version.collection.ref}:{alias}", signed.statement)


def _find_statement(context: Context, version: Version, alias: str) -> Signed:
    refusal = SignatureRefusedError(
        f"alias {quote(alias)} must be signed, and no signed statement sets it to {version.ref}",
        hint="take what it means now with `regcli lock --update`",
    )
    for commit, _ in version.collection.chain.commits():
        for op in commit["ops"]:
            if not isinstance(op, dict) or op.get("op") != "alias" or "signature" not in op or op.get("after") != version.index:
                continue
            if fold(str(op.get("alias"))) != fold(alias):
                continue
            try:
                return check_alias(context, version.collection, alias, version.index, version.record, stored=op["signature"])
            except SignatureRefusedError as error:
                refusal = error
    raise refusal


def recall_seal(context: Context, version: Version) -> None:
    """Hold a version that was found by its number to what was signed, where this process came to it by a signed alias."""
    seal = context.trust.seals.get((version.collection.place, version.index))
    if seal is None or seal.statement["root"] != context.root.id:
        return
    if _differs_at(version, seal.statement) is not None:
        raise SignatureRefusedError(f"{version.ref} changed while it was used: it is no longer what was signed")
    version.seal = seal


def _differs(record: dict[str, Any], index: int, statement: dict[str, Any]) -> str | None:
    for key, value in about(record, index).items():
        if statement[key] != value:
            return key
    return None


def _differs_at(version: Version, statement: dict[str, Any]) -> str | None:
    """Compare a version with what was signed of it, of its source, or of another link of that."""
    record = version.record
    if "source" not in record:
        return _differs_from_source(record, version.index, statement)
    if version.collection.place == statement["collection"]["place"]:
        return _differs(record, version.index, statement)
    return next((key for key in CONTENT if statement[key] != record[key]), None)


def _differs_from_source(record: dict[str, Any], index: int, statement: dict[str, Any]) -> str | None:
    """Compare the record that a signed link has been made of, which was signed with it."""
    source = statement["source"]
    if source is None or source["version"] != index or statement["version_id"] != record["id"]:
        return "source"
    return next((key for key in CONTENT if statement[key] != record[key]), None)


def check_alias(
    context: Context,
    collection: Collection,
    alias: str,
    index: int | None,
    record: dict[str, Any] | None,
    *,
    stored: Any = None,
) -> Signed:
    """Prove that an alias was set to this version (or cleared, with None) by a trusted signer; remembers what was seen.

    Args:
        context: who asks, and where.
        collection: with its registry.
        alias: which one.
        index: the version that it leads to, or None.
        record: of that version, or None.
        stored: a statement of the log to prove instead of the newest; then only who signed and what counts, not when.

    Raises:
        SignatureRefusedError: says what is wrong.
    """
    what = f"alias {quote(alias)} of {quote(collection.ref)}"
    old = stored is not None
    value = stored if old else collection.state.get("signed", {}).get(fold(alias))
    if value is None:
        raise SignatureRefusedError(
            f"{what} must be signed, and is not", hint="whoever may sign it sets it again with `regcli alias add`"
        )
    signed = parse_signed(value, what)
    _check_subject(context, collection, alias, signed, what, index, record)
    registry = collection.registry
    if registry is None:
        raise SignatureRefusedError(f"{what} is not in a registry")
    witness = context.trust.witness(context.root)
    known = None if old else witness.mark(collection.place, fold(alias))
    # The time comes last: only what nobody made up or brought back may tell a signer what to sign again.
    proof = check_signer(context, signed, what, known)
    if old:
        return signed
    _check_counter(signed, known, what)
    if signed.statement["settings_seq"] > registry.snapshot.seq:
        raise SignatureRefusedError(
            f"the settings of registry {quote(registry.name)} went back behind what {what} was signed under",
            hint="restore the root from a newer copy",
        )
    _check_time(context, signed, what, collection, alias)
    mark = {"counter": signed.counter, "sha256": signed.sha256, "action": signed.statement["action"], "proof": proof}
    witness.remember(context, collection.place, collection.ref, fold(alias), mark)
    return signed


def _check_subject(
    context: Context,
    collection: Collection,
    alias: str,
    signed: Signed,
    what: str,
    index: int | None,
    record: dict[str, Any] | None,
) -> None:
    statement = signed.statement
    named = statement["collection"]
    if statement["root"] != context.root.id:
        raise SignatureRefusedError(f"the signature of {what} was made for another root")
    if named["place"] != collection.place or named["id"] != collection.state["id"] or not same_alias(statement, alias):
        raise SignatureRefusedError(f"the signature of {what} was made for another alias or collection")
    if fold(named["name"]) != fold(collection.ref):
        raise SignatureRefusedError(
            f"{what} was signed when the collection was called {quote(named['name'])}",
            hint="whoever may sign it sets it again with `regcli alias add`",
        )
    if record is None or index is None:
        if statement["action"] != CLEAR:
            raise SignatureRefusedError(f"{what} is gone, but its last signature sets it")
        return
    wrong = "action" if statement["action"] != SET else _differs(record, index, statement)
    if wrong is not None:
        raise SignatureRefusedError(
            f"{what} leads to v{index}, which is not what was signed: {wrong.replace('_', ' ')} differs",
            hint="somebody wrote to the root by hand; `regcli history` shows who set the alias",
        )


def _check_time(context: Context, signed: Signed, what: str, collection: Collection, alias: str) -> None:
    from regcli.domain.context import format_time

    statement = signed.statement
    now = context.clock()
    # All are RFC 3339 in UTC with the same digits, so that they compare as text.
    # An alias that is gone stays gone: only what is set can grow stale.
    if statement["action"] == SET and statement["expires"] <= format_time(now):
        raise SignatureRefusedError(
            f"the signature of {what} expired on {statement['expires'][:10]}",
            hint="whoever may sign it sets it again with"
            f" `regcli alias add {quote(collection.version_ref(statement['version']))} {quote(alias)}`",
        )
    if statement["issued"] > format_time(now + _CLOCKS_DIFFER):
        raise SignatureRefusedError(f"the signature of {what} is of the future, {statement['issued']}: a clock is wrong")
    if statement["expires"] <= format_time(now + _EXPIRES_SOON) and statement["action"] == SET:
        context.warnings.append(f"the signature of {what} expires on {statement['expires'][:10]}")


def _check_counter(signed: Signed, known: dict[str, Any] | None, what: str) -> None:
    if known is None:
        return
    if signed.counter < known["counter"]:
        raise SignatureRefusedError(
            f"{what} went back: it has statement {signed.counter}, but statement {known['counter']} was seen before",
            hint="restore the root from a newer copy; `regcli trust forget` accepts an older one on purpose",
        )
    if signed.counter == known["counter"] and signed.sha256 != known["sha256"]:
        raise SignatureRefusedError(f"{what} has two signed statements with number {signed.counter}: its history was forked")
    if signed.counter == known["counter"] + 1 and signed.statement["previous"] != known["sha256"]:
        raise SignatureRefusedError(
            f"the statement of {what} does not follow the one that was seen before: its history was forked"
        )


def check_signer(context: Context, signed: Signed, what: str, known: dict[str, Any] | None = None) -> str | None:
    """Let `ssh-keygen` decide; what it approved once for the same lists is not asked again. Returns a proof of approval.

    Raises:
        SignatureRefusedError: no trusted signer made the signature.
    """
    import os

    from regcli.domain.signers import read_signers_file
    from regcli.domain.sshkeys import check_signature

    trust = context.trust
    lists = [(path, data) for path in (trust.signers_path, trust.system_path) if (data := read_signers_file(path)) is not None]
    if not lists:
        raise SignatureRefusedError(
            f"{what} is signed, but you trust no signers yet", hint="`regcli trust add PRINCIPAL KEY.pub` names one"
        )
    revoked = trust.revoked_path if trust.revoked_path is not None and os.path.exists(trust.revoked_path) else None
    proof = _proof_of(signed, [data for _, data in lists], revoked)
    if proof is not None and known is not None and known.get("proof") == proof:
        return proof
    reasons = []
    for path, _ in lists:
        reason = check_signature(
            path or "", signed.statement["signer"], signed.text.encode(), signed.signature.encode(), revoked
        )
        if reason is None:
            return proof
        reasons.append(reason)
    raise SignatureRefusedError(
        f"the signature of {what} by {quote(signed.statement['signer'])} is not valid: {reasons[0]}",
        hint="`regcli trust ls` shows whose signatures are believed",
    )


def _proof_of(signed: Signed, lists: list[bytes], revoked: str | None) -> str | None:
    """Return a hash of all that an approval rests on; None where time decides too."""
    from regcli.store import files

    joined = b"\n".join(lists)
    lowered = joined.lower()
    if b"valid-" in lowered or b"cert-authority" in lowered:
        return None
    if revoked is not None:
        try:
            joined += files.read_document(revoked)
        except (OSError, IntegrityError):
            return None
    parts = (signed.text.encode(), signed.signature.encode(), joined)
    return sha256_hex(b"".join(len(part).to_bytes(8, "big") + part for part in parts))


def check_absence(context: Context, collection: Collection, alias: str) -> None:
    """Tell an alias that was cleared by a signer from one that was taken away by hand; remembers the clearing.

    Raises:
        SignatureRefusedError: it was seen set, and no trusted signer cleared it.
    """
    if context.trust.allow_unsigned:
        return
    known = None
    try:
        known = context.trust.witness(context.root).mark(collection.place, fold(alias))
        if known is not None or fold(alias) in collection.state.get("signed", {}):
            check_alias(context, collection, alias, None, None)
    except SignatureRefusedError as error:
        if known is None:
            # Nobody here has ever seen it set; that it is not there is all there is to say.
            return
        raise SignatureRefusedError(
            f"alias {quote(alias)} of {quote(collection.ref)} is gone without a valid signature: {error.message}",
            hint=error.hint,
        ) from None


def proofs_of(context: Context, version: Version, entries: list[Entry] | None = None) -> Proofs | None:
    """Return what each file of a signed version must be, or None for one that nobody vouched for.

    Raises:
        SignatureRefusedError: the stored content is not what was signed.
    """
    if version.seal is None:
        return None
    from regcli.domain.manifests import read_manifest
    from regcli.store.proofs import digest_of, measure, parse_list

    content = context.root.content
    if entries is None:
        entries = read_manifest(context, version.record)
    manifest = content.read(version.record["manifest"])
    wanted = version.seal.statement["files"]
    try:
        data = content.read(wanted["list"])
    except (IntegrityError, StorageError):
        data = b""
    if digest_of(data).hex() != wanted["blake3"]:
        # The list is derived: without it everything is hashed once more.
        data = measure(content, manifest, entries)
    proofs = parse_list(data, manifest, entries, version.ref)
    if proofs is None or digest_of(data).hex() != wanted["blake3"]:
        raise SignatureRefusedError(
            f"the content of {version.ref} is not what {quote(version.seal.signer)} signed: BLAKE3 differs",
            hint="somebody swapped the stored content on purpose; restore the root from a copy you trust",
        )
    return proofs
