"""regcli: the model and dataset registry that needs no server.

The names below are the library; each is imported when it is first used. `import regcli as wandb` runs scripts that were
written for the W&B SDK. `regcli help python` has a page of examples.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.api.active import finish, init, link_artifact, log, log_artifact, login, use_artifact
    from regcli.api.artifact import Artifact
    from regcli.api.collections import ArtifactCollection, ArtifactType
    from regcli.api.errors import (
        ArtifactFinalizedError,
        ArtifactNotLoggedError,
        ArtifactStatusError,
        CommError,
        Error,
        WaitTimeoutError,
    )
    from regcli.api.manifest_entry import ArtifactManifest, ArtifactManifestEntry
    from regcli.api.mappings import RunMapping
    from regcli.api.media import Audio, Html, Image, Table, Video
    from regcli.api.public import Api
    from regcli.api.registries import Registry
    from regcli.api.run import Run
    from regcli.api.session import teardown
    from regcli.api.settings import Settings
    from regcli.api.ttl import ArtifactTTL
    from regcli.errors import RegcliError

    run: Run | None
    """The active run."""
    config: RunMapping
    """The active run's settings."""
    summary: RunMapping
    """The active run's summary."""

# Public name -> module that has it.
_PUBLIC = {
    "Api": "public",
    "Artifact": "artifact",
    "ArtifactCollection": "collections",
    "ArtifactFinalizedError": "errors",
    "ArtifactManifest": "manifest_entry",
    "ArtifactManifestEntry": "manifest_entry",
    "ArtifactNotLoggedError": "errors",
    "ArtifactStatusError": "errors",
    "ArtifactTTL": "ttl",
    "ArtifactType": "collections",
    "Audio": "media",
    "CommError": "errors",
    "Error": "errors",
    "Html": "media",
    "Image": "media",
    "RegcliError": "errors",
    "Registry": "registries",
    "Run": "run",
    "Settings": "settings",
    "Table": "media",
    "Video": "media",
    "WaitTimeoutError": "errors",
    "finish": "active",
    "init": "active",
    "link_artifact": "active",
    "log": "active",
    "log_artifact": "active",
    "login": "active",
    "teardown": "session",
    "use_artifact": "active",
}

__all__ = [
    "Api",
    "Artifact",
    "ArtifactCollection",
    "ArtifactFinalizedError",
    "ArtifactManifest",
    "ArtifactManifestEntry",
    "ArtifactNotLoggedError",
    "ArtifactStatusError",
    "ArtifactTTL",
    "ArtifactType",
    "Audio",
    "CommError",
    "Error",
    "Html",
    "Image",
    "RegcliError",
    "Registry",
    "Run",
    "Settings",
    "Table",
    "Video",
    "WaitTimeoutError",
    "__version__",
    "finish",
    "init",
    "link_artifact",
    "log",
    "log_artifact",
    "login",
    "run",
    "teardown",
    "use_artifact",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name in ("run", "config", "summary"):
        # Not kept: the active run changes.
        from regcli.api.session import session

        active = session().run
        if name == "run":
            return active
        if active is None:
            raise AttributeError(f"call regcli.init() before regcli.{name}")
        return getattr(active, name)
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"regcli.api.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names too."""
    return sorted({*globals(), *__all__})
