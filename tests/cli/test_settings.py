"""Which root, which project, who, and whether to colour."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import platformdirs
import pytest

from regcli.cli import settings
from regcli.cli.settings import Options, read_settings
from regcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result


def options(root: str | None = None, project: str | None = None) -> Options:
    chosen = Options()
    chosen.root = root
    chosen.project = project
    return chosen


def test_root_option_wins_over_the_variable_which_wins_over_a_directory_upward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".regcli").mkdir()
    monkeypatch.chdir(deep)
    environment = {"REGCLI_ROOT": "named", "HOME": "/home/x"}

    found = read_settings(options(root="given"), environment).root
    assert (found.value, found.origin) == (str(deep / "given"), "--root")
    found = read_settings(options(), environment).root
    assert (found.value, found.origin) == (str(deep / "named"), "REGCLI_ROOT")
    found = read_settings(options(), {"HOME": "/home/x"}).root
    assert (found.value, found.origin) == (str(tmp_path / ".regcli"), "nearest .regcli directory")


def test_the_nearest_root_wins_and_only_directories_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = tmp_path / "a" / "b"
    near.mkdir(parents=True)
    (tmp_path / ".regcli").mkdir()
    (tmp_path / "a" / ".regcli").mkdir()
    (near / ".regcli").write_text("a file is no root")
    monkeypatch.chdir(near)
    assert read_settings(options(), {"HOME": "/h"}).root.value == str(tmp_path / "a" / ".regcli")


def test_without_anything_the_root_is_in_the_users_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_settings(options(), {"HOME": "/home/x", "REGCLI_ROOT": ""}).root
    assert (found.value, found.origin) == ("/home/x/.local/share/regcli", "user data directory")


def test_a_url_is_kept_as_it_is() -> None:
    assert read_settings(options(root="s3://bucket/place"), {}).root.value == "s3://bucket/place"


def test_an_empty_root_is_refused() -> None:
    with pytest.raises(UsageError, match="--root is empty"):
        read_settings(options(root=""), {})


def test_a_deleted_working_directory_is_no_obstacle(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os; os.rmdir(os.getcwd())\n"
        "from regcli.cli.settings import Options, read_settings\n"
        "print(read_settings(Options(), {'HOME': '/h'}).root.value)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "/h/.local/share/regcli\n"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere platformdirs is asked")
@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/home/x"},
        {"HOME": "/home/x", "XDG_DATA_HOME": "/data"},
        {"HOME": "/home/x", "XDG_DATA_HOME": ""},
        {"HOME": "/home/x", "XDG_DATA_HOME": "relative"},
        {"HOME": "/home/x/", "XDG_DATA_HOME": "/data/"},
        {"HOME": "relative"},
        {"HOME": ""},
        {},
    ],
    ids=str,
)
def test_paths_are_what_platformdirs_says(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**environment, **{f"XDG_CACHE_{name[-4:]}": value for name, value in environment.items() if name[0] == "X"}}
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = platformdirs.user_data_dir("regcli", appauthor=False)
    assert os.path.normpath(settings.user_data_path(environment)) == os.path.normpath(expected)
    expected = platformdirs.user_cache_dir("regcli", appauthor=False)
    assert os.path.normpath(settings.user_cache_path(environment)) == os.path.normpath(expected)


def test_project_option_wins_over_the_variable() -> None:
    environment = {"REGCLI_PROJECT": "from/variable"}
    found = read_settings(options(project="given"), environment).project
    assert found is not None
    assert (found.value, found.origin) == ("given", "--project")
    found = read_settings(options(), environment).project
    assert found is not None
    assert (found.value, found.origin) == ("from/variable", "REGCLI_PROJECT")
    assert read_settings(options(), {}).project is None


def test_waiting_takes_half_a_minute_unless_told_otherwise() -> None:
    assert read_settings(Options(), {}).wait_seconds == 30
    chosen = Options()
    chosen.wait = 0.5
    assert read_settings(chosen, {}).wait_seconds == 0.5


def test_the_user_is_the_systems_not_a_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    for name in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert settings.user_name() == pwd.getpwuid(os.geteuid()).pw_name
    assert settings.user_number() == os.geteuid()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 3_999_999_999)
    assert settings.user_name() == "uid-3999999999"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "on_terminal", "in_pipe"),
    [
        ("auto", {}, True, False),
        ("always", {"NO_COLOR": "1"}, True, True),
        ("never", {"FORCE_COLOR": "1"}, False, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ("auto", {"NO_COLOR": ""}, True, False),
        ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ("auto", {"CLICOLOR_FORCE": "1"}, True, True),
        ("auto", {"CLICOLOR_FORCE": "0"}, True, False),
        ("auto", {"TERM": "dumb"}, False, False),
    ],
)
def test_when_to_colour(choice: str, environment: dict[str, str], on_terminal: bool, in_pipe: bool) -> None:
    assert settings.wants_color(choice, Terminal(), environment) is on_terminal
    assert settings.wants_color(choice, io.StringIO(), environment) is in_pipe
    assert settings.wants_color(choice, None, environment) is (in_pipe or choice == "always")


def test_init_says_how_a_root_is_used_that_is_not_found_by_itself(
    invoke: Callable[..., Result], root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--root or REGCLI_ROOT" in invoke("init", "elsewhere").ok().stderr
    assert "--root" not in invoke("init", root).ok().stderr
    monkeypatch.delenv("REGCLI_ROOT")
    assert "--root or REGCLI_ROOT" in invoke("init", ".").ok().stderr
    assert invoke("init", ".", "-q").ok().stderr == ""
    invoke("log", "regcli.toml", "-n", "a", "-t", "dataset").ok()
    assert "`regcli init .regcli` makes one here" in invoke("init").ok().stderr
    assert "--root" not in invoke("init", ".regcli").ok().stderr
    assert invoke("config", "show", "--json").ok().json["settings"]["root"]["value"] == str(work / ".regcli")
