"""Flows of normflows: Real-NVP, masked autoregressive, neural splines, Glow of several scales."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from caudal.conversion.dense import mlp, refuse, stack
from caudal.conversion.glow import act_norm, block, coupling_block, glow_base, mixing, squeezed
from caudal.conversion.head import Head, affine
from caudal.conversion.layers import conditioner, coupling, lu_linear, made, spline_head
from caudal.conversion.masked import permuted
from caudal.conversion.plan import Part, part
from caudal.conversion.source import Source, gaussian


def read(flow: Any) -> Source:
    """A normflows.NormalizingFlow, or a MultiscaleFlow."""
    if type(flow).__name__ == "MultiscaleFlow":
        return _multiscale(flow)
    if type(flow).__name__ != "NormalizingFlow":
        raise refuse(flow, "the whole")
    base = flow.q0
    if type(base).__name__ == "DiagGaussian":
        start = gaussian(base.loc.detach()[0], base.log_scale.detach()[0])
    elif type(base).__name__ == "GlowBase" and not base.class_cond:
        start = [glow_base(base)]
    else:
        raise refuse(base, "q0")
    parts = [*start, *_chained(flow.flows, "flows")]

    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        return flow.log_prob(x)

    return Source(parts, tuple(base.shape), None, log_prob)


def _chained(flows: Iterable[Any], where: str) -> list[Part]:
    """Flows listed from the noise to the data, as ours are."""
    return [part for i, flow in enumerate(flows) for part in _parts(flow, f"{where}.{i}")]


def _parts(flow: Any, where: str) -> list[Part]:
    kind = type(flow).__name__
    if kind not in _FLOWS:
        raise refuse(flow, where)
    return _FLOWS[kind](flow, where)


def _reverse(flow: Any, where: str) -> list[Part]:
    inner = _parts(flow.flow, f"{where}.flow")
    return [part("Inverse", bijection=part("Chain", parts=inner))]


def _masked_coupling(flow: Any, where: str) -> list[Part]:
    """Real-NVP's x = z exp(s) + t, s and t by nets of their own, from masked inputs."""
    keep = flow.b[0].cpu() > 0
    if keep.ndim > 1 or bool(keep.all()):
        raise refuse(flow, where, "has a mask that is no vector, or moves nothing")
    nets = [_one(getattr(flow, name), keep, f"{where}.{name}") for name in ("t", "s")]
    net = part("OnePerParameter", nets=nets)
    scaled = part("ScaledShift", scale="exp")
    return [_inverse(part("Coupling", net=net, elementwise=scaled, keep=keep))]


def _one(net: Any, keep: Tensor, where: str) -> Part:
    """A net of one parameter: only what is kept goes in, only what moves comes out."""
    moved = int((~keep).sum())
    if not isinstance(net, nn.Module):  # none was given: the parameter is zero
        return part("Constant", {"values": torch.zeros(1, moved)}, outputs=moved, n_params=1)
    sequence: Any = getattr(net, "net", net)
    layers, activation = stack(sequence, where)
    first = layers[0]
    layers[0] = first._replace(weight=first.weight[:, keep])
    last = layers[-1]
    layers[-1] = last._replace(weight=last.weight[~keep], bias=last.bias[~keep])
    return mlp(layers, activation, Head(part("Shift"), (0,), (1.0,), (0.0,)), moved, 0)


def _masked(flow: Any, where: str) -> list[Part]:
    """Fast from noise to data: the inverse of what we, zuko and nflows call masked."""
    head = affine(part("ScaledShift", scale="sigmoid", floor=1e-3), take=(1, 0))
    net = flow.autoregressive_net
    inner = made(net, head, f"{where}.autoregressive_net", activated=False, context=False)
    return [_inverse(part("Chain", parts=inner))]


def _masked_spline(flow: Any, where: str) -> list[Part]:
    layer, net = flow.mprqat, flow.mprqat.autoregressive_net
    head = spline_head(layer, net, f"{where}.mprqat")
    return made(net, head, f"{where}.mprqat", activated=False, context=False)


