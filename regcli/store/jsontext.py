"""JSON for the store: compact to write, strict to read, and without the cost of importing `json`.

`import json` costs as much as the interpreter's own start (it brings `re`). CPython's C scanner and encoder, which it
is made of, cost nothing; where they are missing, the standard module is used instead.
"""

from __future__ import annotations

from regcli.errors import IntegrityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_SMALL = 64 << 20
_MAX_OBJECTS = 1 << 21
_MAX_WEIGHT = 192 << 20


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _parse_int(text: str) -> int:
    if len(text) > 40:
        raise ValueError("a number is too long")
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


class _Context:
    """What the C scanner reads its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook: Any = None
    parse_float = staticmethod(_parse_float)
    parse_int: Any = staticmethod(_parse_int)
    parse_constant = staticmethod(_refuse_constant)
    memo: Any = None


class _StrictContext(_Context):
    object_pairs_hook = staticmethod(_unique_pairs)


class _PlainContext(_Context):
    # The scanner knows the type itself and makes integers without a call.
    parse_int = int


def _scanners() -> tuple[Callable[[str], Any], Callable[[str], Any], Callable[[str], Any]]:
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return (
            json.JSONDecoder(parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse_constant).decode,
            json.JSONDecoder(
                parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse_constant, object_pairs_hook=_unique_pairs
            ).decode,
            json.JSONDecoder(parse_float=_parse_float, parse_constant=_refuse_constant).decode,
        )

    def whole(scan: Callable[[str, int], tuple[Any, int]]) -> Callable[[str], Any]:
        def decode(text: str) -> Any:
            try:
                value, end = scan(text, 0)
            except (StopIteration, SystemError):
                # The scanner takes its own error from `json`; as that is not imported, it raises none at all.
                raise ValueError("not JSON") from None
            if text[end:].strip():
                raise ValueError("text after the JSON value")
            return value

        return decode

    contexts: tuple[Any, ...] = (_Context(), _StrictContext(), _PlainContext())
    trusted, strict, plain = [whole(make_scanner(context)) for context in contexts]
    return trusted, strict, plain


_fast, _strict, _plain = _scanners()


def _make_dumps() -> Callable[[Any], str]:
    try:
        from _json import encode_basestring_ascii, make_encoder
    except ImportError:
        import json

        return json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

    def refuse(value: object) -> Any:
        raise TypeError(f"{type(value).__name__} is not JSON")

    # Neither sorted keys, nor skipped ones, nor NaN.
    options = (False, False, False)
    encode = make_encoder(None, refuse, encode_basestring_ascii, None, ":", ",", *options)

    def dumps(value: Any) -> str:
        return "".join(encode(value, 0))

    return dumps


_dumps = _make_dumps()


def dumps(value: Any) -> str:
    """Return compact ASCII JSON; NaN and infinities are refused (ValueError)."""
    return _dumps(value)


def loads_trusted(data: bytes) -> Any:
    """Parse JSON whose checksum was proven; raises ValueError."""
    return _fast(data.decode("utf-8"))


def loads(data: bytes, path: str, *, plain: bool = False) -> Any:
    """Parse JSON that anybody may have written: duplicate keys, NaN, deep nesting and bad UTF-8 are refused.

    Args:
        data: the text.
        path: for the message.
        plain: integers may be of any size that Python parses (4,300 digits), which takes half the time; what has objects
            is parsed as ever.

    Raises:
        IntegrityError: naming `path` and what is wrong.
    """
    if len(data) <= _SMALL and data.count(b"{") + data.count(b"[") > _MAX_OBJECTS:
        # Nothing that regcli writes has so many; each costs memory a hundred times its two bytes.
        raise IntegrityError(f"{path} is corrupt: it has too many objects and lists")
    try:
        text = data.decode("utf-8")
        if plain and b"{" not in data:
            # Without objects no key can occur twice; the caller bounds the numbers.
            try:
                return _plain(text)
            except ValueError:
                # What is wrong is said below, in the same words whoever reads it.
                pass
        return _strict(text)
    except RecursionError:
        raise IntegrityError(f"{path} is corrupt: nested too deeply") from None
    except ValueError as error:
        raise IntegrityError(f"{path} is corrupt: {error}", hint="run `regcli verify` to see all damage") from None


def seal(document: dict[str, Any]) -> bytes:
    """Return a derived document as JSON with its own checksum first: `{"checksum":"<xxh128>",…}`."""
    import xxhash

    body = _dumps(document)[1:].encode()
    return b'{"checksum":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body)


def weight(data: bytes) -> int:
    """Return about how much memory the values of a JSON text take, at most; strings are left out, which take what they have."""
    return 64 * (data.count(b"{") + data.count(b"[")) + 32 * data.count(b",")


def unseal(data: bytes) -> dict[str, Any] | None:
    """Return a derived document, or None when its checksum or form is wrong, or it is a bomb: anybody can make a checksum."""
    import xxhash

    if len(data) < 50 or data[:13] != b'{"checksum":"' or data[45:47] != b'",':
        return None
    body = data[47:]
    if xxhash.xxh3_128_hexdigest(body).encode() != data[13:45] or weight(body) > _MAX_WEIGHT:
        return None
    try:
        document: dict[str, Any] = loads_trusted(b"{" + body)
    except (ValueError, RecursionError):
        return None
    return document
