"""The name in a head, without parsing the head: for listing many names fast where a stale one does no harm."""

from __future__ import annotations

import os

from regcli.errors import RegcliError
from regcli.store import files, jsontext

_ENOUGH = 16 << 10
_STATE = b',"state":{'
_RECORDS = b'},"records":{'


def peek_name(base: str) -> str | None:
    """Return the name that the head of a collection, registry or run says; None where it takes a closer look.

    Only the beginning of the head is read, and no checksum proven: who shows the name looks up nothing by it. None also
    stands for a thing that was removed, was never made, or gave its name away.
    """
    try:
        descriptor = os.open(f"{base}/head.json", files.READ)
    except OSError:
        return None
    try:
        data = os.read(descriptor, _ENOUGH)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    start = data.find(_STATE)
    end = data.find(_RECORDS, start)
    if start < 0 or end < 0 or data.find(b'"removed":true', start, end) >= 0:
        # In the state this can be no text: JSON writes the quotes inside one as \".
        return None
    first = data.find(b',"name":"', start, end)
    if first < 0:
        return None
    first += 8
    last = data.find(b'"', first + 1, end)
    while last > 0 and (last - len(data[first:last].rstrip(b"\\")) - first) % 2:
        last = data.find(b'"', last + 1, end)
    try:
        name = jsontext.loads(data[first : last + 1], base)
    except RegcliError:
        return None
    return name if isinstance(name, str) else None
