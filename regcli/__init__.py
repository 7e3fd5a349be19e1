"""regcli: the model and dataset registry that needs no server."""

__version__ = "0.1.0"
