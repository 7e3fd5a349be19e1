"""A few threads for work that releases the interpreter: hashing and reading."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    Part = TypeVar("Part")
    Answer = TypeVar("Answer")


def default_threads() -> int:
    """Return how many threads are of use: the processors that this process may run on, four at most."""
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)


def run_parallel(
    work: Callable[[Part], Answer], parts: Sequence[Part], threads: int | None = None, stopped: list[bool] | None = None
) -> Iterator[Answer]:
    """Yield the answer for each part, in no order; the first error stops the others and is raised.

    `stopped` gets an element when no more work is wanted, for work that takes long and can look at it.
    """
    number = min(threads or default_threads(), len(parts))
    if number <= 1:
        for part in parts:
            yield work(part)
        return
    import threading
    from _queue import SimpleQueue

    left = list(reversed(parts))
    answers: SimpleQueue[tuple[bool, Answer | BaseException | None]] = SimpleQueue()
    stopped = [] if stopped is None else stopped

    def run() -> None:
        try:
            while left and not stopped:
                try:
                    part = left.pop()
                except IndexError:
                    break
                answers.put((True, work(part)))
        except BaseException as error:  # noqa: BLE001
            answers.put((False, error))
        else:
            answers.put((False, None))

    workers = [threading.Thread(target=run, daemon=True) for _ in range(number)]
    for worker in workers:
        worker.start()
    running = number
    try:
        while running:
            is_answer, value = answers.get()
            if is_answer:
                yield value  # type: ignore[misc]
            elif value is not None:
                raise value  # type: ignore[misc]
            else:
                running -= 1
    finally:
        stopped.append(True)
        for worker in workers:
            worker.join()


def begin(work: Callable[[], Answer]) -> Callable[[], Answer]:
    """Begin some work in a thread of its own; the returned call waits for its answer, or raises what it raised."""
    import threading

    answers: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=run, name="regcli-ahead", daemon=True)
    thread.start()

    def finish() -> Answer:
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    return finish
