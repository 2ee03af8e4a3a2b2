"""How estimates are made: where their random numbers come from, and whether they are wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_GENERATOR: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)
_WANTED: ContextVar[bool] = ContextVar("wanted", default=True)


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


@contextmanager
def values_alone() -> Iterator[None]:
    """Within, bijections may leave out log-dets that cost much, and give zeros for them."""
    token = _WANTED.set(False)
    try:
        yield
    finally:
        _WANTED.reset(token)


def log_dets_wanted() -> bool:
    """Whether log-dets are wanted: not within `values_alone`."""
    return _WANTED.get()
