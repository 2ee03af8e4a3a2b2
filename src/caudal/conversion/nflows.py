"""Flows of nflows: masked autoregressive, couplings, LU maps, permutations, normalisation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from caudal.conversion.dense import refuse
from caudal.conversion.head import Head, affine, shift
from caudal.conversion.layers import conditioner, coupling, lu_linear, made, spline_head
from caudal.conversion.masked import permuted
from caudal.conversion.plan import Part, part
from caudal.conversion.source import Source, gaussian


def read(flow: Any) -> Source:
    """An nflows.flows.Flow; its embedding net, if any, is kept."""
    contexts: list[int] = []
    parts = _parts(flow._transform, "_transform", contexts)
    base, embedding = flow._distribution, flow._embedding_net
    if type(base).__name__ == "DiagonalNormal":
        mean, log_std = base.mean_.detach()[0], base.log_std_.detach()[0]
        parts = [*gaussian(mean, log_std), *parts]
    elif type(base).__name__ != "StandardNormal":
        raise refuse(base, "_distribution")
    own = None if isinstance(embedding, nn.Identity) else embedding

    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        return flow.log_prob(x, context)

    shape = (max(contexts),) if any(contexts) else None
    return Source(parts, tuple(base._shape), shape, log_prob, own)


def _parts(step: Any, where: str, contexts: list[int]) -> list[Part]:
    """The parts of a transform, from noise to data; widths of contexts go to the list."""
    kind = type(step).__name__
    if kind == "CompositeTransform":
        steps = enumerate(step._transforms)
        each = [_parts(inner, f"{where}._transforms.{i}", contexts) for i, inner in steps]
        return [one for inner in reversed(each) for one in inner]
    if kind == "InverseTransform":
        inner = _parts(step._transform, f"{where}._transform", contexts)
        return [part("Inverse", bijection=part("Chain", parts=inner))]
    if kind in _STEERED:
        parts, context = _STEERED[kind](step, where)
        contexts.append(context)
        return parts
    if kind not in _FIXED:
        raise refuse(step, where)
    return _FIXED[kind](step, where)


def _masked(step: Any, head: Head, where: str) -> tuple[list[Part], int]:
    net = step.autoregressive_net
    context = net.context_layer.in_features if hasattr(net, "context_layer") else 0
    return made(net, head, f"{where}.autoregressive_net", activated=True), context


def _masked_affine(step: Any, where: str) -> tuple[list[Part], int]:
    head = affine(part("ScaledShift", scale="softplus", floor=step._epsilon), take=(1, 0))
    return _masked(step, head, where)


def _masked_spline(step: Any, where: str) -> tuple[list[Part], int]:
    return _masked(step, spline_head(step, step.autoregressive_net, where), where)


def _coupling(step: Any, head: Head, where: str) -> tuple[list[Part], int]:
    moved = len(step.transform_features)
    net, context = conditioner(step.transform_net, head, moved, f"{where}.transform_net")
    return coupling(step, net, head, where), context


def _affine_coupling(step: Any, where: str) -> tuple[list[Part], int]:
    sigmoid = part("ScaledShift", scale="sigmoid", floor=1e-3)
    return _coupling(step, affine(sigmoid, blocks=True), where)


def _additive_coupling(step: Any, where: str) -> tuple[list[Part], int]:
    return _coupling(step, shift(sign=-1.0), where)


def _spline_coupling(step: Any, where: str) -> tuple[list[Part], int]:
    return _coupling(step, spline_head(step, step.transform_net, where), where)


_STEERED: dict[str, Callable[[Any, str], tuple[list[Part], int]]] = {
    "MaskedAffineAutoregressiveTransform": _masked_affine,
    "MaskedPiecewiseRationalQuadraticAutoregressiveTransform": _masked_spline,
    "AffineCouplingTransform": _affine_coupling,
    "AdditiveCouplingTransform": _additive_coupling,
    "PiecewiseRationalQuadraticCouplingTransform": _spline_coupling,
}


def _permutation(step: Any, where: str) -> list[Part]:
    if step._dim != 1:
        raise refuse(step, where)
    return permuted(step._permutation.argsort())


def _batch_norm(step: Any, where: str) -> list[Part]:
    state = {"log_gamma": step.weight.detach().log(), "beta": step.bias.detach()}
    state |= {"mean": step.running_mean, "var": step.running_var}
    return [part("BatchNorm", state, event_shape=step.bias.shape, eps=float(step.eps))]


def _act_norm(step: Any, where: str) -> list[Part]:
    log_scale = step.log_scale.detach()
    mean, third = -step.shift.detach() * (-log_scale).exp(), -log_scale / 3
    state = {"mean": mean, "third_of_log_std": third, "initialized": step.initialized}
    return [part("ActNorm", state, event_shape=mean.shape)]


def _pointwise(step: Any, where: str) -> list[Part]:
    """The map z = x scale + shift, which no data may measure anew: training goes on from it."""
    if step._scale.ndim > 1:
        raise refuse(step, where)
    if step._scale.numel() == 1 == step._shift.numel():
        return [part("Rescale", factor=float(step._scale), offset=float(step._shift))]
    shift, scale = torch.broadcast_tensors(step._shift, step._scale)
    return gaussian(-shift / scale, -scale.log())


_FIXED: dict[str, Callable[[Any, str], list[Part]]] = {
    "Permutation": _permutation,
    "RandomPermutation": _permutation,
    "ReversePermutation": _permutation,
    "LULinear": lambda step, where: [lu_linear(step)],
    "BatchNorm": _batch_norm,
    "ActNorm": _act_norm,
    "PointwiseAffineTransform": _pointwise,
    "AffineTransform": _pointwise,
    "AffineScalarTransform": _pointwise,
    "IdentityTransform": lambda step, where: [],
}
