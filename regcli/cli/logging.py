"""What `regcli log` does between its options and the domain, for the full program and the fast lane alike."""

from __future__ import annotations

from regcli.errors import NotFoundError, UsageError
from regcli.model import Alias, Tag, TypeName, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.cli.context import Session
    from regcli.cli.settings import Settings
    from regcli.domain.context import Context
    from regcli.domain.log_request import Logged, LogRequest


class LogOptions:
    """The options of `regcli log`, as given."""

    __slots__ = (
        "aliases", "at", "base", "checksum", "description", "dry_run", "exclude", "follow", "inputs", "link_mode", "links",
        "max_objects", "meta", "meta_file", "metrics", "name", "new_version", "paths", "references", "rehash", "remove", "run",
        "tags", "ttl", "type",
    )  # fmt: skip

    def __init__(
        self,
        *,
        paths: list[str],
        name: str,
        type: str | None = None,  # noqa: A002 - the option's own word
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        description: str | None = None,
        meta: Sequence[str] = (),
        meta_file: str | None = None,
        metrics: Sequence[str] = (),
        references: Sequence[str] = (),
        checksum: bool = True,
        max_objects: int | None = None,
        at: str | None = None,
        exclude: Sequence[str] = (),
        inputs: Sequence[str] = (),
        run: str | None = None,
        ttl: str = "inherit",
        links: Sequence[str] = (),
        base: str | None = None,
        remove: Sequence[str] = (),
        link_mode: str = "copy",
        follow: bool = False,
        rehash: bool = False,
        new_version: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.paths = paths
        self.name = name
        self.type = type
        self.aliases = aliases
        self.tags = tags
        self.description = description
        self.meta = meta
        self.meta_file = meta_file
        self.metrics = metrics
        self.references = references
        self.checksum = checksum
        self.max_objects = max_objects
        self.at = at
        self.exclude = exclude
        self.inputs = inputs
        self.run = run
        self.ttl = ttl
        self.links = links
        self.base = base
        self.remove = remove
        self.link_mode = link_mode
        self.follow = follow
        self.rehash = rehash
        self.new_version = new_version
        self.dry_run = dry_run


class LogOutcome:
    """What was logged, and how to say it."""

    __slots__ = ("dry_run", "notes", "outcome")

    def __init__(self, outcome: Logged, *, dry_run: bool) -> None:
        self.outcome = outcome
        self.dry_run = dry_run
        self.notes = _notes(outcome, dry_run=dry_run)

    @property
    def line(self) -> str:
        """The reference of the version, or of the collection after a dry run that would make one."""
        version = self.outcome.version
        return version.ref if version is not None else self.outcome.ref

    def document(self, context: Context) -> dict[str, Any]:
        """Return the promised JSON fields."""
        from regcli.domain.documents import version_document

        outcome = self.outcome
        if outcome.version is None:
            document: dict[str, Any] = {
                "ref": outcome.ref, "digest": outcome.digest, "size": outcome.size, "file_count": outcome.file_count,
            }  # fmt: skip
        else:
            document = version_document(context, outcome.version)
        moved = [{"alias": alias, "from": place} for alias, place in outcome.moved]
        return {
            **document,
            "created": outcome.created,
            "dry_run": self.dry_run,
            "ignored": outcome.ignored,
            "moved": moved,
            "linked": outcome.linked,
            "seq": outcome.seq,
        }


def _notes(outcome: Logged, *, dry_run: bool) -> list[str]:
    notes = []
    would = "would be" if dry_run else "was"
    if outcome.created:
        notes.append(f"a new version of {outcome.ref} would be made" if dry_run else f"logged {outcome.ref}")
    elif outcome.version is not None:
        notes.append(f"{outcome.version.ref} has the same content; no new version {would} made")
    if outcome.ignored:
        editable = [word for word in outcome.ignored if word in ("description", "metadata", "TTL")]
        help_ = f" (`regcli edit` changes {' and '.join(editable)})" if editable else " (--new-version makes another)"
        notes.append(f"ignored, since the version exists: {', '.join(outcome.ignored)}{help_}")
    notes.extend(f"moved {alias} here from {place}" for alias, place in outcome.moved)
    notes.extend(f"linked as {ref}" for ref in outcome.linked)
    if outcome.git:
        notes.append(
            f"{outcome.git[0].removesuffix('/')}/.git is in the version; leave it out with --exclude .git, or with .git in"
            " a .regcliignore file"
        )
    if outcome.skipped_links:
        count = len(outcome.skipped_links)
        notes.append(
            f"{count} link{'s' if count > 1 else ''} to directories not followed, such as {outcome.skipped_links[0]}"
            " (--follow-links follows them)"
        )
    return notes


def perform_log(session: Session, options: LogOptions) -> None:
    """Log what the options say, and print what came of it."""
    from regcli.cli.output import human_count, human_size
    from regcli.cli.progress import progress

    with progress(session, "logging") as update:
        logged = run_log(session.context, session.settings, options, update)
    for text in logged.notes:
        session.note(text)
    session.note(f"{human_count(logged.outcome.file_count, 'file')}, {human_size(logged.outcome.size)}")
    session.emit(logged.document(session.context) if session.is_json else {}, [logged.line])


def run_log(
    context: Context, settings: Settings, options: LogOptions, update: Callable[[int, int], None] | None = None
) -> LogOutcome:
    """Log what the options say.

    Args:
        context: the root and who asks.
        settings: where the stat cache lies.
        options: as given.
        update: told the files and bytes that were done since the last call.
    """
    from regcli.cli.progress import steps
    from regcli.domain.log import log_version

    if not options.name:
        raise UsageError("the artifact's name is missing", hint="give it with --name, as in `regcli log data/ --name zoo`")
    if not options.paths and options.base is None and not options.references:
        raise UsageError("nothing to log", hint="name files or directories")
    request = _request(options)
    if options.references:
        request.entries = _collect_references(context, settings, options, update)
    elif not options.checksum or options.max_objects is not None:
        raise UsageError("--no-checksum and --max-objects need --ref", hint="they say how references are recorded")
    if not options.dry_run:
        context.make_root()
    request.cache = _cache(context, settings)
    if update is not None:
        request.progress = steps(update)
    return LogOutcome(log_version(context, request), dry_run=options.dry_run)


def _collect_references(
    context: Context, settings: Settings, options: LogOptions, update: Callable[[int, int], None] | None
) -> list[Any]:
    """Ask for everything that `--ref` names, before anything is written."""
    from regcli.cli.progress import steps
    from regcli.domain.references import collect_references, split_named

    found: dict[str, Any] = {}
    for text in options.references:
        name, uri = split_named(text)
        entries = collect_references(
            context,
            uri,
            name=name,
            prefix=options.at or "",
            checksum=options.checksum,
            max_objects=options.max_objects,
            cache=_cache(context, settings),
            progress=steps(update) if update is not None else None,
        )
        for entry in entries:
            other = found.setdefault(entry[0], entry)
            if other[1] != entry[1]:
                raise UsageError(
                    f"cannot add the same path twice: {quote(entry[0])} is given by two references",
                    hint="name one of them, as in --ref NAME=URI",
                )
    return list(found.values())


def _cache(context: Context, settings: Settings) -> Any:
    from regcli.domain.caches import stat_cache

    try:
        return stat_cache(context, settings.cache_path)
    except NotFoundError:
        return None


def _request(options: LogOptions) -> LogRequest:
    from regcli.domain.log_request import LogRequest

    request = LogRequest(options.name, TypeName.parse(options.type) if options.type is not None else None)
    for path in options.paths:
        request.add_path(path, at=options.at, exclude=options.exclude)
    request.aliases = [Alias.parse(alias) for alias in options.aliases]
    request.tags = [Tag.parse(tag) for tag in options.tags]
    request.description = options.description
    if options.meta_file is not None or options.meta:
        from regcli.domain.metadata import check_metadata, parse_pairs, read_metadata_file

        from_file = read_metadata_file(options.meta_file) if options.meta_file is not None else {}
        request.metadata = check_metadata({**from_file, **parse_pairs(options.meta)})
    if options.metrics:
        from regcli.domain.metadata import parse_metrics

        request.metrics = parse_metrics(options.metrics)
    if options.ttl != "inherit":
        from regcli.domain.amounts import parse_ttl

        request.ttl = parse_ttl(options.ttl)
    request.inputs = options.inputs
    request.run = options.run
    request.links = options.links
    request.base = options.base
    request.remove = options.remove
    request.link_mode = options.link_mode
    request.follow = options.follow
    request.rehash = options.rehash
    request.new_version = options.new_version
    request.dry_run = options.dry_run
    return request
