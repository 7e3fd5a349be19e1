"""What surrounds a process: its environment, its user, its machine, and where the root lies.

The command line and the library both begin here; nothing below them looks at the environment. On the fast path: built-in
modules only.
"""

from __future__ import annotations

import os
import sys

from regcli.errors import UsageError
from regcli.model import has_endless_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

APP_NAME = "regcli"
ROOT_DIRECTORY = ".regcli"
DATA_DIRECTORY = "user data directory"
DEFAULT_WAIT = 30.0
# The machine's own list of those whose signatures are believed; root keeps it.
SYSTEM_SIGNERS = "/etc/regcli/allowed_signers"
PROJECT_CONFIG = ".regcli.toml"
CONFIG_KEYS = ("project", "root", "wait")


class Setting:
    """A value and where it comes from, as `config show --origin` tells it."""

    __slots__ = ("origin", "value")

    def __init__(self, value: str, origin: str) -> None:
        self.value = value
        self.origin = origin


def environment() -> Mapping[str, str]:
    """Return the variables of this process."""
    return os.environ


class ConfigFiles:
    """The project's and the user's settings files, each read at most once, and only when something asks for it."""

    __slots__ = ("_project", "_user", "_variables")

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._project: dict[str, Setting] | None = None
        self._user: dict[str, Setting] | None = None

    @property
    def project(self) -> dict[str, Setting]:
        """The settings of the nearest `.regcli.toml` upward."""
        if self._project is None:
            self._project = project_config()
        return self._project

    @property
    def user(self) -> dict[str, Setting]:
        """The settings of the user's `config.toml`."""
        if self._user is None:
            self._user = user_config(self._variables)
        return self._user


def find_root(option: str | None, variables: Mapping[str, str], config: ConfigFiles | None = None) -> Setting:
    """Return the root; the directory need not exist, since the first write makes it.

    `--root`, `REGCLI_ROOT`, the project's file, the nearest `.regcli` upward, the user's file, the user's data directory.

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
    config = config or ConfigFiles(variables)
    configured = config.project.get("root")
    if configured is not None:
        return configured
    found = _nearest(ROOT_DIRECTORY, os.path.isdir)
    if found is not None:
        return Setting(found, "nearest .regcli directory")
    return config.user.get("root") or Setting(user_data_path(variables), DATA_DIRECTORY)


def find_project(option: str | None, variables: Mapping[str, str], config: ConfigFiles | None = None) -> Setting | None:
    """Return the current project, or None for the root's own: `--project`, `REGCLI_PROJECT`, the project's file, the user's."""
    if option is not None:
        return Setting(option, "--project")
    named = variables.get("REGCLI_PROJECT")
    if named:
        return Setting(named, "REGCLI_PROJECT")
    config = config or ConfigFiles(variables)
    return config.project.get("project") or config.user.get("project")


def find_wait(option: float | None, variables: Mapping[str, str], config: ConfigFiles | None = None) -> Setting:
    """Return how many seconds a busy store is waited for: `--wait`, the project's file, the user's file, 30."""
    if option is not None:
        return Setting(repr(option), "--wait")
    config = config or ConfigFiles(variables)
    return config.project.get("wait") or config.user.get("wait") or Setting(repr(DEFAULT_WAIT), "default")


def user_config_file(variables: Mapping[str, str]) -> str:
    """Return the path of the user's `config.toml`, which need not exist."""
    return os.path.join(user_config_path(variables), "config.toml")


def user_config(variables: Mapping[str, str]) -> dict[str, Setting]:
    """Return the settings of the user's `config.toml`.

    Raises:
        UsageError: it cannot be read, or says something unknown.
    """
    return _read_config(user_config_file(variables))


