"""The documented `Artifact` class: a draft that files are added to, then a version that is logged, or a link to one."""

from __future__ import annotations

from regcli.api import session
from regcli.api.contents import Contents
from regcli.api.errors import documented, translated
from regcli.api.lifecycle import Lifecycle
from regcli.api.retrieval import Retrieval
from regcli.domain.names import check_artifact_names, parse_tags
from regcli.domain.resolving import source_of
from regcli.domain.values import to_metadata, to_optional_text
from regcli.errors import RegcliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Any

    from regcli.api.collections import ArtifactCollection
    from regcli.api.ttl import ArtifactTTL
    from regcli.domain.resolving import Version

MAX_LINKED = 500


class Artifact(Contents, Retrieval, Lifecycle):
    """A versioned set of files with metadata.

    A new one is a draft: add files, then log it with `run.log_artifact(artifact)` or `artifact.save()`. Logged, its content
    is fixed; aliases, tags, description, metadata and TTL can be edited and are stored by `save()`. Artifacts that
    `Api.artifact` or `use_artifact` return are logged; one that is found in a registry is a *link*, which shares everything
    but its place, version and aliases with its source. One draft may be filled by several threads.

    Source: the W&B SDK's class of the same name; `semantics.md` 1.3 lists each rule.
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: dict[str, Any] | str | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
        digest_algorithm: str = "XXH128",
    ) -> None:
        """Begin a draft.

        Args:
            name: of the collection it is logged to: ASCII letters, digits, `_`, `-`, `.`, at most 128; unique in the project.
            type: such as `dataset` or `model`, of the same characters; `job` and `wandb-…` are reserved.
            description: Markdown.
            metadata: a dictionary of JSON values with at most 100 keys, or a JSON string; copied.
            incremental: start from the latest version's files when it is logged. `new_draft()` is the better way.
            use_as: accepted for the original's scripts, and ignored.
            storage_region: accepted for the original's scripts; a store is one directory.
            digest_algorithm: `XXH128`, or `MD5` for the digests that the original computes by default.

        Raises:
            ValueError: a name, a type, the metadata or the algorithm is not allowed.
            TypeError: the metadata is not a dictionary of JSON values.
        """
        self._name, self._type = translated(check_artifact_names)(name, type)
        self._metadata = translated(to_metadata)(metadata)
        if digest_algorithm not in ("XXH128", "MD5"):
            raise ValueError(f"digest_algorithm must be 'XXH128' or 'MD5', not {digest_algorithm!r}")
        if storage_region is not None and not (storage_region and isinstance(storage_region, str)):
            raise ValueError("storage_region must be a string that is not empty")
        if use_as is not None:
            session.warn("use_as is deprecated and has no effect")
        if incremental:
            session.warn("incremental=True is experimental; Artifact.new_draft() is the better way to change a version")
        self._begin(digest_algorithm)
        self._incremental = incremental
        self._storage_region = storage_region
        self._description = translated(to_optional_text)(description, "the description")

    # Names

    @property
    def id(self) -> str | None:
        """The artifact's id, 32 hex digits, the same for a source and its links; None for a draft."""
        return self._record["id"] if self._version is not None else None

    @property
    def entity(self) -> str:
        """The entity of the collection; of a registry's, the root's own entity."""
        version = self._logged("entity")
        return version.collection.state["entity"] or self._context("entity").root.entity

    @property
    def project(self) -> str:
        """The project of the collection; of a registry's, `wandb-registry-NAME`."""
        version = self._logged("project")
        if version.collection.registry is not None:
            return f"wandb-registry-{version.collection.registry.name}"
        project: str = version.collection.state["project"]
        return project

    @property
    def name(self) -> str:
        """`COLLECTION:vN`, or with the alias that it was fetched by; of a draft the bare name."""
        return self._name if self._version is None else f"{self._name}:{self._fetched_as}"

    @property
    def qualified_name(self) -> str:
        """`ENTITY/PROJECT/NAME`, which `Api.artifact` and the command line take."""
        self._logged("qualified_name")
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def version(self) -> str:
        """`vN` in the collection that it was fetched from."""
        return self._logged("version").version

    @property
    def collection(self) -> ArtifactCollection:
        """The collection that it was fetched from."""
        from regcli.api.collections import ArtifactCollection

        return ArtifactCollection._from_collection(self._logged("collection").collection)

    @property
    def source_entity(self) -> str:
        """The entity that it was logged in."""
        self._logged("source_entity")
        entity: str = self._source().collection.state["entity"]
        return entity

    @property
    def source_project(self) -> str:
        """The project that it was logged in."""
        self._logged("source_project")
        project: str = self._source().collection.state["project"]
        return project

    @property
    def source_name(self) -> str:
        """`COLLECTION:vN` where it was logged; of a draft the bare name."""
        if self._version is None:
            return self._name
        source = self._source()
        return f"{source.collection.name}:{source.version}"

    @property
    def source_qualified_name(self) -> str:
        """`ENTITY/PROJECT/COLLECTION:vN` where it was logged."""
        self._logged("source_qualified_name")
        return self._source().ref

    @property
    def source_version(self) -> str:
        """`vN` where it was logged."""
        self._logged("source_version")
        return self._source().version

    @property
    def source_collection(self) -> ArtifactCollection:
        """The collection that it was logged in."""
        from regcli.api.collections import ArtifactCollection

        self._logged("source_collection")
        return ArtifactCollection._from_collection(self._source().collection)

    @property
    def is_link(self) -> bool:
        """Whether it is a link; False for a draft."""
        return self._version is not None and self._version.is_link

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The links of a source, at most 500, whose `aliases` also have `vN`; empty for a link.

        Links in registries that the user may not see are left out.
        """
        from regcli.domain.documents import visible_links

        version = self._logged("linked_artifacts")
        if version.is_link:
            return []
        context = self._context("linked_artifacts")
        found = []
        for link in _try(lambda: visible_links(context, version.record["id"]))[:MAX_LINKED]:
            artifact = Artifact._from_version(context, link, shared=self._record)
            artifact._with_index_alias = True
            artifact._attach(context, link, shared=self._record)
            found.append(artifact)
        return found

    @property
    def source_artifact(self) -> Artifact:
        """The artifact that was logged: of a link its source, else itself.

        Raises:
            ValueError: the source cannot be read any more.
        """
        version = self._logged("source_artifact")
        if not version.is_link:
            return self
        context = self._context("source_artifact")
        try:
            return Artifact._from_version(context, source_of(context, version))
        except RegcliError as error:
            raise documented(error, ValueError) from error

    def _source(self) -> Version:
        version = self._logged("source_version")
        return translated(source_of)(self._context("source"), version)

    @property
    def url(self) -> str:
        """A `file:` URL of the collection in the store, with `#vN`; it names the version, its files lie elsewhere."""
        from urllib.parse import quote

        version = self._logged("url")
        return f"file://{quote(version.collection.base)}#{version.version}"

    # What is recorded with it

    @property
    def type(self) -> str:
        """The artifact type; it cannot be changed."""
        return self._type

    @property
    def description(self) -> str | None:
        """Markdown; shared by a source and its links. `save()` stores a change."""
        return self._description

    @description.setter
    def description(self, description: str | None) -> None:
        self._warn_of_source("description")
        self._description = translated(to_optional_text)(description, "the description")

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary of JSON values, at most 100 keys; shared by a source and its links. `save()` stores a change."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: dict[str, Any] | str | None) -> None:
        self._warn_of_source("metadata")
        self._metadata = _try(lambda: to_metadata(metadata))

    @property
    def ttl(self) -> timedelta | None:
        """How long the version is kept from its creation on, or None for ever; a linked version is kept for ever.

        Raises:
            ArtifactNotLoggedError: a draft that follows the default, which only a logged artifact knows.
        """
        from datetime import timedelta

        if self._ttl != "inherit":
            return None if self._ttl is None else timedelta(seconds=int(self._ttl))
        seconds = translated(self._inherited_ttl)()
        return None if seconds is None else timedelta(seconds=seconds)

    @ttl.setter
    def ttl(self, ttl: timedelta | ArtifactTTL | None) -> None:
        from datetime import timedelta

        from regcli.api.ttl import ArtifactTTL

        if self.is_link:
            raise ValueError(
                "Cannot set TTL for link artifact. Unlink the artifact first then set the TTL for the source artifact"
            )
        if ttl is ArtifactTTL.INHERIT:
            self._ttl = "inherit"
        elif ttl is None:
            self._ttl = None
        elif isinstance(ttl, timedelta):
            if ttl.total_seconds() < 1:
                # The original cuts this to 0 and then never expires the version.
                raise ValueError("Artifact TTL must be at least one second")
            self._ttl = int(ttl.total_seconds())
        else:
            raise TypeError(f"ttl must be a timedelta, ArtifactTTL.INHERIT or None, not {ttl!r}")

    def _inherited_ttl(self) -> int | None:
        from regcli.domain.documents import links_of
        from regcli.domain.lifetime import effective_ttl
        from regcli.domain.settings import root_settings

        version = self._logged("ttl")
        context = self._context("ttl")
        if next(links_of(context, version.record["id"]), None) is not None:
            return None
        return effective_ttl(version.collection, self._record["ttl"], root_settings(context).state["ttl"])

    @property
    def aliases(self) -> list[str]:
        """The version's aliases in its collection, `latest` included and `vN` not; a link's own.

        The list may be edited in place or assigned; `save()` stores the change. `latest` always stays with the highest
        version, whether or not an assigned list has it.
        """
        self._logged("aliases")
        return self._aliases

    @aliases.setter
    def aliases(self, aliases: list[str]) -> None:
        self._logged("aliases")
        self._aliases = list(aliases)

    @property
    def tags(self) -> list[str]:
        """The version's tags, shared by a source and its links. Edit in place or assign; `save()` stores the change."""
        self._logged("tags")
        return self._tags

    @tags.setter
    def tags(self, tags: list[str]) -> None:
        self._logged("tags")
        self._warn_of_source("tags")
        self._tags = [str(tag) for tag in _try(lambda: parse_tags(tags))]

    def _warn_of_source(self, what: str) -> None:
        if self.is_link:
            session.warn(f"changing the {what} of a link changes its source and all other links of it")

    @property
    def use_as(self) -> str | None:
        """Deprecated; always None."""
        session.warn("use_as is deprecated and has no effect")
        return None

    @property
    def state(self) -> str:
        """`PENDING` for a draft, `COMMITTED`, or `DELETED`."""
        if self._version is None:
            return "PENDING"
        return "DELETED" if self._is_deleted else "COMMITTED"

    @property
    def incremental(self) -> bool:
        """Whether logging starts from the latest version's files."""
        return self._incremental

    @property
    def distributed_id(self) -> str | None:
        """What the parts of a version that several processes build have in common, or None."""
        return self._distributed_id

    @distributed_id.setter
    def distributed_id(self, distributed_id: str | None) -> None:
        self._distributed_id = distributed_id

    @property
    def storage_region(self) -> str | None:
        """As given; without effect here."""
        return self._storage_region

    # What the content amounts to

    @property
    def digest(self) -> str:
        """The digest of the contents, 32 hex digits: of paths and file digests, nothing else."""
        return self._draft.digest if self._version is None else self._version.digest

    @property
    def digest_algorithm(self) -> str:
        """`XXH128` or `MD5`."""
        return self._draft.algorithm

    @property
    def size(self) -> int:
        """Bytes of all files and references; a reference of unknown size counts 0."""
        size: int = self._draft.size if self._version is None else self._record["size"]
        return size

    @property
    def file_count(self) -> int:
        """How many files and references there are."""
        self._logged("file_count")
        count: int = self._record["file_count"]
        return count

    @property
    def commit_hash(self) -> str:
        """SHA-256 of the manifest, which the store's history vouches for; 64 hex digits."""
        self._logged("commit_hash")
        digest: str = self._record["manifest_sha256"]
        return digest

    @property
    def created_at(self) -> str:
        """When it was logged, RFC 3339 in UTC."""
        self._logged("created_at")
        moment: str = self._record["created_at"]
        return moment

    @property
    def updated_at(self) -> str:
        """When it was last edited, RFC 3339 in UTC."""
        self._logged("updated_at")
        moment: str = self._record["updated_at"] or self._record["created_at"]
        return moment

    @property
    def linked_at(self) -> str | None:
        """When the link was made, RFC 3339 in UTC; None for a source."""
        return self._logged("linked_at").record.get("linked_at")

    @property
    def history_step(self) -> int | None:
        """The step of the run's metrics that it was logged at; None if nothing was logged before, or without a run."""
        self._logged("history_step")
        step: int | None = self._record.get("history_step")
        return step

    @property
    def metrics(self) -> dict[str, float | int]:
        """The metrics that were logged with it, by name; what `regcli compare` shows."""
        self._logged("metrics")
        return dict(self._record["metrics"])

    def __repr__(self) -> str:
        """Show name and state."""
        if self._version is None:
            return f"<Artifact draft {self._name} ({self._type})>"
        return f"<Artifact {self.qualified_name}>"


def _try(function: Any) -> Any:
    return translated(function)()
