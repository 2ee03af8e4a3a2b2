"""Layers that nflows and normflows share: splines, residual MADE, LU maps."""

from typing import Any

import torch

from caudal.conversion.dense import Dense, after, dense, mlp, name_of, refuse, residual, stack
from caudal.conversion.head import Head, spline
from caudal.conversion.masked import autoregressive
from caudal.conversion.plan import Part, part


def spline_head(layer: Any, net: Any, where: str) -> Head:
    """The head of a layer of rational-quadratic splines with linear tails."""
    if layer.tails != "linear" or isinstance(layer.tail_bound, torch.Tensor):
        raise refuse(layer, where, 'has splines whose `tails` are not "linear" with one bound')
    if layer.min_bin_width != layer.min_bin_height:
        raise refuse(layer, where, "has bins of different least widths and heights")
    units = getattr(net, "hidden_features", None)
    sizes = layer.min_bin_width, layer.min_derivative
    return spline(_bins(layer), layer.tail_bound, *sizes, units)


def _bins(layer: Any) -> int:
    known = getattr(layer, "num_bins", None)
    return int(layer.unnormalized_widths.shape[-1] if known is None else known)


def made(net: Any, head: Head, where: str, *, activated: bool, context: bool = True) -> list[Part]:
    """A MADE of nflows' form. `activated` says whether the first layer has an activation.

    It differs between the two libraries where blocks are plain.
    """
    first, last = dense(net.initial_layer), dense(net.final_layer)
    blocks = list(net.blocks)
    steering = _steering(net, where) if context else []
    if not context and hasattr(net, "context_layer"):
        raise refuse(net, where, "takes a context, which enters in another way than ours")
    if type(getattr(net, "preprocessing", None)).__name__ not in ("NoneType", "Identity"):
        raise refuse(net, where, "has features of its own in front")
    options: dict[str, Any] = {"context": steering[0].weight.shape[1] if steering else 0}
    if not blocks:
        if not activated:
            raise refuse(net, where, "has no blocks")
        name = name_of(net.activation, where)
        return autoregressive([first, last], head, where, activation=name, **options)
    options["activation"] = name_of(blocks[0].activation, where)
    options["steering"] = steering
    if hasattr(blocks[0], "linear_layers"):
        _refuse_norms([block.use_batch_norm for block in blocks], net, where)
        inner = [dense(layer) for block in blocks for layer in block.linear_layers]
        options |= {"residual": True, "dropout": float(blocks[0].dropout.p)}
        return autoregressive([first, *inner, last], head, where, **options)
    _refuse_norms([block.batch_norm is not None for block in blocks], net, where)
    plain = [dense(block.linear) for block in blocks]
    if not activated:
        first = after(first, plain.pop(0))
    return autoregressive([first, *plain, last], head, where, **options)


def _steering(net: Any, where: str) -> list[Dense]:
    """The layers of the context: one for the first hidden layer, one for each residual block."""
    if not hasattr(net, "context_layer"):
        return []
    inside = [block.context_layer for block in net.blocks if hasattr(block, "context_layer")]
    return [dense(layer) for layer in (net.context_layer, *inside)]


def _refuse_norms(norms: list[bool], net: Any, where: str) -> None:
    if any(norms):
        raise refuse(net, where, "has batch normalisation within the net")


def conditioner(net: Any, head: Head, moved: int, where: str) -> tuple[Part, int]:
    """The net of a coupling, and the width of its context."""
    if type(net).__name__ == "ResidualNet":
        if getattr(net, "preprocessing", None) is not None:
            raise refuse(net, where, "has features of its own in front")
        return residual(net, head, moved, where), net.context_features or 0
    if hasattr(net, "_input_layer"):  # nflows' MLP
        layers = [dense(x) for x in (net._input_layer, *net._hidden_layers, net._output_layer)]
        return mlp(layers, name_of(net._activation, where), head, moved, 0), 0
    inner = getattr(net, "net", net)
    if not isinstance(inner, torch.nn.Sequential):
        raise refuse(net, where)
    layers, activation = stack(inner, where)
    return mlp(layers, activation, head, moved, 0), 0


def coupling(layer: Any, net: Part, head: Head, where: str) -> list[Part]:
    """A coupling of nflows' form, perhaps with splines for the elements that steer it."""
    moves = torch.zeros(layer.features, dtype=torch.bool)
    moves[layer.transform_features.cpu()] = True
    parts = [part("Coupling", net=net, elementwise=head.elementwise, keep=~moves)]
    free = layer.unconditional_transform
    if free is None:
        return parts
    own = spline_head(free, None, f"{where}.unconditional_transform")
    raw = (free.unnormalized_widths, free.unnormalized_heights, free.unnormalized_derivatives)
    values = torch.cat([values.detach() for values in raw], -1).t()
    values = values + torch.tensor(own.plus, dtype=values.dtype).unsqueeze(1).to(values.device)
    constant = part("Constant", {"values": values}, outputs=values.shape[1], n_params=len(values))
    # The others pass first: they steer by their values in the data.
    return [part("Coupling", net=constant, elementwise=own.elementwise, keep=moves), *parts]


def lu_linear(layer: Any) -> Part:
    """The map z = L U x + b."""
    lower, upper = (factor.detach() for factor in layer._create_lower_upper())
    state = {"lower": lower.tril(-1), "upper": upper.triu(1)}
    state |= {"log_diagonal": upper.diagonal().log(), "bias": layer.bias.detach()}
    return part("LULinear", state, features=len(lower))
