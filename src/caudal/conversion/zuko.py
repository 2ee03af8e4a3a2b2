"""Flows of zuko: MAF, NSF, NICE and what they are made of."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from caudal.conversion.dense import mlp, refuse, stack
from caudal.conversion.head import Head, affine
from caudal.conversion.masked import autoregressive, permuted
from caudal.conversion.plan import Part, part
from caudal.conversion.source import Source, gaussian


def read(flow: Any) -> Source:
    """A zuko.lazy.Flow; its context goes into the nets as it is."""
    inner = getattr(flow.transform, "transforms", None)
    steps = {"transform": flow.transform}
    if inner is not None:
        steps = {f"transform.transforms.{i}": step for i, step in enumerate(inner)}
    base = flow.base()
    if type(base).__name__ != "DiagNormal":
        raise refuse(base, "base")
    mean, std = base.base_dist.loc.detach(), base.base_dist.scale.detach()
    context = 0
    parts: list[Part] = []
    for where, step in steps.items():  # from data to noise
        read_step, width = _step(step, where, len(mean))
        parts = [*read_step, *parts]
        context = max(context, width)

    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        return flow(context).log_prob(x)

    shape = (context,) if context else None
    return Source([*gaussian(mean, std.log()), *parts], tuple(mean.shape), shape, log_prob)


def _step(step: Any, where: str, features: int) -> tuple[list[Part], int]:
    """The parts of a transform, from noise to data, and the width of its context."""
    known: dict[str, Callable[[Any, str, int], tuple[list[Part], int]]] = {
        "MaskedAutoregressiveTransform": _masked,
        "GeneralCouplingTransform": _coupling,
        "ElementWiseTransform": _elementwise,
        "UnconditionalTransform": _permutation,
    }
    kind = type(step).__name__
    if kind not in known:
        raise refuse(step, where)
    return known[kind](step, where, features)


def _head(step: Any, where: str) -> Head:
    """The univariate map of a transform: a class, or a partial of one."""
    make: Any = step.univariate
    options: dict[str, Any] = {}
    if isinstance(make, partial):
        make, options = make.func, make.keywords
    slope = options.get("slope", 1e-3)
    kind = getattr(make, "__name__", "")
    if kind == "MonotonicAffineTransform":
        return affine(part("ScaledShift", scale="exp", bound=-math.log(slope)))
    if kind == "MonotonicRQSTransform":
        bins = step.shapes[0][0]
        bound = float(options.get("bound", 5.0))
        n = 3 * bins - 1
        spline = part("SoftSpline", bins=bins, bound=bound, min_slope=slope)
        return Head(spline, tuple(range(n)), (1.0,) * n, (0.0,) * n)
    raise refuse(step, where, f"has the map {kind or make}, which has no counterpart here")


def _masked(step: Any, where: str, features: int) -> tuple[list[Part], int]:
    if any(type(module).__name__ == "Residual" for module in step.hyper):
        raise refuse(step.hyper, f"{where}.hyper", "has residual blocks")
    layers, activation = stack(step.hyper, f"{where}.hyper")
    context = layers[0].weight.shape[1] - features
    head = _head(step, where)
    return autoregressive(layers, head, where, activation=activation, context=context), context


def _coupling(step: Any, where: str, features: int) -> tuple[list[Part], int]:
    keep = step.mask
    layers, activation = stack(step.hyper, f"{where}.hyper")
    head, kept = _head(step, where), int(keep.sum())
    context = layers[0].weight.shape[1] - kept
    net = mlp(layers, activation, head, features - kept, context)
    return [part("Coupling", net=net, elementwise=head.elementwise, keep=keep)], context


def _elementwise(step: Any, where: str, features: int) -> tuple[list[Part], int]:
    head = _head(step, where)
    keep = torch.zeros(features, dtype=torch.bool)
    context = 0
    if hasattr(step, "hyper"):
        layers, activation = stack(step.hyper, f"{where}.hyper")
        context = layers[0].weight.shape[1]
        net = mlp(layers, activation, head, features, context)
    else:
        values = torch.cat([phi.detach().view(features, -1) for phi in step.phi], 1).t()
        net = part("Constant", {"values": values}, outputs=features, n_params=head.n_params)
    return [part("Coupling", net=net, elementwise=head.elementwise, keep=keep)], context


def _permutation(step: Any, where: str, features: int) -> tuple[list[Part], int]:
    """An unconditional transform: y = x[order]."""
    made = step()
    if type(made).__name__ != "PermutationTransform":
        raise refuse(made, where)
    return permuted(made.order.argsort()), 0
