"""JSON of the store: compact to write, strict to read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regcli.errors import IntegrityError
from regcli.store import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_is_written_comes_back(value: Any) -> None:
    text = jsontext.dumps(value)
    assert text.isascii()
    assert jsontext.loads(text.encode(), "f") == value
    assert json.loads(text) == value, "and is JSON for everybody else"


@given(st.dictionaries(st.text().filter(lambda key: key != "checksum"), VALUES, min_size=1, max_size=5))
def test_a_sealed_document_comes_back(document: dict[str, Any]) -> None:
    assert jsontext.unseal(jsontext.seal(document)) == document


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_json_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        jsontext.dumps({"a": [number]})


def test_what_has_no_json_form_is_not_written() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": {1, 2}})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1} x',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1,"a":2}',
        b'{"x":{"b":1,"b":1}}',
        b'[{"b":1,"b":1}]',
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":' + b"9" * 41 + b"}",
        b'{"a":' + b"9" * 100_000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\n"}',
        "{}".encode("utf-16"),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_what_is_not_strict_json_is_refused_with_the_name_of_the_file(text: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"the/file\.json is corrupt"):
        jsontext.loads(text, "the/file.json")


def test_a_broken_seal_opens_nothing() -> None:
    sealed = jsontext.seal({"a": 1, "b": [1, 2, 3]})
    assert jsontext.unseal(sealed) == {"a": 1, "b": [1, 2, 3]}
    for position in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[position] ^= 1
        assert jsontext.unseal(bytes(damaged)) is None, position
    for length in range(len(sealed)):
        assert jsontext.unseal(sealed[:length]) is None
    assert jsontext.unseal(sealed + b" ") is None


@pytest.mark.parametrize("body", [b'"a":' + b"[" * 200_000, b'"a":1e999}', b'"a":NaN}', b"no JSON at all, but sealed right"])
def test_a_seal_around_nonsense_opens_nothing(body: bytes) -> None:
    import xxhash

    sealed = b'{"checksum":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body)
    assert jsontext.unseal(sealed) is None
