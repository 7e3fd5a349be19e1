"""The house has floors, and the stairs go one way: imports are read from the source, those inside functions too."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(regcli.__file__).parent
SHARED = {"regcli", "regcli.errors", "regcli.model"}
# What each floor may import besides itself and SHARED.
FLOORS = {
    "cli": {"regcli.domain", "regcli.surroundings"},
    "api": {"regcli.domain", "regcli.surroundings"},
    "domain": {"regcli.store"},
    "store": set[str](),
    "surroundings": set[str](),
    "model": set[str](),
    "errors": set[str](),
}
# `import regcli` and the door reach up on purpose: they import a floor when it is used.
DOORS = {"__init__", "__main__"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).with_suffix("").parts[0] not in DOORS)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each imported module with its line; `from a import b` yields both `a` and, where it may be one, `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            if node.module == "regcli":
                for alias in node.names:
                    is_module = (PACKAGE / alias.name).is_dir() or (PACKAGE / f"{alias.name}.py").is_file()
                    yield (f"regcli.{alias.name}" if is_module else "regcli"), node.lineno
            else:
                yield str(node.module), node.lineno


def is_below(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    floor = floor_of(path)
    assert floor in FLOORS, f"{path} is on no floor"
    for module, line in imported(ast.parse(path.read_text())):
        if is_below(module, "regcli") and module not in SHARED:
            places = FLOORS[floor] | {f"regcli.{floor}"}
            assert any(is_below(module, place) for place in places), f"{name_of(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", [p for p in MODULES if floor_of(p) != "cli"], ids=name_of)
def test_only_the_command_line_knows_the_terminal(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for module, line in imported(tree):
        assert module.split(".")[0] not in {"typer", "rich"}, f"{name_of(path)}:{line} imports {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used = f"{node.value.id}.{node.attr}"
            # The one module that looks at the environment; the command line and the library both begin there.
            allowed = {"os.environ"} if floor_of(path) == "surroundings" else set()
            assert used not in {"os.environ", "os.getenv", "sys.exit", "sys.argv", "sys.stdout"} - allowed, (
                f"{name_of(path)}:{node.lineno} uses {used}"
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "input"}, f"{name_of(path)}:{node.lineno} calls {node.func.id}"


@pytest.mark.parametrize("path", [p for p in MODULES if floor_of(p) == "cli" and p.stem != "settings"], ids=name_of)
def test_only_settings_reads_the_environment(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert f"{node.value.id}.{node.attr}" not in {"os.environ", "os.getenv"}, f"{name_of(path)}:{node.lineno}"


def test_the_walk_sees_every_kind_of_import() -> None:
    source = "import os\nfrom regcli import model, __version__\ndef f():\n    from regcli.store.locks import Lock\n"
    assert [module for module, _ in imported(ast.parse(source))] == ["os", "regcli.model", "regcli", "regcli.store.locks"]
