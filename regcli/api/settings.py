"""`Settings`: what scripts for the original hand to `init`; a few of them mean something here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Setting -> argument of `init` that it is the default of.
ARGUMENTS = {
    "entity": "entity",
    "project": "project",
    "mode": "mode",
    "resume": "resume",
    "run_group": "group",
    "run_id": "id",
    "run_job_type": "job_type",
    "run_name": "name",
    "run_notes": "notes",
    "run_tags": "tags",
}


class Settings:
    """Settings as attributes; any name is taken.

    `entity`, `project`, `mode`, `resume`, `run_id`, `run_name`, `run_group`, `run_job_type`, `run_notes` and `run_tags` are
    the defaults of `init`'s arguments; the others are without effect.
    """

    def __init__(self, **settings: Any) -> None:
        """Keep the settings."""
        vars(self).update(settings)

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError: it was not set."""
        raise AttributeError(f"there is no setting {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set one."""
        vars(self)[name] = value

    def __repr__(self) -> str:
        """Show what was set."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def defaults_of(settings: Settings | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of `init` that settings (or a dictionary of them) are the defaults of."""
    if settings is None:
        return {}
    if not isinstance(settings, Settings) and not hasattr(settings, "items"):
        raise TypeError(f"settings must be a Settings object or a dictionary, not {type(settings).__name__}")
    given = vars(settings) if isinstance(settings, Settings) else settings
    return {ARGUMENTS[name]: value for name, value in given.items() if name in ARGUMENTS and value is not None}