def project_config() -> dict[str, Setting]:
    """Return the settings of the nearest `.regcli.toml` upward.

    One that belongs to another user is not believed: whoever can put a file into a directory above must not choose the root.

    Raises:
        UsageError: it cannot be read, says something unknown, or belongs to somebody else.
    """
    path = _nearest(PROJECT_CONFIG, os.path.isfile)
    if path is None:
        return {}
    if hasattr(os, "geteuid") and os.stat(path).st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{path} belongs to another user and is not believed", hint="take it over with chown, or remove it")
    return _read_config(path)


def _checked(path: str, key: str, value: object) -> str:
    if key == "wait":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise UsageError(f"{path}: 'wait' is not a number of seconds")
        return repr(float(value))
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{path}: '{key}' is not a text, or empty, or has a NUL")
    if key == "root":
        return _absolute(os.path.join(os.path.dirname(path), os.path.expanduser(value)))
    return value


def _read_config(path: str) -> dict[str, Setting]:
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    import tomllib

    if has_endless_key(text):
        raise UsageError(f"{path} is malformed: a key has hundreds of parts")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # ValueError also for a number that is too long, which is not the parser's own error.
        raise UsageError(f"{path} is not TOML: {str(error)[:120]}") from None
    found = {}
    for key, value in document.items():
        if key not in CONFIG_KEYS:
            raise UsageError(f"{path} has an unknown setting '{key}'", hint=f"known: {', '.join(CONFIG_KEYS)}")
        found[key] = Setting(_checked(path, key, value), path)
    return found


def _absolute(path: str) -> str:
    # A URL of an object store is kept as it is.
    return path if "://" in path else os.path.abspath(path)


def _nearest(name: str, exists: Callable[[str], bool]) -> str | None:
    """Return the nearest thing of that name in the working directory or above."""
    try:
        directory = os.getcwd()
    except OSError:
        # The working directory was deleted under us; other roots can still be used.
        return None
    while True:
        candidate = os.path.join(directory, name)
        if exists(candidate):
            return candidate
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def user_data_path(variables: Mapping[str, str]) -> str:
    """Return the platform's directory for user data.

    Raises:
        UsageError: the user has no home directory.
    """
    return _user_path("data", variables, ".local/share", "Library/Application Support")


def user_config_path(variables: Mapping[str, str]) -> str:
    """Return the platform's directory for the user's own settings; one that does not exist where there is no home."""
    return _user_path("config", variables, ".config", "Library/Application Support", needed=False)


def user_cache_path(variables: Mapping[str, str]) -> str:
    """Return the platform's directory for caches; one that does not exist where there is no home."""
    return _user_path("cache", variables, ".cache", "Library/Caches", needed=False)


def user_state_path(variables: Mapping[str, str]) -> str:
    """Return the platform's directory for what a program remembers; one that does not exist where there is no home."""
    return _user_path("state", variables, ".local/state", "Library/Application Support", needed=False)


def _user_path(kind: str, variables: Mapping[str, str], usual: str, mac: str, *, needed: bool = True) -> str:
    """Return a directory of the user as platformdirs would, without the cost of importing it (a test compares them)."""
    if os.name != "posix":
        import platformdirs

        found: str = getattr(platformdirs, f"user_{kind}_dir")(APP_NAME, appauthor=False)
        return found
    named = variables.get(f"XDG_{kind.upper()}_HOME", "")
    if named.startswith("/"):
        return os.path.join(named, APP_NAME)
    home = variables.get("HOME", "")
    if not home.startswith("/"):
        try:
            home = _home_of_user()
        except UsageError:
            if needed:
                raise
            home = "/nonexistent"
    return os.path.join(home, mac if sys.platform == "darwin" else usual, APP_NAME)


def trust_places(variables: Mapping[str, str]) -> dict[str, str | None]:
    """Return where the user's signers, keys and memory of signed aliases are, as `Trust` takes them."""
    return {
        "config_path": user_config_path(variables),
        "state_path": user_state_path(variables),
        "system_path": SYSTEM_SIGNERS if os.name == "posix" else None,
        "sign_key": variables.get("REGCLI_SIGNING_KEY") or None,
    }


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
