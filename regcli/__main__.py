"""The one door: answers the commands that run in loops and shells at once, and opens the full program for the rest."""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is without the program's name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # The process is ours, and ends before garbage matters; what commands read has no cycles, and looking for some in a
        # hundred thousand entries again and again is a tenth of the work.
        gc.set_threshold(200_000, 50, 100)
    try:
        from regcli.cli.fast import try_fast

        code = try_fast(arguments)
        if code is None:
            from regcli.cli.app import run

            code = run(arguments)
    except KeyboardInterrupt:
        # Also while modules are being imported, where no other handler stands yet.
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
