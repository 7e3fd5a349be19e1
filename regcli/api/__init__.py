"""The library: classes with the names of the W&B SDK, each a face of the domain; no rule lives here."""
