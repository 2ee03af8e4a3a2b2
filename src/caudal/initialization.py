"""Statistics from data, set explicitly: `initialize` before training, `calibrate` after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from caudal.bijection import walk
from caudal.bijections.normalization import ZCA, BatchNorm, DataDependent
from caudal.flow import Flow
from caudal.nets import Embedding, Spectral
from caudal.numerics import values_alone


@torch.no_grad()
def initialize(
    flow: Flow,
    x: Tensor,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
    weights: Tensor | None = None,
    few: int | None = None,
) -> None:
    """Data-dependent initialisation from rows x (B, *event), ideally many.

    Every layer with statistics of its own (ActNorm, Standardise, Gaussianise, ...) takes them from
    the data that reach it, after the layers nearer to the data have theirs. The embedding of the
    context and the dequantisation take theirs too, in which each row counts once; in the layers
    rows count by `weights` (B,) of any scale, if there are any. An ActNorm or a Correlate that has
    been initialised before is left unchanged.

    Whitening needs more rows than layers do: once all of it has its statistics, the layers nearer
    to the noise take theirs from `few` rows alone, here and there among them, if that is given.

    Raises:
        ValueError: data cannot reach a layer that still needs them (it is inside an `Inverse`).
    """
    if flow.dequantization is not None:
        flow.dequantization.observe(x)
    if isinstance(flow.embedding, Embedding) and context is not None:
        flow.embedding.observe(context)
    even = None if weights is None else weights / weights.mean()
    waiting = _waiting(flow, DataDependent)
    if few is not None and few < len(x):
        whitens = {id(part) for part in flow.bijection.modules() if isinstance(part, ZCA)}
        if whitens & waiting:
            _observe(flow, x, context, generator, waiting, whitens & waiting, weights=even)
            some = torch.arange(few) * len(x) // few  # images in a folder may come class by class
            x, context = x[some], None if context is None else context[some]
            even = None if even is None else even[some] / even[some].mean()
    _observe(flow, x, context, generator, waiting, weights=even)


@torch.no_grad()
def calibrate(
    flow: Flow,
    x: Tensor,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Brings the norms of spectral layers to a tolerance, and gives BatchNorms the moments of x.

    Training follows the norms with a few power iterations a pass. The moments are taken layer by
    layer (MAF's rule); x should be the whole training set. Batch normalisations in conditioners
    get the means of their moments over pieces of x ("precise" statistics: Wu and Johnson, 2021,
    arXiv:2105.07576), because the usual running averages lag behind the weights. For a flow
    without any of these layers this costs nothing.
    """
    for module in flow.modules():
        if isinstance(module, Spectral):
            module.tighten()
    modules = [*flow.bijection.modules(), *(flow.embedding.modules() if flow.embedding else ())]
    inside = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    if inside or any(isinstance(module, BatchNorm) for module in modules):
        with _averaging(inside):
            waiting = _waiting(flow, BatchNorm)
            _observe(flow, x, context, generator, waiting, to_the_end=bool(inside))


@contextmanager
def _averaging(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    """Within this context, passes in evaluation mode average the moments of their pieces anew."""
    momenta = [norm.momentum for norm in norms]
    hooks = [norm.register_forward_pre_hook(_train_alone) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean of all batches
    try:
        yield
    finally:
        for norm, momentum, hook in zip(norms, momenta, hooks, strict=True):
            norm.momentum = momentum
            hook.remove()


def _train_alone(norm: nn.Module, _: Any) -> None:
    norm.training = True


def _waiting(flow: Flow, kind: Any) -> set[int]:
    """The layers of a kind that still need statistics, by their ids."""
    modules = [module for module in flow.bijection.modules() if isinstance(module, kind)]
    return {id(module) for module in modules if not module.settled}


def _observe(
    flow: Flow,
    x: Tensor,
    context: Tensor | None,
    generator: torch.Generator | None,
    waiting: set[int],
    until: set[int] | None = None,
    to_the_end: bool = False,
    weights: Tensor | None = None,
) -> None:
    """Layers that wait take their statistics and wait no more, until all of some have theirs."""
    until = waiting if until is None else until
    was_training = flow.training
    flow.eval()
    if flow.dequantization is not None:
        flow.dequantization.training = True  # statistics are of the noise that training has
    lifted, _ = flow.lift(x, generator)
    with values_alone():
        embedded = flow.embed(context)
        for name, part, part_input, given in walk(flow.bijection, lifted, embedded):
            if isinstance(part, DataDependent) and id(part) in waiting:
                part.observe(part_input, given, weights)
                waiting.discard(id(part))
            elif any(id(module) in waiting for module in part.modules()):
                kind = next(type(module) for module in part.modules() if id(module) in waiting)
                missed = f"{name} holds a {kind.__name__}"
                raise ValueError(f"{missed} that data on its way does not reach")
            if not (until & waiting or to_the_end):
                break
    flow.train(was_training)
