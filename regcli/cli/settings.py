"""The settings of one run, read once: which root, which project, who, how to print.

This is the only module that reads the environment. It is on the fast path: built-in modules only.
"""

from __future__ import annotations

import os
import sys

from regcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

APP_NAME = "regcli"
ROOT_DIRECTORY = ".regcli"
DEFAULT_WAIT = 30.0
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


class Setting:
    """A value and where it comes from, as `config show --origin` tells it."""

    __slots__ = ("origin", "value")

    def __init__(self, value: str, origin: str) -> None:
        self.value = value
        self.origin = origin


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
    """Decide the settings: an option wins over the environment, which wins over what is found."""
    variables = os.environ if environment is None else environment
    return Settings(
        find_root(options.root, variables),
        _find_project(options.project, variables),
        _find_wait(options.wait),
        user_cache_path(variables),
    )


def find_root(option: str | None, variables: Mapping[str, str]) -> Setting:
    """Return the root: `--root`, `REGCLI_ROOT`, the nearest `.regcli` upward, the platform's data directory.

    The directory need not exist: the first write makes it.

    Raises:
        UsageError: `--root` is empty.
    """
    if option is not None:
        if not option:
            raise UsageError("--root is empty", hint="name a directory")
        return Setting(_absolute(option), "--root")
    named = variables.get("REGCLI_ROOT")
    if named:
        return Setting(_absolute(named), "REGCLI_ROOT")
    found = _nearest_root()
    if found is not None:
        return Setting(found, "nearest .regcli directory")
    return Setting(user_data_path(variables), "user data directory")


def _absolute(path: str) -> str:
    # A URL of an object store is kept as it is.
    return path if "://" in path else os.path.abspath(path)


def _nearest_root() -> str | None:
    try:
        directory = os.getcwd()
    except OSError:
        # The working directory was deleted under us; other roots can still be used.
        return None
    while True:
        candidate = os.path.join(directory, ROOT_DIRECTORY)
        if os.path.isdir(candidate):
            return candidate
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def user_data_path(variables: Mapping[str, str]) -> str:
    """Return the platform's directory for user data, as platformdirs would, without the cost of importing it."""
    if os.name != "posix":
        import platformdirs

        return platformdirs.user_data_dir(APP_NAME, appauthor=False)
    named = variables.get("XDG_DATA_HOME", "")
    if named.startswith("/"):
        return os.path.join(named, APP_NAME)
    home = variables.get("HOME", "")
    if not home.startswith("/"):
        home = _home_of_user()
    middle = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return os.path.join(home, middle, APP_NAME)


def user_cache_path(variables: Mapping[str, str]) -> str:
    """Return the platform's directory for caches, as platformdirs would."""
    if os.name != "posix":
        import platformdirs

        return platformdirs.user_cache_dir(APP_NAME, appauthor=False)
    named = variables.get("XDG_CACHE_HOME", "")
    if named.startswith("/"):
        return os.path.join(named, APP_NAME)
    home = variables.get("HOME", "")
    if not home.startswith("/"):
        try:
            home = _home_of_user()
        except UsageError:
            home = "/nonexistent"
    return os.path.join(home, "Library/Caches" if sys.platform == "darwin" else ".cache", APP_NAME)


def _home_of_user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise UsageError(
            "there is no home directory to keep a root in", hint="name a root with --root or REGCLI_ROOT"
        ) from None


def _find_project(option: str | None, variables: Mapping[str, str]) -> Setting | None:
    if option is not None:
        return Setting(option, "--project")
    named = variables.get("REGCLI_PROJECT")
    return Setting(named, "REGCLI_PROJECT") if named else None


def _find_wait(option: float | None) -> Setting:
    if option is not None:
        return Setting(repr(option), "--wait")
    return Setting(repr(DEFAULT_WAIT), "default")


def user_name() -> str:
    """Return who runs this: the name of the effective user, never a variable that anybody can set."""
    try:
        import pwd
    except ImportError:
        return os.getlogin()
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid-{number}"


def user_number() -> int:
    """Return the effective user's number, -1 where the platform has none."""
    return os.geteuid() if hasattr(os, "geteuid") else -1


def host_name() -> str:
    """Return the name of this machine."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket

    return socket.gethostname()


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
