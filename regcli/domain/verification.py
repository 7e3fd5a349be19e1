"""Verify: all problems of a root, of a version's content, or of a directory against its manifest."""

from __future__ import annotations

import os

from regcli.domain.collections import LINK, PURGED, chain_of, is_live, list_collections
from regcli.domain.log_checks import check_chain, check_markers, check_run
from regcli.domain.manifests import read_manifest
from regcli.domain.report import Problem, Report
from regcli.domain.resolving import resolve
from regcli.domain.vanished import Witnesses
from regcli.errors import MissingBlobError, NotFoundError, RegcliError, SignatureRefusedError, StorageError, UsageError
from regcli.store import backrefs, files
from regcli.store.blobs import blob_path
from regcli.store.content import Content
from regcli.store.layout import collection_paths, is_part_of_root, project_paths, run_paths
from regcli.store.manifest import REFERENCE, Decoder
from regcli.store.parallel import begin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry
    from regcli.domain.resolving import Version
    from regcli.store.chain import Chain

    T = TypeVar("T")
    # Reference, file, and the size that the manifest says; none for a manifest itself.
    Claim = tuple[str, str, int | None]


def verify_directory(context: Context, text: str, directory: str) -> Report:
    """Compare a directory with a version, reading every file again.

    Raises:
        NotFoundError: no such version or directory. UsageError: the directory has no name.
    """
    from regcli.domain.sealing import proofs_of
    from regcli.store.compare import compare_directory

    if not directory:
        raise UsageError("the name of the directory is empty", hint="`.` is the current one")
    version = resolve(context, text)
    path = os.path.abspath(directory)
    if not os.path.isdir(path):
        raise NotFoundError(f"there is no directory {path}")
    entries = read_manifest(context, version.record)
    report = Report()
    report.versions = 1
    report.files = len(entries)
    report.bytes = sum(entry[2] for entry in entries)
    problems = compare_directory(context.root.content, entries, path, proofs=proofs_of(context, version, entries))
    if any(entry[3] == REFERENCE for entry in entries):
        from regcli.domain.fetching import compare_references

        problems = sorted(problems + compare_references(entries, path), key=lambda problem: problem[1])
    for kind, where, message in problems:
        report.problems.append(Problem(kind, where, message, version.ref))
    return report


def verify_version(context: Context, text: str, *, quick: bool = False) -> Report:
    """Check the stored content of one version.

    Args:
        context: who asks, and where.
        text: a reference.
        quick: only that everything is there with the right size.
    """
    version = resolve(context, text)
    report = verify_records(context, {version.ref: version.record}, quick=quick)
    if version.seal is not None and report.ok:
        check_signed_content(context, version)
    return report


def check_signed_content(context: Context, version: Version) -> None:
    """Hash the stored content of a signed version with BLAKE3, also with `--quick`: a signature is about the bytes.

    Raises:
        SignatureRefusedError: naming every file that was swapped for one of the same XXH3-128.
    """
    from regcli.domain.sealing import proofs_of

    entries = read_manifest(context, version.record)
    proofs = proofs_of(context, version, entries)
    if proofs is None:
        return
    names = {entry[1]: entry[0] for entry in entries if not entry[3] & REFERENCE}
    swapped = proofs.swapped(context.root.content, names)
    if swapped:
        raise proofs.refusal([names[digest] for digest in swapped])


def verify_records(context: Context, versions: dict[str, dict[str, Any]], *, quick: bool = False) -> Report:
    """Check the stored content of versions that were resolved already: reference -> record."""
    report = Report()
    _check_content(context, report, versions, quick=quick, everything=False)
    return report


def _check_content(
    context: Context, report: Report, versions: dict[str, dict[str, Any]], *, quick: bool, everything: bool
) -> None:
    """Check manifests and blobs of the versions, and with `everything` all other stored content too."""
    content = context.root.content
    if everything:
        # All stored bytes are hashed whatever the manifests say, so that begins before they are read.
        damage = begin(lambda: _damage_in_all(content.root, quick=quick))
        wanted, others = _read_manifests(context, report, versions)
        _compare(content, report, wanted, others, damage())
    else:
        wanted, others = _read_manifests(context, report, versions)
        _compare(content, report, wanted, others, content.check(quick=quick, only=set(wanted)))


def _damage_in_all(root: str, *, quick: bool) -> list[tuple[str, str, str | None, str]]:
    # With an index of its own: the other thread reads manifests meanwhile.
    with Content(root) as content:
        return list(content.check(quick=quick))


