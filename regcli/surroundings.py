"""What surrounds a process: its environment, its user, its machine, and where the root lies.

The command line and the library both begin here; nothing below them looks at the environment. On the fast path: built-in
modules only.
"""

from __future__ import annotations

import os
import sys

from regcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

APP_NAME = "regcli"
ROOT_DIRECTORY = ".regcli"
DEFAULT_WAIT = 30.0


class Setting:
    """A value and where it comes from, as `config show --origin` tells it."""

    __slots__ = ("origin", "value")

    def __init__(self, value: str, origin: str) -> None:
        self.value = value
        self.origin = origin


def environment() -> Mapping[str, str]:
    """Return the variables of this process."""
    return os.environ


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
