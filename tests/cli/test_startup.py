"""What each command imports: start-up time is counted in modules, which no busy machine can blur."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regcli.__main__ import main
from regcli.cli.commands import COMMANDS
from regcli.cli.lanes import GRAMMARS, parse
from regcli.cli.lazy import load_command, module_name

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = [name for name, _, _ in COMMANDS]
# Each of these costs 5 to 130 ms; a bare interpreter takes 20.
TOO_HEAVY_FOR_THE_FAST_LANE = {
    "argparse",
    "asyncio",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "importlib.metadata",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "platformdirs",
    "re",
    "rich",
    "shutil",
    "subprocess",
    "tempfile",
    "tomllib",
    "typer",
    "typing",
}
NEVER = {"pydantic", "asyncio", "importlib.metadata", "obstore", "urllib.request"}
ONLY_ON_A_TERMINAL = {"rich"}

COUNT = """
import sys
before = set(sys.modules)
from regcli.__main__ import main
code = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.write("\\n" + " ".join(sorted(set(sys.modules) - before)))
raise SystemExit(code)
"""


def modules_loaded_by(arguments: Sequence[str], root: Path) -> set[str]:
    # -S: what the site packages' own start-up files import is not ours; -I would hide the package.
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {path!r}\n{COUNT}", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={"HOME": str(root.parent), "LANG": "C.UTF-8", "REGCLI_ROOT": str(root)},
        check=False,
    )
    return set(done.stderr.splitlines()[-1].split())


FAST = [
    ["--version"],
    ["resolve", "model/Zoo:staging"],
    ["resolve", "zoo", "--json"],
    ["resolve", "zoo", "--digest", "-q"],
    ["__complete", "ref", "model/Zoo:"],
    ["__complete", "registry", ""],
    ["completion", "bash"],
]


@pytest.fixture(scope="module")
def filled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one version, linked into a registry."""
    place = tmp_path_factory.mktemp("filled")
    root = place / "root"
    (place / "data.txt").write_text("data")
    for line in ("log data.txt -n zoo -t dataset", "link zoo model/Zoo -a staging"):
        done = subprocess.run(
            [sys.executable, "-m", "regcli", "--root", root, *line.split()], cwd=place, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("arguments", FAST, ids=" ".join)
def test_fast_lane_imports_nothing_heavy(arguments: list[str], filled_root: Path) -> None:
    loaded = modules_loaded_by(arguments, filled_root)
    assert "regcli.cli.fast" in loaded
    assert not loaded & TOO_HEAVY_FOR_THE_FAST_LANE
    assert "regcli.cli.app" not in loaded
    assert len(loaded) <= 44, sorted(loaded)


WORKING = ["log data.txt -n zoo", "download zoo -o out", "checkout zoo out2 -q", "verify", "verify zoo"]


@pytest.mark.parametrize("command", WORKING)
def test_commands_that_work_on_the_fast_lane_import_no_parser(command: str, filled_root: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(filled_root.parent)
    loaded = modules_loaded_by(command.split(), filled_root)
    assert "regcli.cli.lanes" in loaded
    assert not loaded & (TOO_HEAVY_FOR_THE_FAST_LANE - {"contextlib", "functools"})
    assert "regcli.cli.app" not in loaded
    assert len(loaded) <= 90, sorted(loaded)


@pytest.mark.parametrize("command", sorted(GRAMMARS))
def test_the_fast_lane_takes_words_as_the_full_program_does(command: str) -> None:
    grammar = GRAMMARS[command]
    options = {word: param for param in load_command(command).params for word in param.opts if word.startswith("-")}
    arguments = [param for param in load_command(command).params if param.param_type_name == "argument"]
    for word in (*grammar.one, *grammar.many, *grammar.flags, *grammar.numbers):
        param: Any = options[word]
        assert param.is_flag == (word in grammar.flags)
        assert bool(param.multiple) == (word in grammar.many)
        if word in grammar.numbers:
            assert (param.type.min, param.type.max) == grammar.numbers[word][1:]
        elif word in grammar.one:
            assert set(getattr(param.type, "choices", ())) == set(grammar.choices.get(grammar.one[word], ()))
    assert sum(param.required for param in arguments) == grammar.least
    if grammar.most is not None:
        assert len(arguments) == grammar.most


@pytest.mark.parametrize(
    "line",
    [
        "download", "download zoo extra", "download zoo -j 0", "download zoo --jobs x", "download zoo --link-mode no",
        "download zoo --output", "checkout zoo", "checkout zoo out --jobs 2", "verify a b c", "verify --fast",
    ],
)  # fmt: skip
def test_what_the_fast_lane_does_not_take_is_explained_by_the_full_program(line: str, filled_root: Path) -> None:
    command, *words = line.split()
    assert parse(words, GRAMMARS[command]) is None
    done = subprocess.run(
        [sys.executable, "-m", "regcli", "--root", filled_root, *line.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("command", ["ls", "ls model/", "ls model/Zoo", "show zoo", "files zoo", "history zoo", "search zoo"])
def test_commands_in_a_pipe_never_import_rich(command: str, filled_root: Path) -> None:
    loaded = modules_loaded_by(command.split(), filled_root)
    assert "regcli.cli.app" in loaded
    assert not loaded & (NEVER | ONLY_ON_A_TERMINAL)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_imports_only_its_own_module(name: str, root: Path) -> None:
    loaded = modules_loaded_by([name, "--help"], root)
    own = {module for module in loaded if module.startswith("regcli.cli.commands.")}
    assert own == {module_name(name)}
    assert not loaded & (NEVER | ONLY_ON_A_TERMINAL)
    assert not {module for module in loaded if module.startswith(("regcli.store", "regcli.domain"))}


def test_help_of_the_program_imports_no_command(root: Path) -> None:
    loaded = modules_loaded_by(["--help"], root)
    assert not {module for module in loaded if module.startswith("regcli.cli.commands.")}
    assert not loaded & (NEVER | ONLY_ON_A_TERMINAL)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_module_imports_alone(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {module_name(name)}"], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_command_module_is_in_the_table() -> None:
    import regcli.cli.commands

    files = {path.stem for path in Path(str(regcli.cli.commands.__file__)).parent.glob("*.py")} - {"__init__"}
    assert files == {module_name(name).rpartition(".")[2] for name in NAMES}


def test_importing_the_package_costs_next_to_nothing() -> None:
    code = "import sys; before = set(sys.modules); import regcli; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert int(done.stdout) <= 5


def test_the_collector_of_another_program_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = gc.get_threshold()
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("regcli ")
    assert gc.get_threshold() == before
