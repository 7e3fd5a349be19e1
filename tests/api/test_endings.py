"""How a run ends when the script does not say: by an exit status, an exception, or the end of the script."""

from __future__ import annotations

import subprocess
import sys

import pytest

import regcli
from regcli import Api

BEGIN = "import sys, threading, regcli\nrun = regcli.init(name='r')\n"


@pytest.mark.parametrize(
    ("code", "status", "state"),
    [
        ("", 0, "finished"),
        ("sys.exit()", 0, "finished"),
        ("sys.exit(0)", 0, "finished"),
        ("sys.exit(3)", 3, "failed"),
        ("sys.exit('no data')", 1, "failed"),
        ("raise KeyError", 1, "failed"),
        ("with run: sys.exit(0)", 0, "finished"),
        ("with run: sys.exit(2)", 2, "failed"),
        ("with run: raise SystemExit(2)", 2, "failed"),
        ("try: sys.exit(1)\nexcept SystemExit: run.log({'a': 1})", 0, "finished"),
        ("t = threading.Thread(target=sys.exit, args=(1,)); t.start(); t.join()", 0, "finished"),
    ],
)
def test_a_run_ends_as_its_script_does(code: str, status: int, state: str) -> None:
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, Api().run("r").state) == (status, state), done.stderr


def test_the_exit_status_is_what_it_was() -> None:
    with regcli.init(name="r"):
        for status in (None, 0, 5, "text"):
            with pytest.raises(SystemExit) as caught:
                sys.exit(status)
            assert caught.value.code == status
