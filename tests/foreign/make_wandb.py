"""Make an offline run with the real W&B client: `make_wandb.py DIR`. Run with an interpreter that has wandb."""

import os
import sys

DIRECTORY = os.path.abspath(sys.argv[1])
os.makedirs(DIRECTORY)
os.chdir(DIRECTORY)
for name in ("CACHE", "DATA", "CONFIG"):
    os.environ[f"WANDB_{name}_DIR"] = os.path.join(DIRECTORY, name.lower())
os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")

import wandb  # noqa: E402 - it reads the environment when it is imported


def main() -> None:
    """Log metrics and one artifact."""
    run = wandb.init(project="zoo", entity="team", config={"lr": 0.1}, dir=DIRECTORY)
    run.log({"accuracy": 0.5})
    run.log({"accuracy": 0.9, "loss": 0.1})
    os.makedirs("source/sub")
    for path, text in (("source/a.txt", "hello"), ("source/sub/b.txt", "b")):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    artifact = wandb.Artifact("zoo_dataset", "dataset", description="the zoo", metadata={"rows": 101})
    artifact.add_dir("source")
    run.log_artifact(artifact, aliases=["best"], tags=["small"])
    run.finish()


if __name__ == "__main__":
    main()
