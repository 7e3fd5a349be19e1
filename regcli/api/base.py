"""What all parts of the `Artifact` class share: its state, and the guards."""

from __future__ import annotations

import copy

from regcli.api import session
from regcli.api.errors import ArtifactFinalizedError, ArtifactNotLoggedError
from regcli.domain.caches import stat_cache
from regcli.domain.drafts import Draft
from regcli.domain.resolving import shared_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from regcli.api.manifest_entry import ArtifactManifest
    from regcli.domain.context import Context
    from regcli.domain.resolving import Version


class ArtifactBase:
    """The state of an artifact: a draft's contents, or the version that it is.

    Attributes of the subclass are documented there; those that begin with `_` are not for users.
    """

    _name: str
    _type: str
    _description: str | None
    _metadata: dict[str, Any]
    _ttl: int | str | None
    _incremental: bool
    _storage_region: str | None
    _project_path: str | None
    _parent: str | None
    _distributed_id: str | None
    _is_finalized: bool
    _is_deleted: bool
    _version: Version | None
    _record: dict[str, Any]
    _fetched_as: str
    _aliases: list[str]
    _saved_aliases: list[str]
    _tags: list[str]
    _with_index_alias: bool
    _draft: Draft
    _manifest: ArtifactManifest | None
    _session: session.Session

    def _begin(self, algorithm: str) -> None:
        """Become an empty draft."""
        self._session = session.session()
        self._incremental = False
        self._storage_region = None
        self._description = None
        self._ttl = "inherit"
        self._project_path = None
        self._parent = None
        self._distributed_id = None
        self._is_finalized = False
        self._is_deleted = False
        self._version = None
        self._record = {}
        self._fetched_as = ""
        self._aliases = []
        self._saved_aliases = []
        self._tags = []
        self._with_index_alias = False
        self._manifest = None
        self._draft = Draft(lambda: self._context("add"), algorithm, cache=target_cache)

    @classmethod
    def _from_version(
        cls, context: Context, version: Version, fetched_as: str | None = None, shared: dict[str, Any] | None = None
    ) -> Self:
        """Return the artifact of a version that is stored; `shared` is its source's record where that is known."""
        made = cls.__new__(cls)
        made._begin(version.record["algorithm"])
        made._attach(context, version, fetched_as, shared)
        return made

    def _attach(
        self, context: Context, version: Version, fetched_as: str | None = None, shared: dict[str, Any] | None = None
    ) -> None:
        """Become the artifact of a version, or of its state as it is now."""
        self._session = session.session_of(context)
        record = shared if shared is not None else shared_record(context, version)
        if self._version is None:
            # What only a draft needs, such as contents in memory, is let go.
            self._draft = Draft(lambda: self._context("add"), record["algorithm"])
            self._manifest = None
        self._version = version
        self._record = record
        self._fetched_as = fetched_as or self._fetched_as or version.version
        self._name = version.collection.name
        self._type = version.collection.state["type"]
        self._description = record["description"]
        self._metadata = copy.deepcopy(record["metadata"])
        self._tags = list(record["tags"])
        self._ttl = None if version.is_link else record["ttl"]
        self._aliases = [*version.aliases, version.version] if self._with_index_alias else version.aliases
        self._saved_aliases = list(self._aliases)
        self._is_finalized = True

    def _context(self, command: str) -> Context:
        return self._session.context_for(f"Artifact.{command}", self._project_path)

    def _logged(self, member: str) -> Version:
        """Return the version; raise for a draft."""
        if self._version is None:
            raise ArtifactNotLoggedError(f"Artifact.{member}", self)
        return self._version

    def _changeable(self, member: str) -> Draft:
        """Return the draft; raise when it is finalized."""
        if self._is_finalized:
            raise ArtifactFinalizedError(f"Artifact.{member}", self)
        return self._draft


def target_cache(context: Context) -> Any:
    """Return the user's stat cache for a root."""
    return stat_cache(context, session.session().cache_path)
