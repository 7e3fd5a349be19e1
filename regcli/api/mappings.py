"""A run's configuration and summary: dictionaries whose keys can be read as attributes too."""

from __future__ import annotations

from regcli.api.errors import translated
from regcli.domain.values import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping
    from typing import Any


class RunMapping:
    """JSON values by key; `mapping.key` and `mapping["key"]` are the same.

    Every change is handed on at once, as one dictionary of all values.
    """

    def __init__(self, values: Mapping[str, Any], changed: Callable[[dict[str, Any]], None]) -> None:
        """Begin with values; `changed` is called after each change."""
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)

    _values: dict[str, Any]
    _changed: Callable[[dict[str, Any]], None]

    @translated
    def update(self, d: Mapping[str, Any] | Any = None, allow_val_change: bool | None = None, **values: Any) -> None:
        """Set several keys.

        Args:
            d: a mapping, or an object with attributes such as `argparse.Namespace`.
            allow_val_change: accepted for the original's scripts; values may always change.
            values: more keys.

        Raises:
            TypeError: a value has no form in JSON.
        """
        del allow_val_change
        self._set({**plain_mapping(d), **values})

    def _set(self, values: Mapping[str, Any]) -> None:
        after = {**self._values, **to_json(dict(values), keep_special=True)}
        if after != self._values:
            self._changed(after)
            self._values.clear()
            self._values.update(after)

    def setdefaults(self, d: Mapping[str, Any]) -> dict[str, Any]:
        """Set the keys that are missing and return all values."""
        self.update({key: value for key, value in d.items() if key not in self._values})
        return self.as_dict()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self._values.get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._values.keys()

    def items(self) -> ItemsView[str, Any]:
        """Return the pairs."""
        return self._values.items()

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dictionary."""
        return dict(self._values)

    def __getitem__(self, key: str) -> Any:
        """Return a value; KeyError when it is missing."""
        return self._values[key]

    @translated
    def __setitem__(self, key: str, value: Any) -> None:
        """Set a value."""
        self._set({key: value})

    def __getattr__(self, key: str) -> Any:
        """Return a value; AttributeError when it is missing."""
        try:
            return self._values[key]
        except KeyError:
            raise AttributeError(f"there is no key {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        """Set a value."""
        self[key] = value

    def __contains__(self, key: object) -> bool:
        """Tell whether there is such a key."""
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Equal to a mapping of the same values."""
        if isinstance(other, RunMapping):
            return self._values == other._values
        return self._values == other if isinstance(other, dict) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the values."""
        return repr(self._values)


def plain_mapping(value: Any) -> dict[str, Any]:
    """Return the keys of a mapping, or the attributes of an object such as `argparse.Namespace`.

    Raises:
        TypeError: it is neither.
    """
    if value is None:
        return {}
    if hasattr(value, "items") and hasattr(value, "keys"):
        return dict(value.items())
    try:
        return dict(vars(value))
    except TypeError:
        raise TypeError(f"a mapping or an object with attributes is needed, not {type(value).__name__}") from None