def _read_manifests(
    context: Context, report: Report, versions: dict[str, dict[str, Any]]
) -> tuple[dict[str, Claim], list[tuple[str, Claim]]]:
    """Return what the versions need, by digest, and what is said otherwise elsewhere; reports unreadable manifests."""
    wanted: dict[str, Claim] = {}
    others: list[tuple[str, Claim]] = []
    read = set()
    decoder = Decoder()
    for ref, record in versions.items():
        report.versions += 1
        address = record["manifest"]
        if address in read:
            continue
        read.add(address)
        wanted.setdefault(address, (ref, "manifest", None))
        try:
            entries = read_manifest(context, record, decoder)
        except RegcliError as error:
            kind = "missing" if isinstance(error, MissingBlobError) else "corrupt"
            words = f"the list of files of {ref} cannot be read: {error.message}"
            report.problems.append(Problem(kind, address, words, ref, address))
            continue
        for name, blob, size, flags, _ in entries:
            if flags & REFERENCE:
                continue
            claim = wanted.get(blob)
            if claim is None:
                wanted[blob] = ref, name, size
            elif claim[2] != size:
                others.append((blob, (ref, name, size)))
    return wanted, others


def _lies(claim: Claim, stored: int | None) -> bool:
    return stored is not None and claim[2] is not None and claim[2] != stored


