"""Where the random numbers of estimates come from, in evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_GENERATOR: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)


@contextmanager
def drawing(generator: torch.Generator) -> Iterator[None]:
    """Within, estimates in evaluation mode draw from `generator`, anew for each row.

    Without, they use the same random numbers each time, so that a repeated score is equal.
    """
    token = _GENERATOR.set(generator)
    try:
        yield
    finally:
        _GENERATOR.reset(token)


def generator_in_use() -> torch.Generator | None:
    """The generator of the innermost `drawing`, None outside of any."""
    return _GENERATOR.get()
