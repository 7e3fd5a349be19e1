"""How long a version is kept, where it is no duration."""

from __future__ import annotations

from enum import Enum


class ArtifactTTL(Enum):
    """What a TTL may be besides a duration or None."""

    INHERIT = 0
    """Follow the default of the collection or root."""
