"""Run the tests of reliability and security: `python -m tests.reliability [--long] [pytest's options…]`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run pytest on this directory and on the hostile input's, in the long form when `--long` is among the arguments."""
    here = Path(__file__).resolve().parent
    environment = dict(os.environ)
    if "--long" in arguments:
        arguments = [argument for argument in arguments if argument != "--long"]
        environment["REGCLI_RELIABILITY"] = "long"
    command = [sys.executable, "-m", "pytest", "-v", "--durations=20", str(here), str(here.parent / "security"), *arguments]
    return subprocess.run(command, cwd=here.parent.parent, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
