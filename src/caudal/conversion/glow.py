"""Glow's layers as normflows has them."""

from typing import Any

import torch
from torch import Tensor, nn

from caudal.conversion.dense import Dense, by_parameter, dense, mlp, name_of, refuse, stack
from caudal.conversion.head import Head, affine, shift
from caudal.conversion.masked import permuted
from caudal.conversion.plan import Part, part

_SCALES = {"exp": "exp", "sigmoid": "inverse-sigmoid", "sigmoid_inv": "sigmoid"}
"""Their names for the scale from noise to data, and ours."""
_CORNERS = (0, 3, 1, 2)
"""Where our squeeze has the pixels of a square that theirs lists by rows."""


def block(flow: Any, where: str) -> list[Part]:
    """A step of Glow: coupling, 1x1 convolution, ActNorm."""
    steps = {type(step).__name__: step for step in flow.flows}
    coupling = coupling_block(steps["AffineCouplingBlock"], f"{where}.flows.0")
    if "Invertible1x1Conv" in steps:
        coupling.append(mixing(steps["Invertible1x1Conv"]))
    return [*coupling, act_norm(steps["ActNorm"])]


def coupling_block(flow: Any, where: str) -> list[Part]:
    """A coupling of the two halves of the channels, x = z s + t."""
    split, inner, _ = flow.flows
    if split.mode not in ("channel", "channel_inv"):
        raise refuse(split, where, f"splits by {split.mode!r}")
    if not inner.scale:
        head = shift()
    else:
        head = affine(part("ScaledShift", scale=_SCALES[inner.scale_map]))
    net, moved, kept = _net(inner.param_map, head, f"{where}.param_map")
    keep = torch.arange(kept + moved) < kept
    keep = keep if split.mode == "channel" else keep.flip(0)
    coupling = part("Coupling", net=net, elementwise=head.elementwise, keep=keep)
    return [part("Inverse", bijection=coupling) if inner.scale else coupling]


def _net(net: Any, head: Head, where: str) -> tuple[Part, int, int]:
    """The net, how many channels it moves, and how many it sees."""
    if type(net).__name__ != "ConvNet2d":
        layers, activation = stack(getattr(net, "net", net), where)
        moved = len(layers[-1].bias) // head.n_params
        return mlp(layers, activation, head, moved, 0), moved, layers[0].weight.shape[1]
    convolutions = _convolutions(net, where)
    if [weight.shape[-1] for weight, _ in convolutions] != [3, 1, 3]:
        raise refuse(net, where, "has other convolutions than 3x3, 1x1 and 3x3")
    (first, first_bias), (second, second_bias), (last, last_bias) = convolutions
    moved = len(last_bias) // head.n_params
    last, last_bias = by_parameter(Dense(last, last_bias), head, moved)
    state = {"first.weight": first, "first.bias": first_bias}
    state |= {"second.weight": second, "second.bias": second_bias}
    state |= {"last.weight": last, "last.bias": last_bias}
    state |= {"last.log_gain": torch.zeros_like(last_bias)}
    sizes = {"inputs": first.shape[1], "outputs": moved, "n_params": head.n_params}
    return part("ConvNet", state, maps=len(first), **sizes), moved, first.shape[1]


def _convolutions(net: Any, where: str) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of the convolutions, with what normalises their outputs in them."""
    layers: list[tuple[Tensor, Tensor]] = []
    for i, module in enumerate(net.net):
        if isinstance(module, nn.Conv2d):
            layer = dense(module)
            layers.append((layer.weight, layer.bias))
        elif type(module).__name__ == "ActNorm":
            norm, (weight, bias) = module.actNorm, layers.pop()
            scale = norm.s.detach().exp().flatten()
            shifted = bias * scale + norm.t.detach().flatten()
            layers.append((weight * scale.view(-1, 1, 1, 1), shifted))
        elif name_of(module, f"{where}.net.{i}") != "relu":
            raise refuse(module, f"{where}.net.{i}")
    return layers


def act_norm(flow: Any) -> Part:
    """The map x = z exp(s) + t of each channel, or of each element."""
    s, t = flow.s.detach()[0], flow.t.detach()[0]
    if s[:1].numel() > 1:  # other numbers at each position
        params = torch.stack([-t * (-s).exp(), -s]).unsqueeze(0)
        free = part("ScaledShift", scale="exp")
        return part("Pointwise", {"params": params}, elementwise=free, event_shape=s.shape)
    done = getattr(flow, "data_dep_init_done", torch.tensor(1.0))
    state = {"mean": t, "third_of_log_std": s / 3, "initialized": done > 0}
    return part("ActNorm", state, event_shape=s.shape)


def mixing(flow: Any, transposed: bool = False) -> Part:
    """The map z = W x of the channels, or z = x W."""
    if not flow.use_lu or transposed:
        weight = (flow._assemble_W() if flow.use_lu else flow.W).detach()
        matrix = weight.t().contiguous() if transposed else weight
        return part("Conv1x1", {"matrix": matrix}, channels=len(matrix))
    state = {"permutation": flow.P, "sign": flow.sign_S, "log_scale": flow.log_S.detach()}
    state |= {"lower": flow.L.detach().tril(-1), "upper": flow.U.detach().triu(1)}
    return part("LUConv1x1", state, channels=len(flow.P))


def glow_base(base: Any, kept: int = 0) -> Part:
    """The Gaussian of a level, as a layer on those of its channels that leave."""
    factor = base.logscale_factor
    mean = (base.loc * (base.loc_logs * factor).exp()).detach().flatten()
    log_std = (base.log_scale * (base.log_scale_logs * factor).exp()).detach().flatten()
    channels, values = len(mean), torch.stack([mean, log_std])
    if base.class_cond:
        rows = torch.stack([base.loc_cc.detach().t(), base.log_scale_cc.detach().t()])
        state = {"linear.weight": rows.flatten(0, 1), "linear.bias": values.flatten()}
        sizes = {"outputs": channels, "n_params": 2, "context": base.num_classes}
        net = part("ContextMaps", state, **sizes)
    else:
        rest = len(base.shape) - 1
        values = values.view(2, channels, *[1] * rest)
        net = part("Constant", {"values": values}, outputs=channels, n_params=2, rest=rest)
    keep = torch.arange(kept + channels) < kept
    coupling = part("Coupling", net=net, elementwise=part("ScaledShift"), keep=keep)
    return part("Inverse", bijection=coupling)


def squeezed(inner: list[Part], channels: int) -> Part:
    """Their squeeze around parts: the same pixels as in ours, with channels in another order."""
    order = torch.tensor([4 * c + corner for corner in _CORNERS for c in range(channels)])
    chain = part("Chain", parts=[*inner, *permuted(order)])
    return part("Squeezed", bijection=chain)
