"""A run's metrics have one writer: a forked child, a second process or a second object of the same run is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

import regcli
from regcli import Api, CommError
from regcli.domain.run_history import HistoryWriter
from regcli.errors import BusyError


def losses(path: str) -> list[Any]:
    return [row["loss"] for row in Api().run(path).scan_history(["loss"])]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_write_the_metrics_of_its_parents_run() -> None:
    code = (
        "import os, regcli\n"
        "run = regcli.init(id='r')\n"
        "run.log({'loss': 1})\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        run.log({'loss': 2})\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
        "    with regcli.init(id='child') as own:\n"
        "        own.log({'loss': 4})\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "run.log({'loss': 3})\n"
        "run.finish()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "belongs to process" in done.stdout
    assert (losses("r"), losses("child")) == ([1, 3], [4])


def test_a_run_that_a_living_process_runs_is_not_taken_over() -> None:
    code = "import regcli\nregcli.init(id='r', config={'taken': True}).log({'loss': 9})\n"
    with regcli.init(id="r", config={"a": 1}) as run:
        run.log({"loss": 1})
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
        assert done.returncode != 0
        assert f"process {os.getpid()}" in done.stderr
        with pytest.raises(CommError) as caught:
            regcli.init(id="r", config={"b": 1}, reinit="create_new")
        assert isinstance(caught.value, BusyError)
        run.log({"loss": 2})
    stored = Api().run("r")
    assert (losses("r"), stored.config, stored.state) == ([1, 2], {"a": 1}, "finished")
    with regcli.init(id="r") as run:
        run.log({"loss": 3})
    assert losses("r") == [1, 2, 3]


def test_a_history_has_one_writer_at_a_time() -> None:
    with regcli.init(id="r") as run:
        run.log({"loss": 1})
        with pytest.raises(BusyError):
            HistoryWriter(run._chain.base, run._chain.root, float)
    HistoryWriter(run._chain.base, run._chain.root, float).close()
