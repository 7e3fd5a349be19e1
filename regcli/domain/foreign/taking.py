"""What every reader of another tool's data finds, and how it becomes versions here.

A reader only reads: it yields `Find`s, oldest first. Taking one in logs its files, links it where it was published, and sets
aliases and tags. Each version remembers where it came from (`metadata.imported`), so that taking the same directory in again
adds only what is new.
"""

from __future__ import annotations

from regcli.domain.aliasing import add_aliases
from regcli.domain.collections import locate
from regcli.domain.linking import link_version
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.metadata import check_metadata
from regcli.errors import InvalidNameError, UsageError, reason_of
from regcli.model import Alias, ArtifactName, Tag, TypeName, parse_collection, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from regcli.domain.context import Context

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")

_MAX_VALUES = 1_000_000


class Find:
    """One version in another tool's data.

    Attributes:
        name: what the artifact is called there. type: the artifact type it becomes.
        files: (path in the artifact, local file).
        origin: which tool, and what identifies the version in it, such as `{"tool": "mlflow", "model": "iris", "version": 3}`.
        collection: the name it was published under, or None where it was only kept.
        aliases, tags, description, metadata, metrics: what was recorded about it, in words that may not be allowed here.
    """

    __slots__ = ("aliases", "collection", "description", "files", "metadata", "metrics", "name", "origin", "tags", "type")

    def __init__(self, name: str, type_name: str, origin: dict[str, Any]) -> None:
        """Start with the version's identity."""
        self.name = name
        self.type = type_name
        self.origin = origin
        self.files: Sequence[tuple[str, str]] = ()
        self.collection: str | None = None
        self.aliases: Sequence[str] = ()
        self.tags: Sequence[str] = ()
        self.description = ""
        self.metadata: dict[str, Any] = {}
        self.metrics: dict[str, float | int] = {}


class Taken:
    """What was taken in: references of new versions and links, how many were here already, and what could not be kept."""

    __slots__ = ("links", "remarks", "skipped", "versions")

    def __init__(self) -> None:
        """Start with nothing."""
        self.versions: list[str] = []
        self.links: list[str] = []
        self.skipped = 0
        self.remarks: list[str] = []

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"versions": self.versions, "links": self.links, "skipped": self.skipped, "remarks": self.remarks}


def plain_name(text: str) -> str:
    """Return a name that is allowed for an artifact: other characters become `-`."""
    name = "".join(character if character in _PLAIN else "-" for character in text).strip("-") or "unnamed"
    return f"{name}-" if name in (".", "..") else name[:128]


def plain_alias(text: str) -> str | None:
    """Return an alias that is allowed here, or None where nothing of it can be kept."""
    name = "".join("-" if c in "/:@~" or c.isspace() else c for c in text).lstrip("-")[:128]
    try:
        return Alias.parse(name)
    except InvalidNameError:
        return None


def plain_tag(text: str) -> str | None:
    """Return a tag that is allowed here, or None where nothing of it can be kept."""
    name = " ".join("".join(c if c.isalnum() or c in "_-" else " " for c in text).split())[:128].strip()
    try:
        return Tag.parse(name)
    except InvalidNameError:
        return None


def take_in(context: Context, finds: Iterable[Find], *, registry: str | None) -> Taken:
    """Log every find that is not here yet, and publish it in `registry` where it was published there.

    Raises:
        UsageError: there is nothing to take in. RoleError: the user may not link.
    """
    done = Taken()
    empty = True
    for find in finds:
        empty = False
        _take(context, find, registry, done)
    if empty:
        raise UsageError("there is nothing to take in", hint="look whether the directory is the right one")
    return done


def _take(context: Context, find: Find, registry: str | None, done: Taken) -> None:
    name = plain_name(find.name)
    if name != find.name:
        done.remarks.append(f"{quote(find.name)} became {quote(name)}")
    known = _known(context, name, find.origin)
    is_new = known is None
    if known is None:
        known = _log(context, name, find, done)
        done.versions.append(known)
    else:
        done.skipped += 1
    aliases = [Alias(alias) for alias in _allowed(find.aliases, plain_alias, "alias", done)]
    if registry is not None and find.collection is not None:
        linked = link_version(context, known, f"{registry}/{find.collection}", aliases=aliases if is_new else ())
        if linked.created:
            done.links.append(linked.version.ref)
        if linked.created and not is_new and aliases:
            # An earlier run ended between the log and the link. Otherwise aliases that moved here meanwhile stay.
            add_aliases(context, linked.version.ref, aliases)
    elif is_new and aliases:
        add_aliases(context, known, aliases)


def _known(context: Context, name: str, origin: dict[str, Any]) -> str | None:
    """Return the reference of the version that was taken in from there before."""
    context.make_root()
    collection = locate(context, parse_collection(name, context.project))
    for index, record in collection.versions():
        if record["metadata"].get("imported") == origin:
            return collection.version_ref(index)
    return None


def _log(context: Context, name: str, find: Find, done: Taken) -> str:
    request = LogRequest(ArtifactName.parse(name), TypeName.parse(plain_name(find.type)))
    request.sources = list(find.files)
    request.description = find.description
    request.metadata = check_metadata({**find.metadata, "imported": find.origin})
    request.metrics = find.metrics
    request.tags = [Tag(tag) for tag in _allowed(find.tags, plain_tag, "tag", done)]
    # Two versions there may have the same content; both keep a number here.
    request.new_version = True
    return log_version(context, request).ref


def _allowed(texts: Sequence[str], change: Any, what: str, done: Taken) -> list[str]:
    found = []
    for text in texts:
        allowed = change(text)
        if allowed is None:
            done.remarks.append(f"{what} {quote(text)} is not allowed here and was left out")
        else:
            if allowed != text:
                done.remarks.append(f"{what} {quote(text)} became {quote(allowed)}")
            found.append(allowed)
    return list(dict.fromkeys(found))


def files_below(directory: str) -> list[tuple[str, str]]:
    """Return (path in the artifact, local file) of every file below a directory; links to directories are not followed."""
    import os

    found = []
    for top, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(top, name)
            found.append((os.path.relpath(path, directory).replace(os.sep, "/"), path))
    return found


def relocate(path: str, top: str) -> str:
    """Return where a file or directory is that was recorded by its absolute path, in a tree that may have been moved to `top`.

    The longest end of the recorded path (two names or more) that exists below `top` wins over the recorded path itself: what
    was pointed at is meant, not where it came from.
    """
    import os

    parts = path.replace(os.sep, "/").split("/")
    if ".." not in parts:
        for start in range(1, len(parts) - 1):
            candidate = os.path.join(top, *parts[start:])
            if os.path.exists(candidate):
                return candidate
    return path


def read_yaml(path: str) -> Any:
    """Read a YAML file with the safe loader.

    Raises:
        UsageError: PyYAML is not installed, or the file is not YAML.
    """
    try:
        import yaml
    except ImportError:
        raise UsageError("reading YAML needs PyYAML", hint="install it with `pip install 'regcli[migrate]'`") from None
    try:
        with open(path, encoding="utf-8") as stream:
            document = yaml.safe_load(stream)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason_of(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    _refuse_bomb(document, path)
    return document


def _refuse_bomb(document: Any, path: str) -> None:
    """Refuse what is written once and meant a million times: a few lines of aliases of aliases have no end."""
    waiting = [document]
    count = 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > _MAX_VALUES:
            raise UsageError(f"{path} means more than {_MAX_VALUES} values")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, set)):
            waiting.extend(value)
