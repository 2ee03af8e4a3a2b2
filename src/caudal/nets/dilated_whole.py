"""Dilated layers over a whole clip: in chunks of time without gradient, by hand with it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from caudal.nets.dilated import Dilated, Products, doubled, gated, gates, products, split
from caudal.nets.frames import Conditions

CHUNK = 1024
"""Rows (positions times batch) of a chunk, about: what stays in a core's cache between layers."""


class Chunks:
    """Layers that take a clip chunk by chunk; each keeps the rows that it will look back at."""

    def __init__(self, layers: Sequence[Dilated]) -> None:
        self.layers = [products(layer) for layer in layers]
        self.queues: list[Tensor | None] = [None] * len(layers)

    def take(self, h: Tensor, conditions: Tensor | None) -> Tensor:
        """What the head takes of the next positions; h (T, B, channels) is overwritten."""
        batch, shape = h.shape[1], h.shape
        h, total = h.flatten(0, 1), None
        each = split(conditions, len(self.layers))
        for i, (layer, condition) in enumerate(zip(self.layers, each, strict=True)):
            layer = _in_rows(layer, batch)
            if condition is not None:
                condition = doubled(condition, -1)
            z = gated(gates(layer, h, condition, self.queues[i]))
            self.queues[i] = _kept(self.queues[i], h, layer.delays[0])
            if layer.residual is not None:
                h.addmm_(z, layer.residual[0]).add_(layer.residual[1])
            if layer.skip is not None:
                total = _added(total, z, *layer.skip)
        return (h if total is None else total).view(shape)


def _in_rows(layer: Products, batch: int) -> Products:
    return layer._replace(delays=[delay * batch for delay in layer.delays])


def _kept(queue: Tensor | None, h: Tensor, rows: int) -> Tensor:
    """The last rows that have been, zeros where there were none."""
    if len(h) >= rows:
        return h[len(h) - rows :].clone()
    if queue is None:
        queue = h.new_zeros(rows, h.shape[1])
    return torch.cat([queue[len(h) :], h])


def _added(total: Tensor | None, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if total is None:
        return torch.addmm(bias, z, weight)
    return total.addmm_(z, weight).add_(bias)


def in_chunks(
    layers: Sequence[Dilated],
    first: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    samples: Tensor,
    conditions: Conditions | None,
) -> Tensor:
    """The parameters (T, B, P) of samples (T, B, 1), without gradient."""
    hold = 1 if conditions is None else conditions.hold
    step = hold * max(1, CHUNK // (hold * samples.shape[1]))
    chunks, found = Chunks(layers), []
    for start in range(0, len(samples), step):
        part = samples[start : start + step]
        given = None
        if conditions is not None:
            given = project(conditions.between(start, start + len(part)).rows)
        found.append(head(chunks.take(first(part), given)))
    return torch.cat(found)


class Whole(torch.autograd.Function):
    """The layers over a whole clip, with their gradient: half the memory and time of autograd's.

    Takes h (T, B, channels), the conditions or None, the layers and all of their parameters.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, conditions: Tensor | None, layers: list[Dilated], *weights: Tensor
    ) -> Tensor:
        batch, shape, total = h.shape[1], h.shape, None
        h = h.flatten(0, 1)
        saved = []
        each = split(conditions, len(layers))
        for layer, condition in zip(layers, each, strict=True):
            product = _in_rows(products(layer), batch)
            if condition is not None:
                condition = doubled(condition, -1)
            gate = gates(product, h, condition, None)
            saved += [h, gate]
            z = gated(gate)
            if product.residual is not None:
                h = torch.addmm(h, z, product.residual[0]).add_(product.residual[1])
            if product.skip is not None:
                total = _added(total, z, *product.skip)
        ctx.save_for_backward(*weights, *saved)
        ctx.layers, ctx.batch = layers, batch
        ctx.stretches = 0 if conditions is None else len(conditions)
        return (h if total is None else total).view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, shape = ctx.layers, grad.shape
        grad = grad.flatten(0, 1)
        saved = ctx.saved_tensors[4 * len(layers) :]
        skips = layers[-1].skip
        into = torch.zeros_like(grad) if skips else grad.clone()
        skip = grad if skips else None
        weights: list[Tensor] = []
        stretches: list[Tensor] = []
        for i in reversed(range(len(layers))):
            product = _in_rows(products(layers[i]), ctx.batch)
            h, gate = saved[2 * i : 2 * i + 2]
            *own, through = _layer_backward(product, h, gate, into, skip)
            weights = own + weights
            if ctx.stretches:
                parts = through.view(ctx.stretches, -1, *shape[1:2], through.shape[1]).sum(1)
                stretches.insert(0, parts)
        conditions = torch.cat(stretches, -1) if stretches else None
        return into.view(shape), conditions, None, *weights


def _layer_backward(
    layer: Products, h: Tensor, gate: Tensor, into: Tensor, skip: Tensor | None
) -> tuple[Tensor, ...]:
    """Gradients of a layer's parameters and of what enters its gates.

    `into` is that of its residual output, and becomes that of its input.
    """
    tanh, sigmoid = gate.chunk(2, 1)
    half = tanh - 0.5
    z = half * sigmoid
    outs, biases, back = [], [], None
    for gradient, product in ((into, layer.residual), (skip, layer.skip)):
        if product is not None and gradient is not None:
            outs.append(2 * (gradient.t() @ z))
            biases.append(gradient.sum(0))
            share = product[0].t()
            back = gradient @ share if back is None else back.addmm_(gradient, share)
    assert back is not None
    through = torch.cat([back * sigmoid, half.mul_(back)], 1)
    through = torch.ops.aten.sigmoid_backward(through, gate)
    taps = []
    for delay, tap in zip(layer.delays, layer.taps, strict=True):
        rows = max(len(h) - delay, 0)
        late, early = through[len(h) - rows :], h[:rows]
        taps.append(late.t() @ early)
        into[:rows].addmm_(late, tap.t())
    weight = doubled(torch.cat(taps, 1), 0)
    through = doubled(through, 1)
    return weight, through.sum(0), torch.cat(outs), torch.cat(biases), through
