"""The part of `Artifact` that reads contents: entries, files, download, checkout, verify."""

from __future__ import annotations

import os

from regcli.api import session
from regcli.api.base import ArtifactBase, target_cache
from regcli.api.errors import documented, translated
from regcli.api.manifest_entry import ArtifactManifest, ArtifactManifestEntry
from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import resolve, source_of
from regcli.errors import RegcliError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from regcli.api.files import File
    from regcli.api.pages import Pages
    from regcli.domain.download import DownloadOptions

    StrPath = str | os.PathLike[str]


class Retrieval(ArtifactBase):
    """Reading what an artifact holds."""

    @property
    def manifest(self) -> ArtifactManifest:
        """The list of entries; of a logged artifact it is read when it is first asked for."""
        if self._version is None:
            algorithm = self._draft.algorithm
            entries = list(self._draft.entries.values())
            shown = {entry[0]: ArtifactManifestEntry(entry, algorithm) for entry in entries}
            return ArtifactManifest(shown, algorithm, self._draft.digest)
        if self._manifest is None:
            self._manifest = self._read_manifest()
        return self._manifest

    @translated
    def _read_manifest(self) -> ArtifactManifest:
        version = self._logged("manifest")
        algorithm = version.record["algorithm"]
        entries = read_manifest(self._context("manifest"), version.record)
        shown = {entry[0]: ArtifactManifestEntry(entry, algorithm, self) for entry in entries}  # type: ignore[arg-type]
        return ArtifactManifest(shown, algorithm, version.digest)

    def get_entry(self, name: StrPath) -> ArtifactManifestEntry:
        """Return the entry of a path, or of an object that was added under that name.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft. KeyError: it has no such path.
        """
        self._logged("get_entry")
        text = name.as_posix() if hasattr(name, "as_posix") else os.fspath(name)
        entry = self._find(text)
        if entry is None:
            raise KeyError(f"Path not contained in artifact: {text}")
        return entry

    def _find(self, name: str) -> ArtifactManifestEntry | None:
        manifest = self.manifest
        entry = manifest.entries.get(name) or manifest.entries.get(name.removeprefix("./"))
        if entry is not None:
            return entry
        named = (e for e in manifest if isinstance(e.extra.get("object"), dict) and e.extra["object"].get("name") == name)
        return next(named, None)

    def get_path(self, name: StrPath) -> ArtifactManifestEntry:
        """Return `get_entry(name)`; the older name."""
        return self.get_entry(name)

    @translated
    def get(self, name: str) -> Any:
        """Return the object that `add` stored under a name, or None when there is none.

        The file is written to the default download directory first.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        self._logged("get")
        entry = self._find(name)
        if entry is None or not isinstance(entry.extra.get("object"), dict):
            return None
        from regcli.api import codecs

        return codecs.decode(entry.extra["object"], entry.download())

    def __getitem__(self, name: str) -> Any:
        """Return `get(name)`."""
        return self.get(name)

    def files(self, names: Sequence[str] | None = None, per_page: int = 50, start: str | None = None) -> Pages[File]:
        """Return the files, in pages, sorted by path.

        Args:
            names: only these paths.
            per_page: how many are fetched at a time.
            start: the `.cursor` of an earlier call, to go on there.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        from regcli.api.files import File
        from regcli.api.pages import Pages

        self._logged("files")
        wanted = set(names) if names is not None else None

        def rows(after: str | None) -> Iterator[tuple[str, File]]:
            translated(self._require_download)()
            for path, entry in self.manifest.entries.items():
                if (after is None or path > after) and (wanted is None or path in wanted):
                    yield path, File(self, entry)  # type: ignore[arg-type]

        return Pages(rows, per_page=per_page, start=start)

    def _require_download(self) -> None:
        version = self._logged("files")
        if version.collection.registry is not None:
            from regcli.domain import roles

            roles.require(version.collection.registry.state, self._context("files").user, "download")

    def default_directory(self) -> str:
        """Return where `download` writes to unless told otherwise: `./artifacts/NAME:vN` of the source."""
        version = self._logged("download")
        source = translated(source_of)(self._context("download"), version)
        return self._directory(source.collection.name, source.version)

    @staticmethod
    def _directory(name: str, version: str | None) -> str:
        separator = "-" if os.name == "nt" else ":"
        leaf = name if version is None else f"{name}{separator}{version}"
        return os.path.join(session.artifact_directory(), leaf)

    def file(self, root: StrPath | None = None) -> str:
        """Write the only file of the artifact below `root` and return its path.

        Args:
            root: a directory, by default `./artifacts/NAME:vN`.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
            ValueError: it has another number of files than one (the original fails with an IndexError for none).
        """
        version = self._logged("file")
        entries = self.manifest.entries
        if len(entries) != 1:
            raise ValueError(
                f"This artifact contains {len(entries)} files, not one."
                " Use the `.download()` method to download all of them, or call .get_entry(filename).download()"
            )
        where = os.fspath(root) if root is not None else self._directory(version.collection.name, version.version)
        path = next(iter(entries))
        self.download_entries([path], where)
        return os.path.join(where, *path.split("/"))

    @translated
    def download(
        self,
        root: StrPath | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: StrPath | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Write the files into a directory and return it.

        A file that is there already with the right content is left alone, one with other content is replaced, and files that
        are not in the artifact stay. Every byte is checked before its name appears.

        Args:
            root: the directory, by default `./artifacts/NAME:vN` of the source.
            allow_missing_references: leave out references whose target is gone, also `file://` ones.
            skip_cache: accepted for the original's scripts; nothing is cached.
            path_prefix: only paths that begin so: a plain prefix, so `a` also means `ab`.
            multipart: accepted for the original's scripts.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
            CommError: the user's role allows looking only, or stored content is damaged.
            ValueError: what a reference leads to has changed.
        """
        del skip_cache, multipart
        self._logged("download")
        where = os.fspath(root) if root is not None else self.default_directory()
        prefix = os.fspath(path_prefix) if path_prefix is not None else ""
        options = self._options(allow_missing_references=allow_missing_references)
        self._download([path for path in self.manifest.entries if path.startswith(prefix)], where, options)
        return where

    @translated
    def download_entries(self, paths: Sequence[str], root: str) -> None:
        """Write some of the files, named by their paths, below a directory."""
        self._download(paths, root, self._options())

    def _options(self, *, allow_missing_references: bool = False) -> DownloadOptions:
        from regcli.domain.download import DownloadOptions

        cache = target_cache(self._context("download"))
        return DownloadOptions(allow_missing_references=allow_missing_references, cache=cache)

    def _download(self, paths: Sequence[str], root: str, options: DownloadOptions) -> None:
        from regcli.domain.download import download_version

        context = self._context("download")
        version = resolve(context, self._logged("download").ref, action="download", deleted=self._is_deleted)
        wanted = set(paths)
        entries = [entry for entry in read_manifest(context, version.record) if entry[0] in wanted]
        _make_directory(root)
        download_version(context, version, entries, root, options)
        session.settle(context)

    @translated
    def checkout(self, root: StrPath | None = None, *, force: bool = True) -> str:
        """Make a directory exactly the artifact: other files in it are deleted. Returns the directory.

        Args:
            root: the directory, by default `./artifacts/NAME` of the source, without version.
            force: also delete or replace files whose content is stored nowhere; with False they are an error, as for
                `regcli checkout` without `--force`.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft. CommError: `force` is False and content would be lost.
        """
        from regcli.domain.download import checkout

        version = self._logged("checkout")
        context = self._context("checkout")
        where = os.fspath(root) if root is not None else self._directory(source_of(context, version).collection.name, None)
        _make_directory(where)
        checkout(context, version.ref, where, self._options(), force=force)
        session.settle(context)
        return where

    def verify(self, root: StrPath | None = None) -> None:
        """Compare a directory with the artifact, reading every file again.

        References are compared too, as `regcli verify` does: their content where a digest of it was recorded, else their size.
        The original skips them; what can only be compared by size is counted in a warning.

        Args:
            root: the directory, by default the one that `download` writes to. Nothing is downloaded.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
            ValueError: it names everything that differs: changed, extra and missing files, or the directory itself. The
                original stops at the first, and raises FileNotFoundError for a missing one.
        """
        from regcli.domain.verification import verify_directory

        version = self._logged("verify")
        where = os.fspath(root) if root is not None else self.default_directory()
        try:
            report = verify_directory(self._context("verify"), version.ref, where)
        except RegcliError as error:
            raise documented(error, ValueError) from error
        unproven = sum(
            1 for entry in self.manifest if entry.ref is not None and entry.extra.get("check") not in ("xxh128", "md5")
        )
        if unproven:
            session.warn(f"skipped verification of the content of {unproven} refs, which only their size tells")
        if not report.ok:
            lines = "\n".join(f"  {_problem(problem.kind)}: {problem.path}" for problem in report.problems)
            raise ValueError(f"{where} differs from {version.ref} in {len(report.problems)} places:\n{lines}")

    def json_encode(self) -> dict[str, Any]:
        """Return the artifact as JSON values, in the original's form.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        version = self._logged("json_encode")
        source: Any = translated(source_of)(self._context("json_encode"), version)
        return {
            "_type": "artifactVersion",
            "_version": "v0",
            "id": version.record["id"],
            "version": source.version,
            "sequenceName": source.collection.name,
            "usedAs": None,
        }


def _make_directory(path: str) -> None:
    # An artifact without files has a directory too.
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {path}: {(error.strerror or str(error)).lower()}") from error


def _problem(kind: str) -> str:
    words = {"missing": "Missing file", "modified": "Digest mismatch for file", "extra": "Found file which is not a member"}
    return words.get(kind, kind)
