"""The settings of one run, read once: which root, which project, who, how to print.

Of the command line, this is the only module that reads the environment. It is on the fast path: built-in modules only.
"""

from __future__ import annotations

import os

from regcli.surroundings import (
    DEFAULT_WAIT,
    ROOT_DIRECTORY,
    ConfigFiles,
    Setting,
    find_project,
    find_root,
    find_wait,
    host_name,
    trust_places,
    user_cache_path,
    user_data_path,
    user_name,
    user_number,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from regcli.domain.context import Context
    from regcli.domain.trust import Trust

__all__ = [
    "COLOR_CHOICES", "DEFAULT_WAIT", "ROOT_DIRECTORY", "Options", "Setting", "Settings", "find_project", "find_root",
    "host_name", "is_terminal", "read_settings", "user_cache_path", "user_data_path", "user_name", "user_number", "wants_color",
]  # fmt: skip
COLOR_CHOICES = ("auto", "always", "never")


class Options:
    """The global options as given on the command line; None where one was not given.

    Attributes:
        root: `--root`.
        project: `--project`.
        json: whether `--json` was given.
        quiet: whether `--quiet` was given.
        verbosity: how often `-v` was given.
        color: `--color`.
        progress: False after `--no-progress`.
        wait: `--wait`, in seconds.
    """

    __slots__ = ("color", "json", "progress", "project", "quiet", "root", "verbosity", "wait")

    def __init__(self) -> None:
        self.root: str | None = None
        self.project: str | None = None
        self.json = False
        self.quiet = False
        self.verbosity = 0
        self.color = "auto"
        self.progress = True
        self.wait: float | None = None


class Settings:
    """What the run works with.

    Attributes:
        root: path (or URL) of the root.
        project: `[ENTITY/]PROJECT`, or None for the root's own default.
        wait: seconds to wait for a busy store.
        cache_path: the user's cache directory; what lies there may vanish at any time.
    """

    __slots__ = ("cache_path", "project", "root", "wait")

    def __init__(self, root: Setting, project: Setting | None, wait: Setting, cache_path: str) -> None:
        self.root = root
        self.project = project
        self.wait = wait
        self.cache_path = cache_path

    @property
    def wait_seconds(self) -> float:
        """How long to wait for a busy store."""
        return float(self.wait.value)


def read_settings(options: Options, environment: Mapping[str, str] | None = None) -> Settings:
    """Decide the settings: an option wins over the environment, that over files, those over what is found."""
    variables = os.environ if environment is None else environment
    config = ConfigFiles(variables)
    return Settings(
        find_root(options.root, variables, config),
        find_project(options.project, variables, config),
        find_wait(options.wait, variables, config),
        user_cache_path(variables),
    )


def find_trust() -> Trust:
    """Return where the user's signers, keys and memory of signed aliases are."""
    from regcli.domain.trust import Trust

    return Trust(**trust_places(os.environ))


def make_context(options: Options, settings: Settings, command: str) -> Context:
    """Return what domain functions work with: the root, the user, the clock; nothing is opened."""
    from regcli.domain.context import Context

    return Context(
        root_path=settings.root.value,
        user=user_name(),
        uid=user_number(),
        host=host_name(),
        command=command,
        wait=settings.wait_seconds,
        project=settings.project.value if settings.project else None,
        verbosity=options.verbosity,
        environment=os.environ,
        trust=find_trust(),
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is connected to a terminal."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def wants_color(choice: str, stream: TextIO | None, environment: Mapping[str, str] | None = None) -> bool:
    """Decide on colour: `--color`, then NO_COLOR, FORCE_COLOR or CLICOLOR_FORCE, TERM=dumb, then the terminal."""
    variables = os.environ if environment is None else environment
    if choice != "auto":
        return choice == "always"
    if variables.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if variables.get(name, "0") not in ("", "0"):
            return True
    if variables.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def login_shell(environment: Mapping[str, str] | None = None) -> str:
    """Return the name of the user's shell, such as `bash`; empty where nothing says it."""
    variables = os.environ if environment is None else environment
    return os.path.basename(variables.get("SHELL", ""))


def completion_path(shell: str, environment: Mapping[str, str] | None = None) -> str:
    """Return where a shell (bash, zsh or fish) looks for a user's completion of regcli without being told.

    zsh looks nowhere in a home directory; its place is the one that others use, which has to be put into `fpath`.
    """
    variables = os.environ if environment is None else environment
    # Shells follow the XDG rules on every system, where regcli's own data follows the system's.
    named = variables.get("XDG_DATA_HOME", "")
    data = named if os.path.isabs(named) else os.path.join(os.path.expanduser("~"), ".local", "share")
    if shell == "bash":
        own = variables.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
        return os.path.join(own or os.path.join(data, "bash-completion"), "completions", "regcli")
    if shell == "zsh":
        return os.path.join(data, "zsh", "site-functions", "_regcli")
    return os.path.join(data, "fish", "vendor_completions.d", "regcli.fish")
