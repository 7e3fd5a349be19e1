"""Packs with damaged records are written anew, once what was damaged is stored elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from regcli.store.check import mend
from regcli.store.content import Content
from tests.store.content_cases import digest_of, store

if TYPE_CHECKING:
    from pathlib import Path

GOOD, BAD = b"good" * 100, b"bad" * 100


def damaged(path: Path) -> Content:
    """Return content with one pack of two records, one of which is damaged."""
    content = Content(str(path / "root"))
    with content.batch() as batch:
        batch.put_bytes(GOOD)
        batch.put_bytes(BAD)
        batch.publish()
    (name,) = [name for name in os.listdir(f"{path}/root/packs") if name.endswith(".pack")]
    pack = path / "root/packs" / name
    data = bytearray(pack.read_bytes())
    data[data.index(BAD) + 7] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    return Content(str(path / "root"))


def test_a_damaged_record_stays_while_it_is_the_only_one(tmp_path: Path) -> None:
    content = damaged(tmp_path)
    assert mend(content) == []
    assert [problem[2] for problem in content.check()] == [digest_of(BAD)]
    assert content.read(digest_of(GOOD)) == GOOD


def test_the_pack_is_replaced_when_its_content_is_stored_again(tmp_path: Path) -> None:
    content = damaged(tmp_path)
    store(content, BAD)
    (mended,) = mend(content)
    assert not os.path.exists(mended)
    assert list(Content(content.root).check()) == []
    assert (content.read(digest_of(GOOD)), content.read(digest_of(BAD))) == (GOOD, BAD)
    assert mend(content) == []
