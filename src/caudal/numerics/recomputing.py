"""Activations computed again for the gradient, instead of kept: memory for the largest part."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from caudal.numerics.randomness import redirected, repeating
from caudal.numerics.sharing import normalised_whole
from caudal.scope import scoped

_RECOMPUTING: ContextVar[bool] = ContextVar("recomputing", default=False)
_SECOND: ContextVar[bool] = ContextVar("second", default=False)


def recomputing(wanted: bool = True) -> AbstractContextManager[None]:
    """Within, parts of a flow keep their inputs alone, and run once more for the gradient.

    Reference: Training deep nets with sublinear memory cost (Chen et al., 2016), arXiv:1604.06174.
    """
    return scoped(_RECOMPUTING, wanted)


def is_recomputing() -> bool:
    """Whether parts of a flow run once more for the gradient."""
    if torch.compiler.is_compiling():  # which decides by itself what it keeps
        return False
    return _RECOMPUTING.get() and torch.is_grad_enabled()


def is_second_pass() -> bool:
    """Whether a part runs once more for the gradient, and must not learn from its input again."""
    return not torch.compiler.is_compiling() and _SECOND.get()


def recomputed(part: nn.Module, call: Callable[..., Any], *inputs: Any) -> Any:
    """`call(*inputs)`, which runs once more for the gradient, with the same random numbers.

    `call` is of `part`, whose batch normalisation counts a batch once in its averages.
    """
    context, again, passes = copy_context(), repeating(), count()

    def run(*inputs: Any) -> Any:
        first = next(passes) == 0

        # The gradient may be computed in another thread, or outside of the contexts of now.
        def inside() -> Any:
            learning = nullcontext() if first else _without_averages(part)
            with again(), redirected(), normalised_whole(), learning:
                return call(*inputs)

        return context.run(inside)

    return checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def _without_averages(part: nn.Module) -> Iterator[None]:
    """Within, batch normalisation in a part changes copies of its averages, which are forgotten.

    It must save as many tensors for the gradient as before, and so cannot go without averages.
    """
    norms = [module for module in part.modules() if isinstance(module, _NormBase)]
    kept = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        copies = {name: None if b is None else b.clone() for name, b in buffers.items()}
        norm._buffers.update(copies)
    try:
        with scoped(_SECOND, True):
            yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)
