"""The documents' own scripts, with `import wandb` replaced and paths and names filled in, run against a local root.

Sources: W&B Registry guide ("Create custom aliases", its Zoo example, "Link an artifact version to a registry" in both
forms) and the registry overview (`hello_collection.py`: log `my_model.txt`, link it to `first-collection` of `model`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from regcli import Api

CUSTOM_ALIASES = """
import regcli as wandb

run = wandb.init(entity = "<team_entity>", project = "<project_name>")

artifact = wandb.Artifact(name = "<name>", type = "<type>")
artifact.add_file(local_path = "<local_path_to_artifact>")

REGISTRY_NAME = "<registry_name>"
COLLECTION_NAME = "<collection_name>"
target_path=f"wandb-registry-{REGISTRY_NAME}/{COLLECTION_NAME}"

run.link_artifact(
    artifact = artifact,
    target_path = target_path,
    aliases = ["<alias_1>", "<alias_2>"]
    )
"""

ZOO = """
import regcli as wandb

run = wandb.init(entity = "smle-reg-team-2", project = "zoo_experiment")

artifact = wandb.Artifact(name = "zoo_dataset", type = "dataset")
artifact.add_file(local_path="zoo_dataset.pt", name="zoo_dataset")
artifact.add_file(local_path="zoo_labels.pt", name="zoo_labels")

REGISTRY_NAME = "Model"
COLLECTION_NAME = "Zoo_Classifier_Models"
target_path=f"wandb-registry-{REGISTRY_NAME}/{COLLECTION_NAME}"

run.link_artifact(
    artifact = artifact,
    target_path = target_path,
    aliases = ["production-us", "production-eu"]
    )
"""

LINK = """
import regcli as wandb

run = wandb.init(
  entity = "<team_entity>",
  project = "<project_name>"
)

artifact = wandb.Artifact(name = "<name>", type = "<type>")
artifact.add_file(local_path = "<local_path_to_artifact>")

REGISTRY_NAME = "<registry_name>"
COLLECTION_NAME = "<collection_name>"
target_path=f"wandb-registry-{REGISTRY_NAME}/{COLLECTION_NAME}"

run.link_artifact(artifact = artifact, target_path = target_path)
"""

HELLO = """
import regcli as wandb

with wandb.init(project="hello") as run:
    with open("my_model.txt", "w") as f:
        f.write("simulated model file")
    logged_artifact = run.log_artifact("./my_model.txt", "artifact-name", type="model")
    COLLECTION_NAME = "first-collection"
    REGISTRY_NAME = "model"
    run.link_artifact(
        artifact=logged_artifact,
        target_path=f"wandb-registry-{REGISTRY_NAME}/{COLLECTION_NAME}",
    )
"""

FILLED = {
    "<team_entity>": "team-awesome", "<project_name>": "zoo", "<name>": "animals", "<type>": "dataset",
    "<local_path_to_artifact>": "zoo_dataset.pt", "<registry_name>": "Golden Datasets", "<collection_name>": "raw_images",
    "<alias_1>": "dataset_version_v0", "<alias_2>": "best_model",
}  # fmt: skip


def run(script: str) -> None:
    for name, value in FILLED.items():
        script = script.replace(name, value)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(autouse=True)
def files(work: Path) -> None:
    (work / "zoo_dataset.pt").write_bytes(b"\0tensor" * 1000)
    (work / "zoo_labels.pt").write_bytes(b"labels")


def test_custom_aliases_at_link_time() -> None:
    Api().create_registry("Golden Datasets", "organization")
    run(CUSTOM_ALIASES)
    link = Api().artifact("team-awesome/wandb-registry-Golden Datasets/raw_images:best_model")
    assert link.aliases == ["latest", "best_model", "dataset_version_v0"]
    assert link.source_qualified_name == "team-awesome/zoo/animals:v0"
    run(CUSTOM_ALIASES)
    assert Api().artifact("wandb-registry-Golden Datasets/raw_images").version == "v0"


def test_the_zoo_example() -> None:
    run(ZOO)
    link = Api().artifact("wandb-registry-Model/Zoo_Classifier_Models:production-eu")
    assert (link.type, link.version, sorted(link.manifest.entries)) == ("dataset", "v0", ["zoo_dataset", "zoo_labels"])
    assert Api().artifact("wandb-registry-model/Zoo_Classifier_Models:production-us").id == link.id
    assert link.logged_by().state == "finished"  # type: ignore[union-attr]


def test_linking() -> None:
    Api().create_registry("Golden Datasets", "organization")
    run(LINK)
    link = Api().artifact("smle/wandb-registry-Golden Datasets/raw_images:v0")
    assert link.aliases == ["latest"]
    assert Path(link.file()).read_bytes() == Path("zoo_dataset.pt").read_bytes()


def test_hello_collection() -> None:
    run(HELLO)
    link = Api().artifact("wandb-registry-model/first-collection:latest", type="model")
    assert Path(link.file()).read_text() == "simulated model file"
    assert (
        Api().artifact("local/hello/artifact-name:v0").linked_artifacts[0].qualified_name
        == link.source_artifact.linked_artifacts[0].qualified_name
    )
