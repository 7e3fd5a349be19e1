"""What importing and using the library costs, counted in modules, and that its types serve the users' own checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COUNT = """
import sys
before = set(sys.modules)
{code}
print(" ".join(sorted(set(sys.modules) - before)))
"""
HEAVY = {"rich", "typer", "pydantic", "obstore", "numpy", "pandas", "asyncio", "urllib.request", "pathspec", "platformdirs"}


def loaded_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", COUNT.format(code=code)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_costs_next_to_nothing() -> None:
    assert {name for name in loaded_by("import regcli") if name.startswith("regcli")} == {"regcli"}
    assert len(loaded_by("import regcli as wandb")) <= 5


@pytest.mark.parametrize("name", ["Artifact", "init", "Api"])
def test_using_a_name_imports_nothing_heavy(name: str) -> None:
    loaded = loaded_by(f"import regcli; regcli.{name}")
    assert not loaded & HEAVY
    assert not {module for module in loaded if module.startswith("regcli.cli")}


USER_CODE = """
from __future__ import annotations

from datetime import timedelta

import regcli
import regcli as wandb
from regcli import Api, Artifact, CommError

def train(data: str) -> str:
    with wandb.init(project="zoo", config={"lr": 0.1}) as run:
        used = run.use_artifact(data, type="dataset")
        where: str = used.download()
        run.log({"loss": 0.5}, step=1)
        run.summary["best"] = 0.5
        artifact = Artifact("model", type="model", metadata={"where": where})
        entry = artifact.add_file("weights.pt", policy="immutable")
        size: int | None = entry.size
        artifact.ttl = timedelta(days=30)
        logged = run.log_artifact(artifact, aliases=["best"], tags="red").wait()
        link = run.link_artifact(logged, "wandb-registry-model/Zoo", aliases=["staging"])
        return f"{link.qualified_name} {size}"

def older(path: str) -> str:
    with wandb.init(settings=wandb.Settings(silent=True, run_name="old"), anonymous="allow") as run:
        run.name = "older"
        run.tags += ("red",)
        run.log_model(path, "net")
        name: str = run.link_model(path, "Net", "net").name
        return run.use_model("net:latest") + name

def look() -> list[str]:
    found: list[str] = [run.id for run in Api().runs("zoo", {"group": "g"}, "-created_at")]
    for kind in Api().artifact_types("zoo"):
        found += [collection.name for collection in kind.collections({"tag": "red"}, "name")]
    for version in Api().registries(filter={"name": {"$regex": "model"}}).versions(filter={"tag": "red"}):
        found.append(version.name)
    try:
        first: Artifact = Api().artifacts("model", "model")[0]
        found += [file.name for file in first.files()]
    except (CommError, regcli.ArtifactNotLoggedError):
        pass
    run = regcli.run
    if run is not None:
        found.append(run.id)
    return found
"""


def test_users_code_is_checked_by_mypy_strict(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER_CODE)
    (tmp_path / "wrong.py").write_text("import regcli\nregcli.Artifact(5, 'model').version.nothing\nregcli.init(bad=1)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*command[:-1], "wrong.py"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.count("error:") == 3, done.stdout


def test_every_public_name_is_typed() -> None:
    import regcli

    text = Path(str(regcli.__file__)).read_text()
    typed = text[text.index("if TYPE_CHECKING:") : text.index("# Public name")]
    for name in regcli._PUBLIC:
        assert name in typed, name
