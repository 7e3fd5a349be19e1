"""A root: one store. `regcli.toml` says that a directory is one, and everything else lies below it."""

from __future__ import annotations

import os

from regcli.errors import IntegrityError, NotFoundError, StorageError
from regcli.store import files
from regcli.store.layout import project_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.store.content import Content

FORMAT = 1
MARKER = "regcli.toml"
# The name under which commands find a root by themselves.
HIDDEN = ".regcli"
_SEAL = b'checksum = "'
_HEX = frozenset("0123456789abcdef")
_NOTE = "# A regcli root. This file is written once; settings are changed with `regcli`, not here.\n"


class Root:
    """An opened root.

    Attributes:
        path: absolute path of the directory.
        id: 32 random hex digits, made with the root and kept when it is copied.
        owner: the user who made the root: the first admin of the registries that come with it.
        created_at: RFC 3339, UTC.
        entity: the default entity of `NAME` references. personal: whether that entity is a personal one.
        shared: the group that the root is shared with, or None.
    """

    __slots__ = ("_content", "_values", "created_at", "entity", "id", "owner", "path", "personal", "shared")

    def __init__(self, path: str, values: dict[str, str]) -> None:
        """Take what `regcli.toml` says."""
        self.path = path
        self.id = values["id"]
        self.owner = values["owner"]
        self.created_at = values["created_at"]
        self.entity = values["entity"]
        self.personal = values["personal"] == "true"
        self.shared = values.get("shared")
        self._values = values
        self._content: Content | None = None

    @property
    def content(self) -> Content:
        """The blobs of the root, opened at first use."""
        if self._content is None:
            from regcli.store.content import Content

            self._content = Content(self.path)
        return self._content

    def derived(self, base: str) -> str:
        """Return where heads and pages of what lies in `base` are kept.

        In a shared root everybody has their own: a head that another user wrote could say what the log does not.
        """
        return base if self.shared is None else f"{base}/heads-{os.geteuid()}"

    def share(self, group: str) -> None:
        """Record that the root is shared with a group of the operating system.

        Raises:
            StorageError: `regcli.toml` cannot be written.
        """
        self._values["shared"] = group
        lines = [
            f"{key} = {value}" if value in ("true", "false") or key == "format" else f'{key} = "{value}"'
            for key, value in self._values.items()
            if key != "checksum"
        ]
        data = seal_marker(f"{_NOTE}{chr(10).join(lines)}\n")
        try:
            files.replace_file(f"{self.path}/{MARKER}", data, mode=0o444, durable=True)
        except OSError as error:
            raise files.explain(error, f"cannot write {self.path}/{MARKER}") from error
        self.shared = group

    def open_locks(self) -> int:
        """Return a descriptor of the directory of the locks, which is made where it is missing.

        Raises:
            IntegrityError: it is a link. StorageError: it cannot be opened or made.
        """
        directory = f"{self.path}/locks"
        try:
            return files.open_or_make(self.path, directory)
        except OSError as error:
            raise files.explain(error, f"cannot open {directory}") from error

    def lock_path(self, name: str) -> str:
        """Return the path of a lock file."""
        return f"{self.path}/locks/{name}.lock"


def _seal_of(body: bytes) -> bytes:
    import xxhash

    return b'%s"\n' % xxhash.xxh3_128_hexdigest(body).encode()


def seal_marker(text: str) -> bytes:
    """Return the content of `regcli.toml`: its lines, and one with their checksum."""
    body = text.encode()
    return body + _SEAL + _seal_of(body)


def _is_inhabited(path: str) -> bool:
    """Tell whether logs lie in a directory: that of a root whose marker was lost."""
    for name in files.scan_names(f"{path}/registries"):
        if os.path.isdir(f"{path}/registries/{name}/settings") or os.path.isdir(f"{path}/registries/{name}/collections"):
            return True
    return any(os.path.isdir(f"{owner}/{kind}") for owner in project_paths(path) for kind in ("collections", "runs"))


def _parse_marker(data: bytes, path: str) -> dict[str, str]:
    """Parse `key = value` lines: all that regcli itself writes, without the cost of a TOML parser."""
    values: dict[str, str] = {}
    body, _, seal = data.rpartition(_SEAL)
    try:
        for line in data.decode("utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            key, separator, value = line.partition(" = ")
            if not separator:
                raise ValueError(f"cannot read the line {line[:40]!r}")
            values[key] = value[1:-1] if value.startswith('"') and value.endswith('"') and len(value) > 1 else value
        form = int(values["format"])
        if form > FORMAT:
            raise IntegrityError(f"{path} has format {form}, which is newer than this program", hint="upgrade regcli")
        missing = {"id", "owner", "created_at", "entity", "personal"} - values.keys()
        # The id names files of the user's own, such as caches.
        if form != FORMAT or missing or len(values["id"]) != 32 or not _HEX.issuperset(values["id"]):
            raise ValueError("a required line is missing or malformed")
        if seal != _seal_of(body):
            raise ValueError("it was changed")
    except (ValueError, KeyError) as error:
        raise IntegrityError(f"{path} is corrupt: {error}", hint="restore the file from a copy of the root") from None
    return values


def open_root(path: str) -> Root:
    """Open an existing root.

    Raises:
        NotFoundError: the directory is no root.
        IntegrityError: `regcli.toml` is corrupt, of a newer format, or was lost.
    """
    marker = f"{path}/{MARKER}"
    data = _read_marker(marker)
    if data is None and _is_inhabited(path):
        # Again, after what is there was seen: another process may just have made the root and its first commits.
        data = _read_marker(marker)
        if data is None:
            # A new root made here would own none of the logs that are there.
            raise IntegrityError(f"{marker} is missing", hint="restore the file from a copy of the root")
    if data is None:
        raise NotFoundError(
            f"there is no registry root at {path}", hint="the first `regcli log` makes one, or run `regcli init`"
        )
    return Root(path, _parse_marker(data, marker))


def _read_marker(marker: str) -> bytes | None:
    try:
        return files.read_document(marker, 65536)
    except (FileNotFoundError, NotADirectoryError):
        return None


def create_root(path: str, *, owner: str, created_at: str, entity: str, personal: bool) -> tuple[Root, bool]:
    """Make a root, or open the one that is there; returns it and whether this call made it.

    Raises:
        StorageError: the directory cannot be made or written.
    """
    try:
        return open_root(path), False
    except NotFoundError:
        pass
    from regcli.store.reserve import keep_reserve

    text = (
        f'{_NOTE}format = {FORMAT}\nid = "{files.random_hex(16)}"\nowner = "{owner}"\ncreated_at = "{created_at}"\n'
        f'entity = "{entity}"\npersonal = {"true" if personal else "false"}\n'
    )
    try:
        files.make_directories(path)
        for name in ("locks", "registries", "projects"):
            files.make_within(path, f"{path}/{name}")
    except NotADirectoryError as error:
        raise StorageError(f"cannot make a root at {path}: a part of the path is not a directory") from error
    except OSError as error:
        raise files.explain(error, f"cannot make a root at {path}") from error
    if os.path.basename(path) == HIDDEN:
        # Amid a project's files, `git add .` must not take gigabytes along; whoever wants that removes it.
        files.create_exclusive(f"{path}/.gitignore", b"*\n", mode=0o644)
    made = files.create_exclusive(f"{path}/{MARKER}", seal_marker(text), mode=0o444)
    keep_reserve(path)
    return open_root(path), made
