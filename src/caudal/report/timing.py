"""How long a call takes, on whatever device."""

import time
from collections.abc import Callable

import torch


def seconds_of(run: Callable[[], object]) -> float:
    """Of the clock; an accelerator has done its work before and after."""
    _wait()
    start = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
