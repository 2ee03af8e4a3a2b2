"""Fewer threads where other programs keep the cores busy.

The threads of PyTorch wait for each other after each operation. Where another program has the core
of one of them, the others wait for its turn, which takes milliseconds in place of microseconds: a
step of training takes more than twenty times as long as with one thread. The same happens in a
container that may use fewer cores than it sees.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

import torch

_PIECE = 40_000  # elements a thread: PyTorch gives a thread no fewer than 32,768
_TRIAL = 0.05  # seconds: a turn of another program takes some milliseconds
_HINDRANCE = 1.2  # times as long as one thread takes for the same work
_TRIALS = 3  # before a thread is taken away: a single one is slow by chance now and then


# Seconds between looks, of which each takes two trials, and six before it takes a thread away.
_EVERY = 10.0


class _State:
    """What is usual, and when that was looked at last.

    Only the main thread changes it, since threads that start later begin with its number.
    """

    usual: int | None = None
    looked = -_EVERY


_state = _State()


@contextmanager
def uncrowded() -> Iterator[None]:
    """Within, PyTorch works with fewer threads while other programs keep its threads waiting.

    The number is chosen here and at each `look`, and put back at the end. OMP_NUM_THREADS, if it
    is set, is obeyed. Sums may round otherwise with another number of threads. Threads of Python
    beside the main one keep the number they have.
    """
    if current_thread() is not main_thread():
        yield
        return
    if _state.usual is not None:  # within another one
        look()
        yield
        return
    _state.usual = torch.get_num_threads()
    try:
        look()
        yield
    finally:
        torch.set_num_threads(_state.usual)
        _state.usual = None


def look() -> None:
    """Within `uncrowded`: takes as many threads as do not wait for each other now."""
    usual, now = _state.usual, time.monotonic()
    if current_thread() is not main_thread():
        return
    if usual is None or "OMP_NUM_THREADS" in os.environ or now - _state.looked < _EVERY:
        return
    _state.looked = now
    number, present = usual, torch.get_num_threads()
    while number > 1 and _hinders(number, _TRIALS if number <= present else 1):
        number //= 2
    torch.set_num_threads(number)


def crowd() -> str:
    """A sentence where threads wait for each other; else an empty one."""
    number, usual = torch.get_num_threads(), _state.usual or 1
    if number >= usual or current_thread() is not main_thread():
        return ""
    return f"the cores are busy or shared: working with {number} of {usual} threads"


def _hinders(number: int, trials: int) -> bool:
    """Whether so many threads take longer than one for the same work, in each of the trials."""
    work = torch.zeros(number * _PIECE)
    return all(_seconds(work, number) > _HINDRANCE * _seconds(work, 1) for _ in range(trials))


def _seconds(work: torch.Tensor, number: int) -> float:
    """Seconds that an operation takes, the mean over a trial."""
    torch.set_num_threads(number)
    work.exp()  # wakes the threads
    start, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < _TRIAL or not done:
        work.exp()
        done += 1
    return passed / done
