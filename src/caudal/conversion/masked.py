"""Masked nets of other libraries as our MADE, whose units are sorted by what they see."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from caudal.conversion.dense import Dense
from caudal.conversion.head import Head
from caudal.conversion.plan import Part, part
from caudal.errors import InputError


def autoregressive(
    layers: Sequence[Dense],
    head: Head,
    where: str,
    *,
    activation: str,
    context: int = 0,
    residual: bool = False,
    dropout: float = 0.0,
    steering: Sequence[Dense] = (),
) -> list[Part]:
    """A masked layer and the permutations around it, from the noise to the data.

    Elements are put in the order in which the masks let them see each other. Units are sorted by
    the last element they see, their degree, so that our masks let through what those of the peer
    do. The first layer has the context, if any, in its last columns; or `steering` has the layers
    of the context, one for the first hidden layer and one for each residual block.
    """
    *hidden, last = layers
    width = layers[0].weight.shape[1] - (0 if steering else context)
    order = _order([_mask(layer) for layer in layers], width, head.n_params, where)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(1, width + 1)
    degrees = _degrees(hidden, rank)
    sorts = [degree.argsort(stable=True) for degree in degrees]
    _check_residual(degrees if residual else [], where)
    if residual:
        sorts = [sorts[0]] * len(sorts)
    state: dict[str, Tensor] = {}
    columns = order
    for i, (layer, rows) in enumerate(zip(hidden, sorts, strict=True)):
        weight = layer.weight[:, :width] if i == 0 else layer.weight
        state[f"layers.{i}.weight"] = weight[rows][:, columns]
        state[f"layers.{i}.bias"] = layer.bias[rows]
        columns = rows
    rows = head.rows(width).t()[order].flatten()
    params = torch.arange(head.n_params).repeat(width)
    weight, bias = head.last(last.weight, last.bias, rows, params)
    state |= {"last.weight": weight[:, columns], "last.bias": bias}
    state |= _context(layers[0], width, context, steering, sorts)
    counts = tuple(tuple(torch.bincount(d, minlength=width).tolist()) for d in degrees)
    arguments: dict[str, Any] = {"features": width, "n_params": head.n_params, "hidden": counts}
    arguments |= {"context": context, "activation_name": activation}
    arguments |= {"residual": residual, "dropout": dropout}
    net = part("SteeredMADE" if steering else "MADE", state, **arguments)
    masked = part("Autoregressive", net=net, elementwise=head.elementwise)
    # x[order] goes in, z[order] comes out.
    return [*permuted(order), masked, *permuted(order.argsort())]


def permuted(order: Tensor) -> list[Part]:
    """A permutation x = z[order] of the channels; nothing if it leaves them as they are."""
    order = order.cpu()
    if torch.equal(order, torch.arange(len(order))):
        return []
    return [part("Permutation", {"order": order, "back": order.argsort()}, order=order)]


def _mask(layer: Dense) -> Tensor:
    return torch.ones_like(layer.weight) if layer.mask is None else layer.mask


def _order(masks: Sequence[Tensor], width: int, n_params: int, where: str) -> Tensor:
    """The elements in an order in which each sees earlier ones alone."""
    sees = torch.eye(masks[0].shape[1], dtype=torch.float64)[:, :width]
    for mask in masks:
        sees = (mask.double().cpu() @ sees > 0).double()
    sees = sees.view(width, n_params, width).amax(1) > 0  # element d sees element e
    order: list[int] = []
    while len(order) < width:
        ready = ~sees[:, [e for e in range(width) if e not in order]].any(1)
        following = [d for d in range(width) if ready[d] and d not in order]
        if not following:
            raise InputError(
                f"{where} of the `flow` is not autoregressive: its masks have a cycle"
            )
        order.append(following[0])
    return torch.tensor(order)


def _degrees(hidden: Sequence[Dense], rank: Tensor) -> list[Tensor]:
    """The place in the order of the last element that each unit sees, 0 if it sees none."""
    degrees, before = [], rank
    for layer in hidden:
        mask = _mask(layer)[:, : len(before)].cpu() > 0
        before = (mask * before).amax(1) if mask.shape[1] else rank.new_zeros(len(mask))
        degrees.append(before)
    return degrees


def _check_residual(degrees: Sequence[Tensor], where: str) -> None:
    if any(not torch.equal(a, b) for a, b in pairwise(degrees)):
        raise InputError(f"{where} of the `flow` has residual blocks whose units differ in degree")


def _context(
    first: Dense, width: int, context: int, steering: Sequence[Dense], sorts: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The weights through which the context enters."""
    if steering:
        state = {"context.weight": steering[0].weight[sorts[0]]}
        state["context.bias"] = steering[0].bias[sorts[0]]
        for i, layer in enumerate(steering[1:]):
            rows = sorts[2 * i + 1]
            state |= {f"in_blocks.{i}.weight": layer.weight[rows]}
            state |= {f"in_blocks.{i}.bias": layer.bias[rows]}
        return state
    return {"context.weight": first.weight[:, width:][sorts[0]]} if context else {}
