"""The files of a logged artifact, one by one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from regcli.api.artifact import Artifact
    from regcli.api.manifest_entry import ArtifactManifestEntry


class File:
    """A file of a logged artifact, as `Artifact.files()` yields it.

    Attributes:
        name: its path inside the artifact.
        size: bytes; 0 for a reference of unknown size.
        digest: base64, as in the manifest (see `ArtifactManifestEntry.digest`).
    """

    def __init__(self, artifact: Artifact, entry: ArtifactManifestEntry) -> None:
        """Show one entry of a logged artifact."""
        self._artifact = artifact
        self._entry = entry
        self.name = entry.path
        self.size = entry.size or 0
        self.digest = entry.digest

    @property
    def id(self) -> str:
        """Where it is: the artifact's id and the path."""
        return f"{self._artifact.id}/{self.name}"

    @property
    def path_uri(self) -> str:
        """The URI of a reference, else `""`."""
        return self._entry.ref or ""

    @property
    def url(self) -> str:
        """A URL that names the file, for `add_reference`."""
        return self._entry.ref_url()

    @property
    def mimetype(self) -> str | None:
        """The media type that the name's ending means, or None."""
        import mimetypes

        return mimetypes.guess_type(self.name)[0]

    @property
    def updated_at(self) -> str | None:
        """When its version was logged."""
        return self._artifact.created_at

    def download(self, root: str | os.PathLike[str] = ".", replace: bool = False, exist_ok: bool = False) -> TextIO:
        """Write the file below `root` and open it for reading as text.

        Args:
            root: a directory.
            replace: overwrite what is there.
            exist_ok: open what is there instead.

        Raises:
            ValueError: there is a file already, and neither `replace` nor `exist_ok` is given.
        """
        path = os.path.join(os.fspath(root), *self.name.split("/"))
        if os.path.exists(path) and not replace:
            if exist_ok:
                return open(path, encoding="utf-8")
            raise ValueError(f"File already exists, pass replace=True to overwrite or exist_ok=True to leave it: {path}")
        self._entry.download(root)
        return open(path, encoding="utf-8")

    def __repr__(self) -> str:
        """Show name and size."""
        return f"<File {self.name} ({self.mimetype or 'unknown type'}) {self.size} bytes>"
