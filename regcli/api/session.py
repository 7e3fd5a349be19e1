"""What the library works with: the root and project of the process, read at first use, and the run that is active."""

from __future__ import annotations

import os
import threading

from regcli import surroundings
from regcli.domain.background import start_delivery
from regcli.domain.context import Context
from regcli.domain.trust import Trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.api.run import Run

_lock = threading.RLock()
_session: Session | None = None
# The last session of each root.
_sessions: dict[str, Session] = {}


class Session:
    """The settings of this process.

    Attributes:
        context: the surroundings that every operation derives its own from.
        cache_path: the user's directory for caches.
        run: the run that `init` began last and that is not finished, or None.
        chosen: `REGCLI_ROOT` and `REGCLI_PROJECT` as they were read.
    """

    def __init__(self) -> None:
        """Read `REGCLI_ROOT`, `REGCLI_PROJECT` and the settings files, by the rules of the command line."""
        variables = surroundings.environment()
        self.chosen = _chosen()
        config = surroundings.ConfigFiles(variables)
        project = surroundings.find_project(None, variables, config)
        self.context = Context(
            root_path=surroundings.find_root(None, variables, config).value,
            user=surroundings.user_name(),
            uid=surroundings.user_number(),
            host=surroundings.host_name(),
            wait=float(surroundings.find_wait(None, variables, config).value),
            project=project.value if project is not None else None,
            environment=variables,
            trust=Trust(**surroundings.trust_places(variables)),
        )
        self.context.on_announced = start_delivery
        self.cache_path = surroundings.user_cache_path(variables)
        self.run: Run | None = None
        self._local = threading.local()

    def context_for(self, command: str, project: str | None = None) -> Context:
        """Return the surroundings for one operation.

        Each thread opens the root for itself, since an open root is for one thread; a missing one is made by the first write.

        Args:
            command: what the history says, such as `Artifact.save`.
            project: `[ENTITY/]PROJECT` instead of the current one.
        """
        context = self.context.derive(command, project)
        context.made, context.announced = [], []  # of this operation, not of all that the process did
        root = getattr(self._local, "root", None)
        if root is not None:
            context.adopt(root)
        elif context.has_root:
            self._local.root = context.root
        return context


def _chosen() -> tuple[str | None, str | None]:
    variables = surroundings.environment()
    return variables.get("REGCLI_ROOT"), variables.get("REGCLI_PROJECT")


def session() -> Session:
    """Return the session of this process; the first call reads the settings.

    Another root or project in the environment since then begins another session: what was begun in the one before, such
    as a run, goes on there.
    """
    global _session  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _session is None or _session.chosen != _chosen():
            _session = Session()
            _sessions[_session.context.root_path] = _session
        return _session


def session_of(context: Context) -> Session:
    """Return the session that a context came from: what was read from one root goes on with it."""
    return _sessions.get(context.root_path) or session()


def teardown(exit_code: int | None = None) -> None:
    """Finish the active run and forget the settings; the next use reads them again.

    Args:
        exit_code: of the run; anything but 0 or None makes it `failed`.
    """
    global _session  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _session is not None and _session.run is not None:
            _session.run.finish(exit_code)
        _session = None


def context_for(command: str, project: str | None = None) -> Context:
    """Return the surroundings for one operation; see `Session.context_for`."""
    return session().context_for(command, project)


def warn(text: str) -> None:
    """Tell the user something; on standard error unless logging is set up otherwise."""
    import logging

    logging.getLogger("regcli").warning(text)


def settle(context: Context) -> None:
    """Tell the user what an operation remarked."""
    for text in dict.fromkeys(context.warnings):
        warn(text)
    context.warnings.clear()


def artifact_directory() -> str:
    """Return the directory that downloads go to unless another is given: `./artifacts`."""
    return os.path.join(os.getcwd(), "artifacts")
