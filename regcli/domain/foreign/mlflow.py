"""MLflow: models, versions, aliases, stages, tags and metrics of a file-store or SQLite registry.

Layout as MLflow 2 and 3 write it: `models/NAME/version-N/meta.yaml` beside the experiments, or the tables `registered_models`,
`model_versions`, `registered_model_aliases`, `model_version_tags`, `runs`, `latest_metrics`. Content is read from where the
version says that it lies, as far as that is on this machine.
"""

from __future__ import annotations

import os

from regcli.domain.foreign.taking import Find, files_below, read_yaml, relocate
from regcli.errors import NotFoundError, UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NO_STAGES = ("None", "", None)


def read_mlflow(path: str) -> Iterator[Find]:
    """Yield the model versions of an `mlruns` directory or an MLflow SQLite file, in the order of their numbers.

    Raises:
        NotFoundError: there is nothing at `path`, or a version's content is not where it says.
        UsageError: it is no MLflow registry.
    """
    if os.path.isdir(path):
        nested = os.path.join(path, "mlruns")
        yield from _read_files(nested if os.path.isdir(os.path.join(nested, "models")) else path)
    elif os.path.isfile(path):
        yield from _read_database(path)
    else:
        raise NotFoundError(f"there is nothing at {quote(path)}")


def _find(name: str, version: int, directory: str) -> Find:
    if not os.path.isdir(directory) and not os.path.isfile(directory):
        raise NotFoundError(
            f"the content of version {version} of model {quote(name)} is not at {directory}",
            hint="mount or copy it there, then run the import again: what is done already is skipped",
        )
    find = Find(name, "model", {"tool": "mlflow", "model": name, "version": version})
    find.collection = name
    find.files = files_below(directory) if os.path.isdir(directory) else [(os.path.basename(directory), directory)]
    return find


def _local(uri: str, base: str) -> str:
    """Return the local path of a `file:` URI or plain path; other places are not read."""
    if uri.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        return relocate(unquote(urlsplit(uri).path), base)
    if "://" in uri or uri.startswith("models:/"):
        raise UsageError(f"{quote(uri)} is not on this machine", hint="download it with MLflow first")
    return relocate(uri, base) if os.path.isabs(uri) else os.path.join(base, uri)


def _describe(find: Find, *, description: str | None, stage: str | None, aliases: list[str], tags: dict[str, str]) -> None:
    find.description = description or ""
    find.aliases = aliases + ([stage.lower()] if stage is not None and stage not in _NO_STAGES else [])
    find.tags = [f"{key} {value}".strip() for key, value in sorted(tags.items()) if not key.startswith("mlflow.")]
    if tags:
        find.metadata["tags"] = tags


# The file store


def _read_files(top: str) -> Iterator[Find]:
    models = os.path.join(top, "models")
    if not os.path.isdir(models):
        raise UsageError(f"{quote(top)} is no MLflow file store", hint="name the `mlruns` directory or the SQLite file")
    for name in sorted(os.listdir(models)):
        model = os.path.join(models, name)
        if not os.path.isfile(os.path.join(model, "meta.yaml")):
            continue
        aliases: dict[int, list[str]] = {}
        for alias in _names(os.path.join(model, "aliases")):
            aliases.setdefault(int(_text(os.path.join(model, "aliases", alias))), []).append(alias)
        numbers = [entry[8:] for entry in os.listdir(model) if entry.startswith("version-")]
        for number in sorted(int(text) for text in numbers if text.isdigit()):
            yield _read_version(top, model, number, aliases.get(number, []))


def _read_version(top: str, model: str, number: int, aliases: list[str]) -> Find:
    directory = os.path.join(model, f"version-{number}")
    meta = read_yaml(os.path.join(directory, "meta.yaml"))
    if not isinstance(meta, dict):
        raise UsageError(f"{directory}/meta.yaml holds no fields")
    place = meta.get("storage_location") or meta.get("source") or ""
    if str(place).startswith("models:/"):
        place = _logged_model(top, str(place)[8:])
    find = _find(str(meta.get("name") or os.path.basename(model)), number, _local(str(place), top))
    tags = {tag: _text(os.path.join(directory, "tags", tag)) for tag in _names(os.path.join(directory, "tags"))}
    _describe(find, description=meta.get("description"), stage=meta.get("current_stage"), aliases=aliases, tags=tags)
    run = meta.get("run_id")
    if run:
        find.metadata["run"] = str(run)
        find.metrics = _run_metrics(top, str(run))
    return find


def _logged_model(top: str, identity: str) -> str:
    """Return where MLflow 3 keeps a logged model: `EXPERIMENT/models/ID/artifacts`."""
    for experiment in _names(top):
        directory = os.path.join(top, experiment, "models", identity)
        if os.path.isdir(directory):
            return os.path.join(directory, "artifacts")
    return os.path.join(top, "models", identity)


def _run_metrics(top: str, run: str) -> dict[str, float | int]:
    found: dict[str, float | int] = {}
    for experiment in _names(top):
        directory = os.path.join(top, experiment, run, "metrics")
        for path, local in files_below(directory) if os.path.isdir(directory) else ():
            lines = _text(local).splitlines()
            _keep_metric(found, path, lines[-1].split(" ")[1] if lines and " " in lines[-1] else "")
    return found


def _keep_metric(found: dict[str, float | int], key: str, text: Any) -> None:
    import math

    try:
        value = float(text)
    except (TypeError, ValueError):
        return
    if math.isfinite(value):
        found[key] = value


def _names(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


# SQLite


def _read_database(path: str) -> Iterator[Find]:
    import sqlite3

    try:
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)
        try:
            yield from _rows(connection, os.path.dirname(os.path.abspath(path)))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UsageError(f"{quote(path)} is no MLflow database: {error}") from None


def _quoted(path: str) -> str:
    from urllib.parse import quote as encode

    return encode(os.path.abspath(path))


def _rows(connection: Any, base: str) -> Iterator[Find]:
    aliases: dict[tuple[str, int], list[str]] = {}
    for name, alias, version in connection.execute("SELECT name, alias, version FROM registered_model_aliases"):
        aliases.setdefault((name, int(version)), []).append(alias)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(model_versions)")}
    place = "storage_location" if "storage_location" in columns else "NULL"
    query = (
        f"SELECT name, version, source, {place}, run_id, current_stage, description FROM model_versions ORDER BY name, version"  # noqa: S608 - a column's name
    )
    for name, version, source, stored, run, stage, description in connection.execute(query).fetchall():
        where = stored or source or ""
        if str(where).startswith("models:/"):
            where = _database_model(connection, str(where)[8:])
        find = _find(name, int(version), _local(str(where), base))
        tags = dict(
            connection.execute(
                "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", (name, version)
            ).fetchall()
        )
        _describe(find, description=description, stage=stage, aliases=aliases.get((name, int(version)), []), tags=tags)
        if run:
            find.metadata["run"] = str(run)
            for key, value in connection.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run,)):
                _keep_metric(find.metrics, key, value)
        yield find


def _database_model(connection: Any, identity: str) -> str:
    row = connection.execute("SELECT artifact_location FROM logged_models WHERE model_id = ?", (identity,)).fetchone()
    return str(row[0]) if row else identity
