"""What is made from the commands and checked in is that of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from regcli.cli.generate import main, make_files

REPOSITORY = Path(__file__).parent.parent.parent
FILES = make_files()


@pytest.mark.parametrize("path", FILES)
def test_checked_in_file_is_that_of_the_commands(path: str) -> None:
    assert (REPOSITORY / path).read_text() == FILES[path], "run: python -m regcli.cli.generate"


def test_generate_writes_them_all(tmp_path: Path) -> None:
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    main(str(tmp_path))
    assert {path: (tmp_path / path).read_text() for path in FILES} == FILES
