"""`regcli import` of other tools' data, made by the real tools: from frozen copies, and (soak) made anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result

    Invoke = Callable[..., Result]

HERE = Path(__file__).parent
FROZEN = HERE.parent / "data" / "foreign"


@pytest.fixture
def frozen(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that unpacks the frozen data of a tool, somewhere else than it was made."""

    def unpack(name: str) -> Path:
        with tarfile.open(FROZEN / f"{name}.tar.xz") as tar:
            tar.extractall(tmp_path / "frozen", filter="data")
        return tmp_path / "frozen" / name

    return unpack


def _check_mlflow(invoke: Invoke, place: Path) -> None:
    done = invoke("import", "mlflow", place, "--json").ok().json
    assert done["versions"] == ["local/default/Zoo-Classifier:v0", "local/default/Zoo-Classifier:v1"]
    assert done["links"] == ["model/Zoo Classifier:v0", "model/Zoo Classifier:v1"]
    first = invoke("show", "model/Zoo Classifier:v0", "--json").ok().json
    assert first["aliases"] == ["old_one", "production"]
    assert first["tags"] == ["validated yes"]
    assert first["metrics"] == {"accuracy": 0.91, "loss": 0.2}
    assert first["description"] == "the first"
    assert first["metadata"]["imported"] == {"tool": "mlflow", "model": "Zoo Classifier", "version": 1}
    assert invoke("cat", "model/Zoo Classifier:champion", "model.txt").ok().stdout == "weights two"
    assert [row["path"] for row in invoke("files", "Zoo-Classifier", "--json").ok().json["files"]] == [
        "model.txt",
        "sub/extra.bin",
    ]


