"""Make a registry with the real MLflow: `make_mlflow.py DIR file|sqlite`. Run with an interpreter that has mlflow-skinny."""

import os
import shutil
import sys

# MLflow has put its file store into maintenance; that it can no longer be made by default is why people move.
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

from mlflow import (
    MlflowClient,
    create_experiment,
    log_artifacts,
    log_metric,
    set_registry_uri,
    set_tracking_uri,
    start_run,
)

NAME = "Zoo Classifier"


def train(experiment: str, text: str, metrics: list[tuple[str, float]]) -> tuple[str, str]:
    """Log one run with a model directory; return its id and the model's URI."""
    with start_run(experiment_id=experiment) as run:
        for step, (key, value) in enumerate(metrics):
            log_metric(key, value, step=step)
        os.makedirs("model-files/sub", exist_ok=True)
        with open("model-files/model.txt", "w", encoding="utf-8") as stream:
            stream.write(text)
        with open("model-files/sub/extra.bin", "wb") as stream:
            stream.write(b"\0\1\2")
        log_artifacts("model-files", "model")
        shutil.rmtree("model-files")
        return run.info.run_id, f"{run.info.artifact_uri}/model"


def main(directory: str, kind: str) -> None:
    """Register two versions with aliases, tags, a stage and metrics."""
    os.makedirs(directory)
    os.chdir(directory)
    uri = f"file:{os.path.abspath('mlruns')}" if kind == "file" else f"sqlite:///{os.path.abspath('mlflow.db')}"
    set_tracking_uri(uri)
    set_registry_uri(uri)
    location = None if kind == "file" else f"file:{os.path.abspath('stored')}"
    experiment = create_experiment("zoo", artifact_location=location)
    client = MlflowClient()
    client.create_registered_model(NAME, tags={"team": "animals"}, description="tells animals apart")
    run, model = train(experiment, "weights one", [("accuracy", 0.5), ("accuracy", 0.91), ("loss", 0.2)])
    client.create_model_version(NAME, model, run, tags={"validated": "yes"}, description="the first")
    run, model = train(experiment, "weights two", [("accuracy", 0.95)])
    client.create_model_version(NAME, model, run)
    client.set_registered_model_alias(NAME, "champion", "2")
    client.set_registered_model_alias(NAME, "old_one", "1")
    client.transition_model_version_stage(NAME, "1", "Production")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
