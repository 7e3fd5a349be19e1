"""What Ctrl-C does: while the program loads it leaves at once, while it works it raises, and at the end it changes nothing.

An exception that is raised in the middle of an import, or while the interpreter shuts down, ends in a traceback or is lost in
a callback; and there is nothing to clean up yet, or any more. Who ignores the signal, or has a handler, keeps it.
"""

from __future__ import annotations

import _signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
# What the interpreter runs after each import.
_CALLBACK = ("<frozen importlib._bootstrap>", "cb")


class _Leave:
    """A handler that ends the process with an exit code."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        os._exit(self.code)


def leave_when_interrupted() -> None:
    """Let Ctrl-C end the process silently: nothing is being done yet that would have to be undone."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _Leave(INTERRUPTED))


def raise_when_interrupted() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again: from here on there is work to stop and litter to clear."""
    if isinstance(_signal.getsignal(_signal.SIGINT), _Leave):
        _signal.signal(_signal.SIGINT, _raise)


def end_with(code: int) -> None:
    """Let Ctrl-C change nothing about the exit code any more: all is said and done.

    It still cuts short the wait for threads, which the interpreter's own end begins with.
    """
    handler = _signal.getsignal(_signal.SIGINT)
    if handler is _raise or isinstance(handler, _Leave):
        import atexit

        _signal.signal(_signal.SIGINT, _Leave(code))
        # The interpreter would put the system's own answer back, death by the signal, before its last milliseconds.
        atexit.register(_signal.signal, _signal.SIGINT, _signal.SIG_IGN)


def _raise(_number: int, frame: FrameType | None) -> None:
    if frame is not None and (frame.f_code.co_filename, frame.f_code.co_name) == _CALLBACK:
        # What is raised in a weak reference's callback is printed and lost. It is over in a moment.
        import _thread
        import time

        main = _thread.get_ident()

        def again() -> None:
            time.sleep(0.001)
            # A real signal to that thread, so that whatever call it waits in by then is cut short.
            _signal.pthread_kill(main, _signal.SIGINT)

        _thread.start_new_thread(again, ())
        return
    raise KeyboardInterrupt
