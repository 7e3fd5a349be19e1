"""Begin runs, and the functions that work with the active one."""

from __future__ import annotations

import atexit
import os

from regcli.api import ending, session
from regcli.api.errors import documented, translated
from regcli.api.mappings import plain_mapping
from regcli.api.run import Run
from regcli.api.settings import defaults_of
from regcli.domain import runs
from regcli.domain.values import to_json, to_optional_text, to_text
from regcli.errors import ConflictError, InvalidNameError, UsageError
from regcli.model import ArtifactName, ProjectRef, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from regcli.api.artifact import Artifact
    from regcli.api.settings import Settings
    from regcli.domain.context import Context

    StrPath = str | os.PathLike[str]

_MODES = (None, "online", "offline", "shared", "run", "dryrun")
_RESUME = {"must": True, "never": False}


@translated
def init(
    entity: str | None = None,
    project: str | None = None,
    dir: StrPath | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Mapping[str, Any] | Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    anonymous: object = None,
) -> Run:
    """Begin a run and make it the active one; without a server, so every mode but `disabled` is the same.

    Args:
        entity: the team, by default the root's own.
        project: by default `REGCLI_PROJECT`, or `default`.
        dir: accepted for the original's scripts.
        id: its unique name in the project; one that is there is gone on with.
        name: how it is shown; also its `id` where that is free and no `id` is given.
        notes: free text.
        tags: words to find it by.
        config: settings, a mapping or an `argparse.Namespace`.
        config_exclude_keys: keys of `config` to leave out.
        config_include_keys: the only keys of `config` to take.
        allow_val_change: accepted for the original's scripts.
        group: the experiment that it is a part of; also the `distributed_id` of its artifacts.
        job_type: such as `train`.
        mode: accepted for the original's scripts; `disabled` is an error.
        force: accepted for the original's scripts.
        reinit: `"finish_previous"` or True ends the active run first, `"create_new"` leaves it; by default the active run
            is returned.
        resume: `"must"`: the id must be there; `"never"`: it must not.
        resume_from: not supported.
        fork_from: not supported.
        save_code: accepted for the original's scripts.
        tensorboard: accepted for the original's scripts; such files are not read.
        sync_tensorboard: the same.
        monitor_gym: accepted for the original's scripts.
        settings: defaults of the arguments above; see `Settings`.
        anonymous: accepted for the original's scripts.

    Raises:
        ValueError: a name breaks the rules, the mode is not known, or something is not supported.
        CommError: `resume` forbids it.
        TypeError: `config` has a value without a form in JSON.
    """
    del dir, allow_val_change, force, save_code, monitor_gym, anonymous
    defaults = defaults_of(settings)
    entity, project = entity or defaults.get("entity"), project or defaults.get("project")
    run_id, name, notes = id or defaults.get("id"), name or defaults.get("name"), notes or defaults.get("notes")
    tags, group, job_type = tags or defaults.get("tags"), group or defaults.get("group"), job_type or defaults.get("job_type")
    mode, resume = mode or defaults.get("mode"), resume or defaults.get("resume")
    if resume_from is not None or fork_from is not None:
        raise UsageError("runs cannot be forked or taken back to an earlier step", hint="begin another run, or resume=")
    if tensorboard or sync_tensorboard:
        session.warn("TensorBoard's files are not read; log metrics with run.log()")
    if mode not in _MODES:
        raise UsageError(f"mode {quote(str(mode))} is not supported: runs are always recorded", hint="leave it out")
    active = session.session().run
    if active is not None and not active._is_ours():
        active = None  # of the process that this one was forked from
    if active is not None and reinit != "create_new":
        if reinit in (None, False, "default", "return_previous"):
            return active
        active.finish()
    base = session.context_for("Run.init")
    context = base.derive("Run.init", _project_path(base, entity, project))
    context.make_root()
    wanted = plain_mapping(config)
    kept = {
        key: value
        for key, value in wanted.items()
        if key not in (config_exclude_keys or ()) and (config_include_keys is None or key in config_include_keys)
    }
    chosen: dict[str, Any] = to_json(kept, keep_special=True)
    texts = {"job_type": job_type, "group": group, "notes": notes, "title": name}
    further: dict[str, Any] = {key: to_optional_text(value, f"the run's {key}") for key, value in texts.items()}
    further.update(config=chosen, tags=[to_text(tag, "a tag") for tag in ([tags] if isinstance(tags, str) else tags or ())])
    begun = _begin(context, run_id, name, resume, further)
    run = Run(begun[0], begun[1], resumed=begun[2])
    session.settle(context)
    session.session().run = run
    _finish_at_exit(run)
    return run


def _project_path(context: Context, entity: str | None, project: str | None) -> str:
    current = context.project
    owner = to_optional_text(entity, "the entity") or current.entity
    return str(ProjectRef(owner, to_optional_text(project, "the project") or current.project))


def _begin(context: Context, given: str | None, name: str | None, resume: Any, further: dict[str, Any]) -> Any:
    if given is not None:
        to_text(given, "the run's id")
        return runs.begin_run(context, given, resume=_RESUME.get(str(resume)), **further)
    if name is not None:
        try:
            return runs.begin_run(context, ArtifactName.parse(name), resume=False, **further)
        except (ConflictError, InvalidNameError):
            # The name is taken, or is one for people only: then it is only shown.
            pass
    while True:
        try:
            return runs.begin_run(context, _random_id(), resume=False, **further)
        except ConflictError:
            continue


def _random_id() -> str:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(letters[byte % len(letters)] for byte in os.urandom(8))


def _finish_at_exit(run: Run) -> None:
    ending.watch()
    atexit.register(lambda: run.finish(1 if ending.has_failed() else 0))


def active_run(what: str) -> Run:
    """Return the active run.

    Raises:
        UsageError: there is none.
    """
    run = session.session().run
    if run is None:
        raise documented(UsageError(f"call init() before {what}()", hint="run = regcli.init(project=…)"))
    return run


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log metrics with the active run; see `Run.log`."""
    active_run("log").log(data, step, commit)


def log_artifact(
    artifact_or_path: Artifact | StrPath,
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Artifact:
    """Log an artifact with the active run; see `Run.log_artifact`."""
    return active_run("log_artifact").log_artifact(artifact_or_path, name, type, aliases, tags)


def link_artifact(artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
    """Publish an artifact with the active run; see `Run.link_artifact`."""
    return active_run("link_artifact").link_artifact(artifact, target_path, aliases)


def use_artifact(
    artifact_or_name: Artifact | str,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    use_as: str | None = None,
) -> Artifact:
    """Use an artifact in the active run; see `Run.use_artifact`."""
    return active_run("use_artifact").use_artifact(artifact_or_name, type, aliases, use_as)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the active run, if there is one."""
    run = session.session().run
    if run is not None:
        run.finish(exit_code, quiet)


def login(*_: Any, **__: Any) -> bool:
    """Return True: who you are is the operating system's user, and there is no server to log in to."""
    return True