def test_mlflow_file_store(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    _check_mlflow(invoke, frozen("mlflow-file"))


def test_mlflow_sqlite(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    _check_mlflow(invoke, frozen("mlflow-sqlite") / "mlflow.db")


def test_taking_the_same_in_again_adds_nothing_and_leaves_aliases_where_they_were_moved(
    invoke: Invoke, frozen: Callable[[str], Path]
) -> None:
    place = frozen("mlflow-file")
    invoke("import", "mlflow", place).ok()
    invoke("alias", "add", "model/Zoo Classifier:v0", "champion").ok()
    before = invoke("history", "--json").ok().json["events"]
    again = invoke("import", "mlflow", place, "--json").ok().json
    assert (again["versions"], again["links"], again["skipped"]) == ([], [], 2)
    assert invoke("history", "--json").ok().json["events"] == before


def test_missing_content_is_named(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    place = frozen("mlflow-sqlite")
    shutil.rmtree(place / "stored")
    result = invoke("import", "mlflow", place / "mlflow.db")
    assert result.code == 3
    assert "version 1 of model 'Zoo Classifier'" in result.stderr


def _check_dvc(invoke: Invoke, place: Path) -> None:
    done = invoke("import", "dvc", place, "--json").ok().json
    assert done["versions"] == [f"local/default/{name}:v0" for name in ("clean.csv", "images", "zoo.csv")]
    assert invoke("cat", "zoo.csv", "zoo.csv").ok().stdout == "aardvark,1\n"
    assert invoke("cat", "clean.csv", "clean.csv").ok().stdout == "aardvark,1\nbear,1\n"
    assert [row["path"] for row in invoke("files", "images", "--json").ok().json["files"]] == ["1.png", "deep/2.png"]
    assert invoke("show", "clean.csv", "--json").ok().json["metadata"]["stage"] == "prepare"


def test_dvc_repository(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    _check_dvc(invoke, frozen("dvc"))


def test_a_damaged_dvc_cache_is_noticed(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    place = frozen("dvc")
    blob = next(
        path for path in (place / ".dvc" / "cache").rglob("*") if path.is_file() and path.read_bytes() == b"aardvark,1\n"
    )
    blob.chmod(0o644)
    blob.write_bytes(b"aardvark,2\n")
    result = invoke("import", "dvc", place)
    assert result.code == 6
    assert str(blob) in result.stderr
    blob.unlink()
    assert invoke("import", "dvc", place).code == 3


def _check_wandb(invoke: Invoke, place: Path) -> None:
    done = invoke("import", "wandb", place, "--registry", "dataset", "--json").ok().json
    assert done["links"] == ["dataset/zoo_dataset:v0"]
    shown = invoke("show", "dataset/zoo_dataset:best", "--json").ok().json
    assert (shown["type"], shown["tags"], shown["description"]) == ("dataset", ["small"], "the zoo")
    assert shown["metrics"] == {"accuracy": 0.9, "loss": 0.1}
    assert shown["metadata"]["rows"] == 101
    assert invoke("cat", "zoo_dataset", "sub/b.txt").ok().stdout == "b"


def test_wandb_offline_run(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    _check_wandb(invoke, frozen("wandb"))


def test_wandb_staged_content_is_checked(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    place = frozen("wandb")
    staged = next(path for path in (place / "data").rglob("*") if path.is_file() and path.read_bytes() == b"hello")
    staged.chmod(0o644)
    staged.write_bytes(b"HELLO")
    assert invoke("import", "wandb", place).code == 6
    run = next(place.rglob("*.wandb"))
    run.write_bytes(b"not a run")
    assert invoke("import", "wandb", place).code == 2


def test_wandb_artifact_directory(invoke: Invoke, work: Path) -> None:
    directory = work / "artifacts" / "mnist:v3"
    directory.mkdir(parents=True)
    (directory / "a.txt").write_text("a")
    done = invoke("import", "wandb", directory, "--type", "model", "--registry", "model", "--json").ok().json
    assert done["links"] == ["model/mnist:v0"]
    assert invoke("show", "mnist", "--json").ok().json["metadata"]["version"] == "v3"


def _check_pins(invoke: Invoke, place: Path) -> None:
    done = invoke("import", "pins", place, "--json").ok().json
    assert done["versions"] == [f"local/default/{name}" for name in ("settings:v0", "zoo:v0", "zoo:v1")]
    shown = invoke("show", "dataset/zoo:v0", "--json").ok().json
    assert shown["description"] == "animals"
    assert (shown["metadata"]["title"], shown["metadata"]["user"]) == ("The zoo", {"rows": 2})
    assert invoke("cat", "dataset/zoo:v0", "zoo.csv").ok().stdout == "animal,legs\nbear,4\nbass,0\n"


def test_pins_board(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    _check_pins(invoke, frozen("pins"))


def test_a_pin_that_names_a_file_outside_is_refused(invoke: Invoke, frozen: Callable[[str], Path]) -> None:
    place = frozen("pins")
    meta = next((place / "settings").rglob("data.txt"))
    meta.write_text(meta.read_text().replace("settings.json", "../../../../../../etc/passwd"))
    assert invoke("import", "pins", place).code == 3


def test_a_pin_that_leads_outside_by_a_link_is_refused(invoke: Invoke, work: Path) -> None:
    pin = work / "board/zoo/20261130T081500Z-3f73f"
    pin.mkdir(parents=True)
    (work / "secret").write_text("secret")
    (pin / "zoo.csv").symlink_to(work / "secret")
    (pin / "data.txt").write_text("file: zoo.csv\n")
    assert invoke("import", "pins", "board").code == 3
    assert invoke("show", "zoo").code == 3


@pytest.mark.parametrize("field", ["user: {x: *a8}", "tags: *a8", "description: *a8", "user: &u {x: [*u, *u]}"])
def test_a_few_lines_that_mean_billions_are_refused(invoke: Invoke, work: Path, field: str) -> None:
    pin = work / "board/zoo/20261130T081500Z-3f73f"
    pin.mkdir(parents=True)
    (pin / "zoo.csv").write_text("a")
    laughs = "".join(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 9))
    (pin / "data.txt").write_text(f"file: zoo.csv\na0: &a0 [x]\n{laughs}{field}\n")
    done = invoke("import", "pins", "board")
    assert done.code == 2
    assert "means more than" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["mlflow"], ["cvs", "."], ["mlflow", "nothing"], ["dvc", "."], ["wandb", "nothing"], ["pins", "."]]
)
def test_what_is_not_there_is_refused(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke("import", *arguments)
    assert result.code in (2, 3), result
    assert "Traceback" not in result.stderr


@pytest.mark.soak
@pytest.mark.parametrize("tool", ["mlflow", "dvc", "wandb", "pins"])
def test_what_the_tool_of_today_writes_is_read(invoke: Invoke, tmp_path: Path, tool: str) -> None:
    packages = {"mlflow": ["mlflow-skinny", "sqlalchemy", "alembic"], "dvc": ["dvc"], "wandb": ["wandb"], "pins": ["pins"]}[
        tool
    ]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    subprocess.run([programs / "pip", "install", "--quiet", *packages], check=True)
    python = programs / "python"
    if tool == "mlflow":
        subprocess.run([python, HERE / "make_mlflow.py", tmp_path / "data", "file"], check=True)
        _check_mlflow(invoke, tmp_path / "data")
    elif tool == "dvc":
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}
        subprocess.run(["sh", HERE / "make_dvc.sh", tmp_path / "data"], check=True, env=environment)
        _check_dvc(invoke, tmp_path / "data")
    elif tool == "wandb":
        subprocess.run([python, HERE / "make_wandb.py", tmp_path / "data"], check=True)
        _check_wandb(invoke, tmp_path / "data")
    else:
        subprocess.run([python, HERE / "make_pins.py", tmp_path / "data"], check=True)
        _check_pins(invoke, tmp_path / "data")