def _look_up(
    content: Content, report: Report, wanted: dict[str, Claim], others: list[tuple[str, Claim]]
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the sizes of what is stored, and what is wrong with blobs that cannot be looked for."""
    unreadable: dict[str, str] = {}
    sizes = content.sizes(wanted, unreadable)
    if len(sizes) < len(wanted) or any(
        _lies(claim, sizes.get(address)) for claims in (wanted.items(), others) for address, claim in claims
    ):
        # An index file may be wrong though its checksums are right; the packs themselves say what is in them.
        content.index.distrust()
        unreadable.clear()
        sizes = content.sizes(wanted, unreadable)
    if len(sizes) + len(unreadable) < len(wanted):
        # What a sweep put into the trash is fetched back when somebody asks for it by name.
        try:
            recalled = content.have([address for address in wanted if address not in sizes and address not in unreadable])
            sizes |= content.sizes(recalled, unreadable)
        except StorageError as error:
            report.problems.append(Problem("corrupt", f"{content.root}/trash", error.message))
    return sizes, unreadable


def _compare(
    content: Content,
    report: Report,
    wanted: dict[str, Claim],
    others: list[tuple[str, Claim]],
    damage: Iterable[tuple[str, str, str | None, str]],
) -> None:
    """Report what is damaged, missing, or of another size than its manifest says."""
    known = {problem.digest for problem in report.problems if problem.digest is not None}
    sizes, unreadable = _look_up(content, report, wanted, others)
    bad: set[str] = set()
    for kind, path, digest, message in damage:
        if digest is not None:
            bad.add(digest)
        if digest in known:
            continue
        user = wanted.get(digest or "")
        words = f"{message} (it is {user[1]} of {user[0]})" if user is not None else message
        report.problems.append(Problem(kind, path, words, user[0] if user is not None else None, digest))
    for address, (ref, name, _) in wanted.items():
        if address in bad or address in known:
            continue
        if address in unreadable:
            words = f"{unreadable[address]} (it is {name} of {ref})"
            report.problems.append(Problem("corrupt", blob_path(content.root, address), words, ref, address))
        elif address not in sizes:
            report.problems.append(Problem("missing", name, f"the content of {name} is missing (blob {address})", ref, address))
    for claims in (wanted.items(), others):
        for address, claim in claims:
            if not _lies(claim, sizes.get(address)) or address in bad or address in known:
                continue
            ref, name, size = claim
            words = f"the manifest of {ref} says that {name} has {size} bytes, but blob {address} has {sizes[address]}"
            report.problems.append(Problem("corrupt", name, words, ref, address))
    report.files += len(wanted)
    report.bytes += sum([size for address, size in sizes.items() if address not in bad])


def verify_root(context: Context, *, quick: bool = False) -> Report:
    """Check everything: every commit of every log, every derived file, every blob.

    Args:
        context: who asks, and where.
        quick: blobs only by presence and size; logs in full all the same.
    """
    report = Report()
    versions: dict[str, dict[str, Any]] = {}
    places: dict[str, tuple[Chain, int]] = {}
    witnesses = Witnesses(context.root.path)
    damaged = False
    unlisted: list[Problem] = []
    for chain, collection_base, registry_base in _chains(context, unlisted):
        snapshot = check_chain(report, chain, witnesses)
        if snapshot is None:
            damaged = True
            continue
        check_markers(context, report, snapshot, chain)
        if collection_base is None:
            check_run(report, versions, snapshot, chain)
            continue
        state = snapshot.state
        owner = os.path.basename(registry_base) if registry_base else f"{state['entity']}/{state['project']}"
        for index, record in snapshot.records.ascending():
            if record["state"] == PURGED or (state["kind"] == LINK and not is_live(record)):
                continue
            if state["kind"] == LINK:
                witnesses.note(record["source"]["place"], f"{chain.place} has links to it")
            ref = f"{owner}/{state['name']}:v{index}"
            versions[ref] = record
            places[ref] = (chain, index)
    if unlisted:
        damaged = True
        report.problems += unlisted
    _hear_markers(context, report, witnesses, mend=not damaged)
    witnesses.hear_memory(context, report)
    witnesses.report(report)
    if not damaged:
        _check_signatures(context, report)
    _check_content(context, report, versions, quick=quick, everything=True)
    report.problems = [problem for problem in report.problems if not _went_meanwhile(problem, places)]
    _check_foreign(context, report)
    return report


def _hear_markers(context: Context, report: Report, witnesses: Witnesses, *, mend: bool) -> None:
    try:
        if mend:
            # What something points from was written again before; what is damaged still points from nowhere.
            backrefs.remove_damaged(context.root.path, witnesses.hear_marker)
            return
        for _, marker in backrefs.all_markers(context.root.path):
            if marker is not None:
                witnesses.hear_marker(*marker)
    except RegcliError as error:
        report.problems.append(Problem("index", f"{context.root.path}/backrefs", error.message))


def _went_meanwhile(problem: Problem, places: dict[str, tuple[Chain, int]]) -> bool:
    """Tell whether a problem is about a version that `gc` purged, or that was unlinked, since its log was read."""
    place = places.get(problem.ref or "")
    if place is None or problem.kind not in ("missing", "corrupt"):
        return False
    snapshot = place[0].read()
    record = snapshot.records.get(place[1])
    if record is None:
        return False
    return record["state"] == PURGED or (snapshot.state["kind"] == LINK and not is_live(record))


def _chains(context: Context, unlisted: list[Problem]) -> Iterator[tuple[Chain, str | None, str | None]]:
    """Yield (log, collection's directory or None, registry's directory or None) of every log in the root.

    Directories that cannot be listed become `unlisted`.
    """
    from regcli.domain.distributed import all_chains
    from regcli.domain.registries import open_chain, registry_directories
    from regcli.domain.runs import chain_of as chain_of_run
    from regcli.domain.settings import root_chain

    def listed(names: Callable[..., Iterable[T]], *arguments: object) -> Iterator[T]:
        try:
            yield from names(*arguments)
        except RegcliError as error:
            note(str(getattr(error.__cause__, "filename", context.root.path)), error.message)

    def note(path: str, words: str) -> None:
        # Some are listed twice.
        if words not in [problem.message for problem in unlisted]:
            unlisted.append(Problem("history", path, words))

    root = context.root
    yield root_chain(context), None, None
    for name in listed(registry_directories, context):
        settings = open_chain(context, name)
        yield settings, None, None
        registry = _readable_registry(settings)
        for base in listed(collection_paths, settings.base):
            yield chain_of(context, base, registry), base, settings.base
    for owner in listed(project_paths, root.path):
        for base in listed(collection_paths, owner):
            yield chain_of(context, base, None), base, None
        for base in listed(run_paths, owner):
            yield chain_of_run(context, base), None, None
    for chain in listed(all_chains, context):
        yield chain, None, None


def _readable_registry(settings: Chain) -> Registry | None:
    """Return the registry whose settings these are, or None where they are damaged, which is reported already."""
    from regcli.domain.registries import Registry

    try:
        return Registry(settings, settings.read())
    except RegcliError:
        return None


def _check_signatures(context: Context, report: Report) -> None:
    """Check who signed the aliases that must be signed, for a user who trusts anybody at all."""
    from regcli.domain.registries import list_registries, signed_names
    from regcli.domain.signers import list_signers

    found = list_registries(context)
    seen = context.trust.has_seen(context.root)
    if not seen and not any(signed_names(registry.state) for registry in found):
        return
    try:
        if not list_signers(context.trust):
            context.warnings.append("signatures of aliases were not checked: you trust no signers yet (`regcli trust add`)")
            return
        for registry in found:
            _check_signed_aliases(context, report, registry, seen=seen)
    except SignatureRefusedError as error:
        # What the user keeps about signatures cannot be used. That is one problem more, and hides none of the others.
        report.problems.append(Problem("history", context.root.path, error.message))


def _check_signed_aliases(context: Context, report: Report, registry: Registry, *, seen: bool) -> None:
    from regcli.domain.sealing import check_absence, check_alias, needs_check

    for collection in list_collections(context, registry.base, registry):
        aliases = {key: (shown, index) for key, (shown, index) in collection.state["aliases"].items()}
        gone = dict.fromkeys(context.trust.witness(context.root).aliases(collection.place)) if seen else {}
        for key in {**gone, **aliases}:
            shown, index = aliases.get(key, (key, None))
            try:
                if index is None:
                    check_absence(context, collection, shown)
                elif needs_check(context, collection, shown):
                    check_alias(context, collection, shown, index, collection.snapshot.records.get(index))
            except SignatureRefusedError as error:
                report.problems.append(Problem("history", collection.chain.log, error.message, f"{collection.ref}:{shown}"))


def _check_foreign(context: Context, report: Report) -> None:
    # With the dot, since the root itself may be reached by a link.
    for name in sorted(files.scan_names(f"{context.root.path}/.")):
        if not is_part_of_root(name) and not name.startswith("."):
            report.problems.append(
                Problem("extra", f"{context.root.path}/{name}", f"{name} in the root was not written by regcli")
            )
