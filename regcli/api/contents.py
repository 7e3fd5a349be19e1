"""The part of `Artifact` that gathers contents: add, remove, finalize."""

from __future__ import annotations

import os

from regcli.api import session
from regcli.api.base import ArtifactBase
from regcli.api.errors import documented, translated
from regcli.api.manifest_entry import ArtifactManifestEntry
from regcli.domain.values import to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import PurePath
    from types import TracebackType
    from typing import IO, Any

    StrPath = str | os.PathLike[str]


class Contents(ArtifactBase):
    """Adding to a draft and removing from it. Every method may be called from several threads."""

    @translated
    def add_file(
        self,
        local_path: StrPath,
        name: str | PurePath | None = None,
        is_tmp: bool = False,
        skip_cache: bool = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add one file.

        Args:
            local_path: a regular file; a link to one is followed.
            name: its path inside the artifact, by default its basename.
            is_tmp: name it by its content: the first part of the file's name becomes 20 hex digits of the digest.
            skip_cache: accepted for the original's scripts; there is no cache between file and store.
            policy: `mutable` copies the content now; `immutable` reads it when the artifact is logged, which fails if it
                changed meanwhile.
            overwrite: replace a file of that path with other content.

        Raises:
            ArtifactFinalizedError: the artifact is finalized or logged.
            ValueError: it is no file, the name is absolute or leaves the artifact, the policy is unknown, or the path has
                other content already.
        """
        del skip_cache
        draft = self._changeable("add_file")
        local = os.fspath(local_path)
        entry = draft.add_file(
            local, _text(name), policy=policy or "mutable", overwrite=overwrite, is_tmp=is_tmp
        )  # fmt: skip
        return ArtifactManifestEntry(entry, draft.algorithm, local_path=local)

    @translated
    def add_dir(
        self,
        local_path: StrPath,
        name: str | PurePath | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add all files below a directory; empty directories are left out, links are followed.

        Args:
            local_path: the directory.
            name: the directory inside the artifact; by default its root.
            skip_cache: accepted for the original's scripts.
            policy: as for `add_file`.
            merge: replace files whose content changed since they were added; nothing is ever removed. To replace a whole
                directory, `remove(name)` it first.

        Raises:
            ArtifactFinalizedError: the artifact is finalized or logged.
            ValueError: it is no directory, the policy is unknown, or a path has other content already; nothing was added.
        """
        del skip_cache
        draft = self._changeable("add_dir")
        draft.add_directory(os.fspath(local_path), _text(name), policy=policy or "mutable", merge=merge)

    @translated
    def add_reference(
        self,
        uri: str | ArtifactManifestEntry,
        name: str | PurePath | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> list[ArtifactManifestEntry]:
        """Record content that stays where it is, and return the entries.

        Args:
            uri: `file://`, `http(s)://`, `s3://`, `gs://`, an Azure blob's URL, any other URI, or an entry of another
                artifact from `get_entry`.
            name: the path inside the artifact, or the directory where the URI leads to several objects.
            checksum: record what tells a change (ETag, size, version, digest); without it only the URI counts.
            max_objects: the most objects that a directory or prefix may have.

        Raises:
            ArtifactFinalizedError: the artifact is finalized or logged.
            ValueError: it is no URI, it leads nowhere, there are too many objects, or a path has other content already.
        """
        draft = self._changeable("add_reference")
        from regcli.domain.references import collect_references

        place = uri.ref_url() if isinstance(uri, ArtifactManifestEntry) else to_text(uri, "a reference")
        context = self._context("add_reference")
        entries = collect_references(
            context, place, name=_text(name), checksum=checksum, max_objects=max_objects, algorithm=draft.algorithm
        )
        draft.add_entries(entries)
        session.settle(context)
        return [ArtifactManifestEntry(entry, draft.algorithm) for entry in entries]

    @translated
    def add(self, obj: Any, name: str | PurePath, overwrite: bool = False) -> ArtifactManifestEntry:
        """Add an object as a file of its field's usual format; `get` gives it back.

        Args:
            obj: a table, data frame, array, image, figure, or JSON value; `regcli help python` lists them.
            name: the path inside the artifact; an ending is added where it says nothing of the format.
            overwrite: replace a file of that path with other content.

        Raises:
            ArtifactFinalizedError: the artifact is finalized or logged.
            TypeError: there is no format for such an object.
            ValueError: the path has other content already.
        """
        draft = self._changeable("add")
        from regcli.api import codecs

        path, local, info = codecs.encode(obj, str(_text(name)))
        try:
            entry = draft.add_file(
                local, path, overwrite=overwrite, extra={"object": {**info, "name": str(_text(name))}}
            )  # fmt: skip
        finally:
            _remove_temporary(local)
        return ArtifactManifestEntry(entry, draft.algorithm)

    def __setitem__(self, name: str, obj: Any) -> None:
        """Add an object, as `add` does."""
        self.add(obj, name)

    def new_file(self, name: str, mode: str = "x", encoding: str | None = None, policy: str | None = "mutable") -> NewFile:
        """Open a new file of the artifact for writing; it is added when the `with` block ends without an error.

        Args:
            name: its path inside the artifact.
            mode: `x`, `xb`, `w`, `wb`; without an `x` an existing file is replaced.
            encoding: of a text file, UTF-8 by default.
            policy: as for `add_file`; the file is taken at once in any case.

        Raises:
            ArtifactFinalizedError: the artifact is finalized or logged.
            ValueError: the name is taken (`x`), or cannot be a path inside an artifact; the mode cannot write.
        """
        draft = self._changeable("new_file")
        if policy not in (None, "mutable", "immutable"):
            raise ValueError(f'policy must be "mutable" or "immutable", not {policy!r}')
        if not set(mode) & set("xwa"):
            raise ValueError(f"mode {mode!r} cannot write; use 'x', 'xb', 'w' or 'wb'")
        if translated(draft.has)(name) and "x" in mode:
            raise ValueError(f"File with name {name!r} already exists at {name!r}")
        return NewFile(self, name, mode, encoding)

    @translated
    def remove(self, item: StrPath | ArtifactManifestEntry) -> None:
        """Remove an entry, a path, or a directory with everything below it.

        Raises:
            ArtifactFinalizedError: the artifact is finalized or logged.
            FileNotFoundError: nothing in the artifact has that path.
        """
        from regcli.errors import NotFoundError

        draft = self._changeable("remove")
        try:
            draft.remove(item.path if isinstance(item, ArtifactManifestEntry) else item)
        except NotFoundError as error:
            raise documented(error, FileNotFoundError) from error

    def get_added_local_path_name(self, local_path: str) -> str | None:
        """Return the path inside the artifact that a local path was added as (the exact text counts), or None."""
        return self._draft.local_name(local_path)

    def finalize(self) -> None:
        """Allow no more changes of the content; logging does it too. Metadata and description can still be set."""
        self._is_finalized = True


def _text(name: str | PurePath | None) -> str | None:
    if name is None or isinstance(name, str):
        return name
    # A PureWindowsPath knows that its backslashes mean "/".
    return name.as_posix() if hasattr(name, "as_posix") else os.fspath(name)


def _remove_temporary(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


class NewFile:
    """A file that is being written for an artifact, as `Artifact.new_file` returns it, to be used with `with`."""

    def __init__(self, artifact: Contents, name: str, mode: str, encoding: str | None) -> None:
        """Take what `new_file` checked."""
        self._artifact = artifact
        self._name = name
        self._mode = mode
        self._encoding = encoding if "b" in mode or encoding is not None else "utf-8"
        self._directory = ""
        self._stream: IO[Any] | None = None

    def __enter__(self) -> IO[Any]:
        """Open the file."""
        from tempfile import mkdtemp

        self._directory = mkdtemp(prefix="regcli-")
        self._stream = open(os.path.join(self._directory, "file"), self._mode, encoding=self._encoding)
        return self._stream

    @translated
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file and, unless the block raised, add it."""
        from shutil import rmtree

        try:
            if self._stream is not None:
                self._stream.close()
            if kind is None:
                path = os.path.join(self._directory, "file")
                self._artifact._changeable("new_file").add_file(path, self._name, overwrite="x" not in self._mode)
        finally:
            rmtree(self._directory, ignore_errors=True)
