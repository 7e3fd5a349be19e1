"""The manifest of an artifact and its entries, as the library shows them."""

from __future__ import annotations

import os
from binascii import b2a_base64

from regcli.api.errors import ArtifactNotLoggedError, translated
from regcli.domain.files import is_executable, is_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from regcli.api.artifact import Artifact

    Entry = tuple[str, str, int, int, dict[str, Any] | None]

MANIFEST_VERSION = 1


class ArtifactManifestEntry:
    """One file or reference of an artifact.

    Attributes:
        path: inside the artifact, with `/`.
        digest: of a file, base64 of its XXH3-128 (or, in an artifact of MD5 digests, its MD5); of a reference, its ETag or
            what stands for one. Source: `semantics.md` H-04.
        ref: URI of a reference, else None.
        size: bytes, or None for a reference of unknown size.
        extra: `{"alg": "XXH128"}` for such a digest, and what a reference records (`etag`, `versionID`).
        local_path: the file that it was added from, or None.
        executable: whether the file is executable.
        xxh128: hex digits of the XXH3-128 of a file, which is what the command line prints; None for a reference.
    """

    __slots__ = ("_artifact", "digest", "executable", "extra", "local_path", "path", "ref", "size", "xxh128")

    def __init__(self, entry: Entry, algorithm: str, artifact: Artifact | None = None, local_path: str | None = None) -> None:
        """Show a manifest entry; `artifact` is the logged one that it is of."""
        path, digest, size, _, extra = entry
        kept = dict(extra or {})
        self.path = path
        self.executable = is_executable(entry)
        self.local_path = local_path
        self._artifact = artifact
        self.ref: str | None = kept.pop("ref", None) if is_reference(entry) else None
        self.size: int | None = size
        self.xxh128: str | None = None
        if self.ref is not None:
            self.digest = digest
            self.size = None if kept.pop("unsized", False) else size
            if "version_id" in kept:
                kept["versionID"] = kept.pop("version_id")
        else:
            self.xxh128 = digest
            md5 = kept.pop("md5", None)
            used = md5 if algorithm == "MD5" and md5 is not None else digest
            self.digest = b2a_base64(bytes.fromhex(used), newline=False).decode()
            if used == digest:
                kept["alg"] = "XXH128"
        self.extra: dict[str, Any] = kept

    @property
    def name(self) -> str:
        """The path; older scripts call it so."""
        return self.path

    def parent_artifact(self) -> Artifact:
        """Return the artifact that this is an entry of; ArtifactNotLoggedError for a draft's."""
        if self._artifact is None:
            raise ArtifactNotLoggedError("ArtifactManifestEntry.parent_artifact", self)
        return self._artifact

    def download(self, root: str | os.PathLike[str] | None = None, skip_cache: bool | None = None, executor: Any = None) -> str:
        """Write the file below `root` and return its path.

        Args:
            root: a directory, by default the artifact's own download directory.
            skip_cache: accepted for the original's scripts; there is no cache between store and file.
            executor: accepted for the original's scripts.

        Raises:
            ArtifactNotLoggedError: it is an entry of a draft. ValueError: what a reference leads to has changed.
        """
        del skip_cache, executor
        artifact = self.parent_artifact()
        where = os.fspath(root) if root is not None else artifact.default_directory()
        artifact.download_entries([self.path], where)
        return os.path.join(where, *self.path.split("/"))

    def ref_target(self) -> str:
        """Return the URI that a reference leads to; ValueError for a file."""
        if self.ref is None:
            raise ValueError("Only reference entries support ref_target().")
        return self.ref

    def ref_url(self) -> str:
        """Return a URL that names this entry, to be passed to `add_reference` of another artifact.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        artifact = self.parent_artifact()
        return f"wandb-artifact://{artifact.id}/{self.path}"

    def __eq__(self, other: object) -> bool:
        """Equal when path, digest, reference, size and extra are."""
        if not isinstance(other, ArtifactManifestEntry):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        """Consistent with `==`."""
        return hash((self.path, self.digest, self.ref, self.size))

    def _key(self) -> tuple[Any, ...]:
        return self.path, self.digest, self.ref, self.size, self.extra

    def __repr__(self) -> str:
        """Show what it is."""
        ref = f", ref={self.ref!r}" if self.ref is not None else ""
        return f"ArtifactManifestEntry(path={self.path!r}, digest={self.digest!r}, size={self.size!r}{ref})"


class ArtifactManifest:
    """The list of an artifact's entries.

    Attributes:
        entries: path -> entry, sorted by path. Changing the dictionary changes nothing in the artifact.
        algorithm: `XXH128` or `MD5`.
    """

    def __init__(self, entries: Mapping[str, ArtifactManifestEntry], algorithm: str, digest: str) -> None:
        """Take the entries of an artifact."""
        self.entries = dict(sorted(entries.items()))
        self.algorithm = algorithm
        self._digest = digest

    @translated
    def digest(self) -> str:
        """Return the digest of the whole, 32 hex digits. Source: `semantics.md` H-01."""
        return self._digest

    def size(self) -> int:
        """Return the bytes of all entries; one of unknown size counts 0."""
        return sum(entry.size or 0 for entry in self.entries.values())

    def get_entry_by_path(self, path: str) -> ArtifactManifestEntry | None:
        """Return an entry, or None."""
        return self.entries.get(path)

    def get_entries_in_directory(self, directory: str) -> list[ArtifactManifestEntry]:
        """Return the entries below a directory."""
        prefix = f"{directory.rstrip('/')}/"
        return [entry for path, entry in self.entries.items() if path.startswith(prefix)]

    def to_manifest_json(self) -> dict[str, Any]:
        """Return the manifest as the original writes it (version 1). Source: `semantics.md` H-05."""
        contents = {}
        for path, entry in self.entries.items():
            row: dict[str, Any] = {"digest": entry.digest, "size": entry.size, "ref": entry.ref, "extra": entry.extra or None}
            contents[path] = {key: value for key, value in row.items() if value is not None}
        return {
            "version": MANIFEST_VERSION,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": contents,
        }

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self.entries)

    def __iter__(self) -> Iterator[ArtifactManifestEntry]:
        """Yield the entries, sorted by path."""
        return iter(self.entries.values())

    def __contains__(self, path: object) -> bool:
        """Tell whether there is an entry of this path."""
        return path in self.entries
