"""`regcli.lock`: read without trust, written so that branches merge."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regcli.domain.lockfile import (
    LockFileError,
    MergeConflictError,
    Pin,
    clean_directory,
    encode_lock,
    is_guarded,
    parse_lock,
    read_lock,
    write_lock,
)
from regcli.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "fe0d6c1a25b6" + "0" * 20


def pin(reference: str = "model/zoo:production", directory: str = "data", **extra: object) -> Pin:
    return Pin(reference, "v3", DIGEST, 4800, directory, dict(extra))


def entry(**fields: object) -> bytes:
    values = {
        "reference": "model/zoo:production",
        "version": "v3",
        "digest": DIGEST,
        "size": 4800,
        "directory": "data",
        **fields,
    }
    lines = [f"{key} = {value if type(value) is int else chr(39) + str(value) + chr(39)}" for key, value in values.items()]
    return "\n".join(["format = 1", "[[artifact]]", *lines, ""]).encode()


def test_a_lock_reads_back_as_it_was_written() -> None:
    pins = [pin("b/동물원:x", "artifacts/동물원:v3"), pin('a/it\'s "odd"$(x):y', "d d")]
    data = encode_lock(pins)
    assert [p.document() for p in parse_lock(data, "lock")] == [p.document() for p in reversed(pins)]
    assert encode_lock(parse_lock(data, "lock")) == data


def test_one_value_a_line_sorted_by_reference() -> None:
    text = encode_lock([pin("b/x:y", "b"), pin("a/x:y", "a")]).decode()
    assert text.index('reference = "a/x:y"') < text.index('reference = "b/x:y"')
    assert f'\n[[artifact]]\nreference = "a/x:y"\nversion = "v3"\ndigest = "{DIGEST}"\nsize = 4800\ndirectory = "a"\n' in text


def test_fields_of_a_later_program_survive() -> None:
    pins = parse_lock(entry(note="keep me"), "lock")
    assert pins[0].extra == {"note": "keep me"}
    assert 'note = "keep me"' in encode_lock(pins).decode()


def test_writing_the_same_leaves_the_file_alone(tmp_path: Path) -> None:
    assert read_lock(str(tmp_path)) is None
    assert write_lock(str(tmp_path), [pin()])
    os.utime(tmp_path / "regcli.lock", (1, 1))
    assert not write_lock(str(tmp_path), [pin()])
    assert (tmp_path / "regcli.lock").stat().st_mtime == 1
    assert os.listdir(tmp_path) == ["regcli.lock"]


def test_no_lock_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    write_lock(str(tmp_path), [pin()])
    with pytest.raises(LockFileError, match="larger than"):
        write_lock(str(tmp_path), [pin(note="x" * (16 << 20))])
    found = read_lock(str(tmp_path))
    assert found is not None
    assert [item.document() for item in found] == [pin().document()]


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(entry())
    (tmp_path / "regcli.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="not a regular file"):
        read_lock(str(tmp_path))


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> theirs", "||||||| base", "<<<<<<< HEAD\r"])
def test_a_merge_conflict_is_named_with_its_line(marker: str) -> None:
    data = entry() + f"{marker}\n".encode()
    with pytest.raises(MergeConflictError, match="merge conflict in line 8") as caught:
        parse_lock(data, "regcli.lock")
    assert caught.value.exit_code == 4
    assert "lock --update" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", "UTF-8"),
        (b"format = 1\nformat = 2\n", "not valid TOML"),
        (b"[" * 100_000, "not valid TOML"),
        (b"", "no format"),
        (b"format = 'x'", "no format"),
        (b"format = 1\nartifact = 3\n", "list of tables"),
        (b"format = 1\nartifact = [3]\n", "not a table"),
        (entry(reference=""), "proper reference"),
        (entry(version="3"), "not vN"),
        (entry(version="v03"), "not vN"),
        (entry(digest="fe0d"), "hexadecimal"),
        (entry(digest="../" + DIGEST[3:]), "hexadecimal"),
        (entry(size=-1), "number of bytes"),
        (entry(size="1"), "number of bytes"),
        (entry() + entry().partition(b"\n")[2], "twice"),
        (entry() + entry(reference="other/x:y", directory="DATA/").partition(b"\n")[2], "into one directory"),
    ],
)
def test_what_is_no_lock_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(LockFileError, match=words):
        parse_lock(data, "regcli.lock")


def test_a_newer_format_is_refused_in_one_line() -> None:
    with pytest.raises(IntegrityError, match="newer than this program"):
        parse_lock(b"format = 2\n", "regcli.lock")


@pytest.mark.parametrize(
    "directory",
    [
        "/etc", "../x", "a/../../x", "..", "C:/x", "C:\\x", "\\\\server\\x", "a\\..\\..\\x", "",
        "a\x00b", "a\x1b[2Jb", "a\u202eb", ".git", ".git/hooks", "a/.GIT/x", ".git./x", "GIT~1/hooks", ".git /x", ".regcli",
        ".g\u200cit/hooks", ".git::$INDEX_ALLOCATION/x",
    ],
)  # fmt: skip
def test_a_directory_that_is_not_the_projects_is_refused(directory: str) -> None:
    if directory == "":
        # The lock's own directory in another spelling.
        assert clean_directory(directory, "lock") == "."
        return
    with pytest.raises(LockFileError):
        clean_directory(directory, "lock")


@pytest.mark.parametrize(
    ("written", "clean"),
    [(".", "."), ("./", "."), ("./a//b/", "a/b"), ("artifacts/zoo:v3", "artifacts/zoo:v3"), ("동물 원", "동물 원")],
)
def test_a_directory_has_one_spelling(written: str, clean: str) -> None:
    assert clean_directory(written, "lock") == clean


@given(st.text(max_size=40))
def test_no_text_leads_out(text: str) -> None:
    try:
        path = clean_directory(text, "lock")
    except LockFileError:
        return
    assert not os.path.isabs(path)
    assert ".." not in path.split("/")
    assert not is_guarded(path)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        parse_lock(b"format = 1\n" + data, "lock")
    except (LockFileError, MergeConflictError):
        return