def _spline_layer(layer: Any, where: str) -> list[Part]:
    """A layer of splines that stands alone goes from noise to data."""
    return [_inverse(part("Chain", parts=_spline_coupling(layer, where)))]


def _spline_coupling(layer: Any, where: str) -> list[Part]:
    head = spline_head(layer, layer.transform_net, where)
    moved = len(layer.transform_features)
    net, context = conditioner(layer.transform_net, head, moved, f"{where}.transform_net")
    if context:
        raise refuse(layer, where, "takes a context, which normflows gives to no whole flow")
    return coupling(layer, net, head, where)


def _permutation(flow: Any, where: str) -> list[Part]:
    if flow.mode == "shuffle":
        return permuted(flow.perm)
    channels = torch.arange(flow.num_channels)
    half = flow.num_channels // 2
    return permuted(torch.cat([channels[half:], channels[:half]]))


def _lu_permutation(flow: Any, where: str) -> list[Part]:
    return [lu_linear(flow.linear), *permuted(flow.permutation._permutation.argsort())]


def _inverse(inner: Part) -> Part:
    return part("Inverse", bijection=inner)


def _images(flow: Any, where: str) -> list[Part]:
    return block(flow, where)


_FLOWS: dict[str, Callable[[Any, str], list[Part]]] = {
    "Reverse": _reverse,
    "MaskedAffineFlow": _masked_coupling,
    "AffineCouplingBlock": coupling_block,
    "MaskedAffineAutoregressive": _masked,
    "AutoregressiveRationalQuadraticSpline": _masked_spline,
    "CoupledRationalQuadraticSpline": lambda f, w: _spline_coupling(f.prqct, f"{w}.prqct"),
    "PiecewiseRationalQuadraticCoupling": _spline_layer,
    "Permute": _permutation,
    "LULinearPermute": _lu_permutation,
    "InvertibleAffine": lambda flow, where: [mixing(flow, transposed=True)],
    "ActNorm": lambda flow, where: [act_norm(flow)],
    "AffineConstFlow": lambda flow, where: [act_norm(flow)],
    "Invertible1x1Conv": lambda flow, where: [mixing(flow)],
    "GlowBlock": _images,
    "Logit": lambda flow, where: [part("Logit", alpha=float(flow.alpha))],
    "Shift": lambda flow, where: [part("Rescale", factor=1.0, offset=float(flow.shift))],
}


def _multiscale(flow: Any) -> Source:
    """Glow: each level is squeezed, and its second half leaves as noise."""
    classes = 0
    level: Part | None = None
    channels = 0
    for i, (base, flows) in enumerate(zip(flow.q0, flow.flows, strict=True)):
        where = f"flows.{i}"
        if type(base).__name__ != "GlowBase":
            raise refuse(base, f"q0.{i}")
        if type(flows[-1]).__name__ != "Squeeze":
            raise refuse(flows[-1], f"{where}.{len(flows) - 1}", "stands where a Squeeze should")
        if level is not None and flow.merges[i - 1].mode != "channel":
            raise refuse(flow.merges[i - 1], f"merges.{i - 1}")
        classes = base.num_classes or 0
        kept = channels if level is not None else 0
        start = [] if level is None else [part("FactorOut", bijection=level, channels=kept)]
        inner = [*start, glow_base(base, kept), *_chained(flows[:-1], where)]
        channels = (kept + base.shape[0]) // 4
        level = squeezed(inner, channels)
    if level is None:
        raise refuse(flow, "the whole", "has no levels")
    top = tuple(flow.q0[-1].shape)
    shape = (channels, 2 * top[1], 2 * top[2])
    parts = [level] if flow.transform is None else [level, *_parts(flow.transform, "transform")]

    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        return flow.log_prob(x.clone(), context)

    return Source(parts, shape, (classes,) if classes else None, log_prob)
