"""The part of `Artifact` that acts on it as a whole: log, save, wait, link, unlink, delete, lineage."""

from __future__ import annotations

import copy

from regcli.api import session
from regcli.api.base import ArtifactBase, target_cache
from regcli.api.errors import translated
from regcli.domain.drafts import Draft
from regcli.domain.names import parse_aliases, parse_tags
from regcli.domain.resolving import resolve, source_of
from regcli.domain.values import to_metadata, to_text
from regcli.errors import NotFoundError, UsageError
from regcli.model import LATEST, TypeName, fold, version_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from regcli.api.artifact import Artifact
    from regcli.api.run_artifacts import RunArtifacts
    from regcli.api.run_view import PublicRun
    from regcli.domain.context import Context
    from regcli.domain.log_request import Logged, LogRequest


class Lifecycle(ArtifactBase):
    """From draft to version, and what can be done with one."""

    def is_draft(self) -> bool:
        """Tell whether it is not logged yet."""
        return self._version is None

    def save(self, project: str | None = None, settings: Any = None) -> None:
        """Log a draft, or store edits of a logged artifact's aliases, tags, description, metadata and TTL.

        A draft is logged by the active run; without one, by a run of job type `auto` that is made for it.

        Args:
            project: the project of such a run.
            settings: of such a run, as for `init`.

        Raises:
            CommError: the user may not, or an alias is protected; nothing was changed.
            ValueError: an alias or a tag breaks the rules, the type is another one, or a file changed since it was added.
        """
        if self._version is not None:
            self._save_edits()
            return
        active = session.session().run
        if active is not None:
            active.log_artifact(self)  # type: ignore[arg-type]
            return
        from regcli.api.active import init

        with init(project=project, job_type="auto", settings=settings) as run:
            run.log_artifact(self)  # type: ignore[arg-type]

    @translated
    def _save_edits(self) -> None:
        from regcli.domain.saving import save_version

        version = self._logged("save")
        for alias in self._aliases:
            to_text(alias, "an alias")
        added = [a for a in self._aliases if fold(a) not in {fold(b) for b in self._saved_aliases}]
        kept = {fold(alias) for alias in self._aliases}
        removed = [a for a in self._saved_aliases if fold(a) not in kept and version_index(a) is None and fold(a) != LATEST]
        if any(fold(alias) == LATEST for alias in added):
            raise UsageError(f"alias 'latest' is kept by regcli: it is not on {version.ref}, but on the highest version")
        context = self._context("save")
        saved = save_version(
            context, version.ref, add_aliases=parse_aliases(added), remove_aliases=removed, fields=self._changed_fields()
        )
        self._attach(context, saved)
        session.settle(context)

    def _changed_fields(self) -> dict[str, Any]:
        """Return what differs from the record that was read: what others changed meanwhile is not undone."""
        fields: dict[str, Any] = {
            "description": self._description or "",
            "metadata": to_metadata(self._metadata),
            "tags": [str(tag) for tag in parse_tags(self._tags)],
        }
        if not self._logged("save").is_link:
            fields["ttl"] = self._ttl
        return {key: value for key, value in fields.items() if value != self._record[key]}

    def wait(self, timeout: int | None = None) -> Self:
        """Return the artifact; logging is complete when `log_artifact` returns, so there is nothing to wait for.

        Raises:
            ArtifactNotLoggedError: the artifact was never logged.
        """
        del timeout
        self._logged("wait")
        return self

    # Logging

    def _request(self, aliases: Any = None, tags: Any = None) -> LogRequest:
        """Return the request to log this draft."""
        from regcli.domain.log_request import LogRequest

        request = LogRequest(self._name, TypeName.parse(self._type))
        self._draft.fill(request)
        request.description = self._description
        request.metadata = to_metadata(self._metadata)
        request.ttl = self._ttl
        request.aliases = parse_aliases(aliases)
        request.tags = parse_tags(tags)
        request.parent = self._parent
        if self._project_path is not None:
            request.name = f"{self._project_path}/{self._name}"
        return request

    def _log(self, context: Context, request: LogRequest) -> Logged:
        """Log a draft and become the version."""
        from regcli.domain.log import log_version

        context.make_root()
        request.cache = target_cache(context)
        if self._incremental:
            self._base_on_latest(context, request)
        self._is_finalized = True
        try:
            logged = log_version(context, request)
        except BaseException:
            # The draft can be mended and logged again.
            self._is_finalized = False
            raise
        self._become(context, logged)
        return logged

    def _become(self, context: Context, logged: Logged) -> None:
        session.settle(context)
        if logged.version is None:
            return
        if not logged.created:
            session.warn(f"{logged.version.ref} already exists with the same content. No new version will be created.")
            if logged.ignored:
                session.warn(f"ignored, since the version exists: {', '.join(logged.ignored)}; edit it and call save()")
        self._attach(context, logged.version, logged.version.version)

    def _base_on_latest(self, context: Context, request: LogRequest) -> None:
        ref = f"{request.name}:{LATEST}" if "/" in request.name else f"{context.project}/{request.name}:{LATEST}"
        try:
            resolve(context, ref)
        except NotFoundError:
            return
        request.base = ref

    # Publishing

    @translated
    def link(self, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
        """Publish the version in a collection of a registry (or of a project) and return the link.

        A draft is logged first. The collection is made when it is missing, the registry is not. Linking a link links its
        source; linking again returns the link that is there, with the aliases added. A link clears the version's TTL.

        Args:
            target_path: `wandb-registry-REGISTRY/COLLECTION`, with an organization in front or not; or `COLLECTION`,
                `PROJECT/COLLECTION`, `ENTITY/PROJECT/COLLECTION` for a collection of links in a project.
            aliases: for the link; `latest` it has anyway.

        Raises:
            CommError: there is no such registry, it does not accept the type, the entity is personal, or the user may not;
                nothing was linked.
            ValueError: an alias breaks the rules, or the collection has another type.
        """
        if self._version is None:
            self.save()
        return self._link(self._context("link"), target_path, aliases)

    def _link(self, context: Context, target_path: str, aliases: Any) -> Artifact:
        from regcli.api.artifact import Artifact
        from regcli.domain.linking import link_version
        from regcli.domain.paths import canonical_path

        version = self._logged("link")
        if version.is_link:
            session.warn(f"{version.ref} is a link; its source is linked instead")
        source = source_of(context, version)
        names = parse_aliases(aliases)
        # The entity and project of a bare target are those of the source.
        here = context.derive(context.command, f"{source.collection.state['entity']}/{source.collection.state['project']}")
        linked = link_version(here, version.ref, canonical_path(here, target_path), aliases=names)
        session.settle(here)
        if not self.is_draft() and not version.is_link:
            self._attach(context, resolve(context, version.ref))
        return Artifact._from_version(context, linked.version, linked.version.version)

    @translated
    def unlink(self) -> None:
        """Withdraw a link; its source stays.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft. ValueError: it is not a link.
            CommError: the user may not, or a protected alias holds it.
        """
        from regcli.domain.linking import unlink

        version = self._logged("unlink")
        if not version.is_link:
            raise UsageError(
                f"{version.ref} is not a linked artifact and cannot be unlinked. To delete it, use 'Artifact.delete' instead."
            )
        context = self._context("unlink")
        unlink(context, version.ref)
        session.settle(context)
        self._is_deleted = True

    @translated
    def delete(self, delete_aliases: bool = False) -> None:
        """Delete a version that was logged, softly: `regcli undelete` brings it back until `regcli gc`.

        On a link this only unlinks, with a warning.

        Args:
            delete_aliases: also when it has custom aliases, which go with it; ignored on a link.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
            CommError: a custom alias is on it and `delete_aliases` is not given, a link leads to it, or the user may not.
        """
        from regcli.domain.deletion import delete_version

        version = self._logged("delete")
        if version.is_link:
            session.warn(f"{version.ref} is a link: deleting it only unlinks it, and its source stays")
            self.unlink()
            return
        context = self._context("delete")
        delete_version(context, version.ref, delete_aliases=delete_aliases)
        session.settle(context)
        self._is_deleted = True

    @translated
    def new_draft(self) -> Artifact:
        """Return a draft with this version's contents, type, description and metadata; without aliases, tags and TTL.

        Logged, it becomes the next version of the *source's* collection. Unchanged files are not copied or read.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        from regcli.api.artifact import Artifact
        from regcli.domain.manifests import read_manifest

        version = self._logged("new_draft")
        context = self._context("new_draft")
        source = source_of(context, version)
        state = source.collection.state
        draft = Artifact.__new__(Artifact)
        draft._begin(source.record["algorithm"])
        draft._name = source.collection.name
        draft._type = state["type"]
        draft._description = self._description
        draft._metadata = copy.deepcopy(self._metadata)
        draft._project_path = f"{state['entity']}/{state['project']}"
        draft._parent = source.record["id"]
        entries = read_manifest(context, source.record)
        draft._draft = Draft(lambda: draft._context("add"), source.record["algorithm"], entries=entries, cache=target_cache)
        return draft

    # Lineage

    @translated
    def logged_by(self) -> PublicRun | None:
        """Return the run that logged it first, or None.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        from regcli.api.run_view import PublicRun

        self._logged("logged_by")
        return PublicRun._find(self._context("logged_by"), self._record["run"])

    @translated
    def used_by(self) -> list[PublicRun]:
        """Return the runs that used it or one of its links.

        Raises:
            ArtifactNotLoggedError: the artifact is a draft.
        """
        from regcli.api.run_view import PublicRun
        from regcli.domain.runs import runs_that_used

        version = self._logged("used_by")
        context = self._context("used_by")
        return [PublicRun(context, *found) for found in runs_that_used(context, version.record["id"])]

    def _log_by(self, run: RunArtifacts, request: LogRequest) -> None:
        """Log a draft as an output of a run."""
        run._complete(request)
        self._log(run._derive("log_artifact"), request)
