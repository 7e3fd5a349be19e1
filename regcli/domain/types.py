"""The types of the store that appear in the domain's own signatures, named for those above it; imported for typing only."""

from __future__ import annotations

from regcli.store.chain import Chain, Snapshot

__all__ = ["Chain", "Snapshot"]
