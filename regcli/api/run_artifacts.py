"""The part of `Run` that logs, publishes and uses artifacts."""

from __future__ import annotations

import os

from regcli.api import session
from regcli.api.artifact import Artifact
from regcli.api.errors import translated
from regcli.domain.names import parse_aliases
from regcli.domain.paths import canonical_path
from regcli.domain.resolving import resolve
from regcli.errors import NotFoundError, TypeMismatchError
from regcli.model import REGISTRY_PREFIX, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.api.pages import Pages
    from regcli.domain.context import Context
    from regcli.domain.log_request import LogRequest
    from regcli.domain.types import Chain

    StrPath = str | os.PathLike[str]


class RunArtifacts:
    """What a run does with artifacts; the attributes are documented in `Run`."""

    entity: str
    project: str
    id: str
    group: str | None
    _session: session.Session
    _chain: Chain

    def _complete(self, request: LogRequest) -> None:
        """Add to a request what a version of this run records."""
        raise NotImplementedError

    def _require_running(self, what: str) -> None:
        """Raise when the run is finished."""
        raise NotImplementedError

    def _derive(self, command: str) -> Context:
        return self._session.context_for(f"Run.{command}", f"{self.entity}/{self.project}")

    @translated
    def log_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Log an artifact, or files as one, as an output of this run. Returns it, logged.

        Content that equals the collection's latest version makes no new version; aliases and tags are applied to that one.

        Args:
            artifact_or_path: a draft, or the path of a file or directory, or a URI to be referenced.
            name: for a path: the artifact's name, by default `run-ID-BASENAME`.
            type: for a path: the artifact's type, by default `unspecified`.
            aliases: for the version; `latest` it has anyway.
            tags: for the version.

        Raises:
            ValueError: the name exists with another type, an alias or tag breaks the rules, or a file changed since it was
                added.
        """
        self._require_running("log_artifact")
        artifact = self._artifact_of(artifact_or_path, name, type)
        if not artifact.is_draft():
            self._apply(artifact, aliases, tags)
            return artifact
        artifact._log_by(self, artifact._request(aliases, tags))
        return artifact

    def _apply(self, artifact: Artifact, aliases: Any, tags: Any) -> None:
        """Log a logged artifact again: its content is there, so only aliases and tags are applied."""
        session.warn(f"{artifact.name} is logged already; its aliases and tags are applied")
        artifact.aliases = [*artifact.aliases, *map(str, parse_aliases(aliases))]
        if tags:
            artifact.tags = [*artifact.tags, *([tags] if isinstance(tags, str) else tags)]
        artifact.save()

    def _artifact_of(self, item: Artifact | StrPath, name: str | None, kind: str | None) -> Artifact:
        if isinstance(item, Artifact):
            if kind is not None and kind != item.type:
                raise TypeMismatchError(f"artifact {quote(item.name)} has type {quote(item.type)}, not {quote(kind)}")
            return item
        path = os.fspath(item)
        artifact = Artifact(name or _default_name(self.id, path), kind or "unspecified")
        if "://" in path:
            artifact.add_reference(path)
        elif os.path.isdir(path):
            artifact.add_dir(path)
        else:
            artifact.add_file(path)
        return artifact

    @translated
    def link_artifact(self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
        """Publish an artifact in a collection of a registry and return the link; a draft is logged first.

        Args:
            artifact: a draft, a logged artifact or a link.
            target_path: as for `Artifact.link`.
            aliases: for the link; `latest` it has anyway.

        Raises:
            CommError, ValueError: as for `Artifact.link`.
        """
        self._require_running("link_artifact")
        if artifact.is_draft():
            self.log_artifact(artifact)
        return artifact._link(self._derive("link_artifact"), target_path, aliases)

    @translated
    def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Record an artifact as an input of this run and return it; using it again changes nothing.

        Args:
            artifact_or_name: a path as for `Api.artifact`, or an artifact; a draft is logged first.
            type: the type that it must have.
            aliases: for a draft.
            use_as: deprecated, ignored.

        Raises:
            ValueError: it has another type. CommError: there is none, or the user may only look.
        """
        del use_as
        self._require_running("use_artifact")
        from regcli.domain.lineage import use

        context = self._derive("use_artifact")
        if isinstance(artifact_or_name, Artifact):
            artifact = artifact_or_name
            if artifact.is_draft():
                self.log_artifact(artifact, aliases=aliases)
            version = artifact._logged("use")
        else:
            path = canonical_path(context, artifact_or_name)
            version = resolve(context, path, action="use")
            artifact = Artifact._from_version(context, version, _selector_of(path))
        if type is not None and type != artifact.type:
            raise TypeMismatchError(f"artifact {quote(version.ref)} has type {quote(artifact.type)}, not {quote(type)}")
        use(context, version.ref, run=self.id)
        session.settle(context)
        return artifact

    @translated
    def upsert_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Add this process's part of a version that several processes build; `finish_artifact` makes the version.

        Args:
            artifact_or_path: a draft or a path, as for `log_artifact`.
            name: for a path.
            type: for a path.
            aliases: for the version.
            distributed_id: what the parts have in common, by default the run's group.

        Raises:
            TypeError: neither `distributed_id` nor a group is given.
            ValueError: another part has another type. CommError: other content under one path; nothing was added.
        """
        from regcli.domain.distributed import add_part

        common = self._distributed_id(distributed_id)
        artifact = self._artifact_of(artifact_or_path, name, type)
        request = artifact._request(aliases)
        request.run = self.id
        add_part(self._derive("upsert_artifact"), request, common)
        artifact._distributed_id = common
        artifact.finalize()
        return artifact

    @translated
    def finish_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Make the version of all parts that were added, this one included, as an output of this run.

        Later parts of the same id begin another version. Arguments and errors are those of `upsert_artifact`.
        """
        from regcli.domain.distributed import add_part, finish_parts

        common = self._distributed_id(distributed_id)
        context = self._derive("finish_artifact")
        artifact = self._artifact_of(artifact_or_path, name, type)
        request = artifact._request(aliases)
        if request.entries or request.sources:
            add_part(context, request, common)
        rest = artifact._request(aliases)
        rest.entries, rest.sources, rest.contents, rest.expected, rest.digest = [], [], {}, {}, ""
        self._complete(rest)
        artifact._become(context, finish_parts(context, artifact.name, common, rest))
        return artifact

    def _distributed_id(self, given: str | None) -> str:
        self._require_running("upsert_artifact")
        common = given or self.group
        if not common:
            raise TypeError("upsert_artifact and finish_artifact need a distributed_id, or a run with a group")
        return common

    # Models, as older scripts have them

    @translated
    def log_model(self, path: StrPath, name: str | None = None, aliases: Sequence[str] | None = None) -> None:
        """Log files as an artifact of type `model`; the older form of `log_artifact`.

        Args:
            path: a file, a directory or a URI.
            name: of the artifact, by default `run-ID-BASENAME`.
            aliases: for the version; `latest` it has anyway.
        """
        self.log_artifact(path, name, "model", aliases)

    @translated
    def use_model(self, name: str) -> str:
        """Use an artifact whose type has `model` in it, download it, and return where; of a single file that file's path.

        Args:
            name: as for `use_artifact`.

        Raises:
            AssertionError: it has another type; nothing is recorded. CommError: there is none.
        """
        self._require_running("use_model")
        context = self._derive("use_model")
        _check_model(str(resolve(context, canonical_path(context, name)).collection.state["type"]))
        artifact = self.use_artifact(name)
        root = artifact.download()
        return os.path.join(root, artifact.files()[0].name) if artifact.file_count == 1 else root

    @translated
    def link_model(
        self,
        path: StrPath,
        registered_model_name: str,
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Log files as a model and publish it in the registry `model`; the older form of `link_artifact`.

        Files that equal the latest version of `name` make no new version.

        Args:
            path: a file, a directory or a URI.
            registered_model_name: of the collection, without registry; made when it is missing.
            name: of the artifact, by default `run-ID-BASENAME`.
            aliases: for the link; `latest` it has anyway.

        Raises:
            AssertionError: a name with a slash, or the artifact is there and its type does not have `model` in it; nothing
                was logged.
            ValueError, CommError: as for `log_artifact` and `Artifact.link`.
        """
        self._require_running("link_model")
        if "/" in registered_model_name:
            raise AssertionError("Please provide only the name of the registered model, without entity or project")
        kind = self._type_of(name) if name is not None else None
        artifact = self.log_artifact(path, name, _check_model(kind or "model"))
        return self.link_artifact(artifact, f"{REGISTRY_PREFIX}model/{registered_model_name}", aliases)

    def _type_of(self, name: str) -> str | None:
        """Return the type of the collection of that name, or None where there is none."""
        try:
            return str(resolve(self._derive("link_model"), name).collection.state["type"])
        except NotFoundError:
            return None

    def logged_artifacts(self, per_page: int = 100) -> Pages[Artifact]:
        """Return the artifacts that it logged, oldest first."""
        from regcli.api.run_view import PublicRun

        return PublicRun(self._derive("logged_artifacts"), self._chain, self._chain.read()).logged_artifacts(per_page)

    def used_artifacts(self, per_page: int = 100) -> Pages[Artifact]:
        """Return the artifacts that it used, oldest first."""
        from regcli.api.run_view import PublicRun

        return PublicRun(self._derive("used_artifacts"), self._chain, self._chain.read()).used_artifacts(per_page)


def _check_model(kind: str) -> str:
    if "model" not in kind.lower():
        raise AssertionError(
            f"You can only use this method for 'model' artifacts: the type must contain the substring 'model', not be {kind!r}"
        )
    return kind


def _selector_of(path: str) -> str | None:
    _, colon, selector = path.partition(":")
    return selector if colon and not selector.startswith("@") else None


def _default_name(run_id: str, path: str) -> str:
    base = os.path.basename(path.rstrip("/")) or "files"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "_" for c in base)
    return f"run-{run_id}-{plain}"[:128]
