"""Activations computed again for the gradient, instead of kept: memory for the largest part."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from caudal.numerics.randomness import redirected, repeating
from caudal.numerics.sharing import normalised_whole

_RECOMPUTING: ContextVar[bool] = ContextVar("recomputing", default=False)


@contextmanager
def recomputing(wanted: bool = True) -> Iterator[None]:
    """Within, parts of a flow keep their inputs alone, and run once more for the gradient.

    Reference: Training deep nets with sublinear memory cost (Chen et al., 2016), arXiv:1604.06174.
    """
    token = _RECOMPUTING.set(wanted)
    try:
        yield
    finally:
        _RECOMPUTING.reset(token)


def is_recomputing() -> bool:
    """Whether parts of a flow run once more for the gradient."""
    if torch.compiler.is_compiling():  # which decides by itself what it keeps
        return False
    return _RECOMPUTING.get() and torch.is_grad_enabled()


def recomputed(call: Callable[..., Any], *inputs: Any) -> Any:
    """`call(*inputs)`, which runs once more for the gradient, with the same random numbers."""
    context, again = copy_context(), repeating()

    def run(*inputs: Any) -> Any:
        # The gradient may be computed in another thread, or outside of the contexts of now.
        def inside() -> Any:
            with again(), redirected(), normalised_whole():
                return call(*inputs)

        return context.run(inside)

    return checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=False)
