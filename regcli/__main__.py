"""The one door: answers the commands that run in loops and shells at once, and opens the full program for the rest."""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The same as `regcli.cli.interrupts.INTERRUPTED`, which may not be imported yet.
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is without the program's name."""
    if argv is not None:
        return _run(list(argv))
    try:
        # Not above: Ctrl-C during an import there would meet no handler at all.
        from regcli.cli.interrupts import end_with, leave_when_interrupted

        # The process is ours: also how it is left.
        leave_when_interrupted()
    except KeyboardInterrupt:
        return _INTERRUPTED
    # It ends before garbage matters; what commands read has no cycles, and looking for some in a hundred thousand entries again
    # and again is a tenth of the work.
    gc.set_threshold(200_000, 50, 100)
    code = _run(sys.argv[1:])
    end_with(code)
    return code


def _run(arguments: list[str]) -> int:
    try:
        from regcli.cli.fast import try_fast

        code = try_fast(arguments)
        if code is None:
            from regcli.cli.app import run

            code = run(arguments)
    except KeyboardInterrupt:
        # Also where no other handler stands yet, or any more.
        return _INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
