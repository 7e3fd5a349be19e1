"""Moving in: versions read from the directories of other tools, one module each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.domain.foreign.taking import Find

TOOLS = ("mlflow", "dvc", "wandb", "pins")
# Where what another tool published is published here, unless the user names another registry; DVC publishes nothing.
REGISTRIES = {"mlflow": "model", "wandb": None, "pins": "dataset", "dvc": None}


def read_foreign(tool: str, path: str, *, type_name: str | None = None) -> Iterator[Find]:
    """Return the versions that another tool's data holds, oldest first.

    Args:
        tool: one of `TOOLS`.
        path: the tool's directory or database.
        type_name: the artifact type where the data does not say it.
    """
    if tool == "mlflow":
        from regcli.domain.foreign.mlflow import read_mlflow

        return read_mlflow(path)
    if tool == "dvc":
        from regcli.domain.foreign.dvc import read_dvc

        return read_dvc(path)
    if tool == "wandb":
        from regcli.domain.foreign.wandb import read_wandb

        return read_wandb(path, type_name=type_name or "dataset")
    from regcli.domain.foreign.pins import read_pins

    return read_pins(path)
