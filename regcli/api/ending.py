"""How this process ends: what its active run records when the script does not finish it.

An exception that nothing catches is left in `sys.last_value`. `SystemExit` leaves no trace, so the status that `sys.exit` is
called with is noted; the W&B SDK does the same. `raise SystemExit(1)` outside the run's `with` block is not noticed.
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_is_watching = False
_leave: Any = None
_status: Any = None


def watch() -> None:
    """Note from now on which status `sys.exit` is called with; it still does what it did."""
    global _is_watching, _leave  # noqa: PLW0603 - there is one process
    if not _is_watching:
        _is_watching = True
        _leave = vars(sys)["exit"]
        vars(sys)["exit"] = _noted


def _noted(status: Any = None, /) -> NoReturn:
    """Exit by raising SystemExit(status)."""
    global _status  # noqa: PLW0603 - as above
    # In another thread it ends that thread only.
    if threading.current_thread() is threading.main_thread():
        _status = status
    _leave(status)
    raise SystemExit(status)


def goes_on() -> None:
    """Forget the status: the script caught the exception and went on with its run."""
    global _status  # noqa: PLW0603 - as above
    _status = None


def means_failure(status: Any) -> bool:
    """Tell whether a status of `sys.exit` means failure: all but None and 0 do, a text too."""
    return status not in (None, 0)


def has_failed() -> bool:
    """Tell, while the process ends, whether it failed."""
    return getattr(sys, "last_value", None) is not None or means_failure(_status)
