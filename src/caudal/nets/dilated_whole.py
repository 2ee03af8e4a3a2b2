"""Dilated layers over a whole clip, in chunks of time, and their gradient, in chunks as well.

What passes between layers then stays in a core's cache. A chunk hands on the last inputs of each
layer, a queue as in generation; its gradient hands on what later chunks say of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from caudal.nets.dilated import Dilated, doubled, gates, products, split
from caudal.nets.dilated_backward import Backward
from caudal.nets.frames import Conditions

CHUNK = 1024
"""Rows of a chunk, positions times batch, about: measured on one CPU core."""


class Chunks:
    """The layers of a net, which take a clip chunk by chunk, each with its queue.

    With `keep`, what a gradient needs: of each chunk and layer, inputs and gates.
    """

    def __init__(self, layers: Sequence[Dilated], batch: int, *, keep: bool = False) -> None:
        self.layers = [products(layer, batch) for layer in layers]
        self.queues: list[Tensor] = []
        self.kept: list[Tensor] | None = [] if keep else None

    def take(self, h: Tensor, conditions: Tensor | None) -> Tensor:
        """What the head takes of the next positions, (n, B, channels), of h, of the same shape."""
        shape, total = h.shape, None
        h = h.flatten(0, 1)
        if not self.queues:
            self.queues = [h.new_zeros(layer.delays[0], h.shape[1]) for layer in self.layers]
        each = split(conditions, len(self.layers))
        for i, (layer, condition) in enumerate(zip(self.layers, each, strict=True)):
            past = torch.cat([self.queues[i], h])
            self.queues[i] = past[len(h) :].clone()
            gate = gates(layer, past, None if condition is None else doubled(condition, -1))
            tanh, sigmoid = gate.chunk(2, 1)
            z = (tanh - 0.5).mul_(sigmoid)
            if layer.residual is not None:
                h = torch.addmm(h, z, layer.residual[0]).add_(layer.residual[1])
            if layer.skip is not None:
                weight, bias = layer.skip
                if total is None:
                    total = torch.addmm(bias, z, weight)
                else:
                    total.addmm_(z, weight).add_(bias)
            if self.kept is not None:
                self.kept += [past, gate]
        return (h if total is None else total).view(shape)


def stretches(samples: Tensor, conditions: int, hold: int) -> list[tuple[slice, slice]]:
    """The positions of each chunk, and which conditions are theirs."""
    length, batch = samples.shape[:2]
    step = length
    if samples.device.type == "cpu":  # elsewhere large products are the better ones
        step = min(length, hold * max(1, CHUNK // (hold * batch)))
    found = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        rows = slice(0, 1) if conditions == 1 else slice(start // hold, stop // hold)
        found.append((slice(start, stop), rows))
    return found


def in_chunks(
    layers: Sequence[Dilated],
    first: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    samples: Tensor,
    conditions: Conditions | None,
) -> Tensor:
    """The parameters (T, B, P) of samples (T, B, 1), without gradient."""
    rows, hold = (None, 1) if conditions is None else conditions
    chunks, found = Chunks(layers, samples.shape[1]), []
    for part, among in stretches(samples, 1 if rows is None else len(rows), hold):
        given = None if rows is None else project(rows[among])
        found.append(head(chunks.take(first(samples[part]), given)))
    return torch.cat(found)


class Whole(torch.autograd.Function):
    """The layers over a whole clip, with their gradient, in half the memory of autograd's own.

    Takes h (T, B, channels), the conditions (n, B, layers * 2 channels) or None, how many
    positions each of them is for, the layers, and all of their parameters.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        conditions: Tensor | None,
        hold: int,
        layers: list[Dilated],
        *weights: Tensor,
    ) -> Tensor:
        chunks = Chunks(layers, h.shape[1], keep=True)
        parts = stretches(h, 1 if conditions is None else len(conditions), hold)
        found = [
            chunks.take(h[part], None if conditions is None else conditions[among])
            for part, among in parts
        ]
        ctx.save_for_backward(*weights, *(chunks.kept or []))
        ctx.layers, ctx.parts = layers, parts
        ctx.conditions = None if conditions is None else conditions.shape
        return torch.cat(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, weights = ctx.layers, ctx.saved_tensors[: 4 * len(ctx.layers)]
        kept = ctx.saved_tensors[len(weights) :]
        conditions = None if ctx.conditions is None else grad.new_zeros(ctx.conditions)
        learns = any(ctx.needs_input_grad[4:])
        back = Backward(layers, grad.shape[1], weights, learns)
        found = []
        for i, (part, among) in reversed(list(enumerate(ctx.parts))):
            own = kept[2 * len(layers) * i : 2 * len(layers) * (i + 1)]
            to = None if conditions is None else conditions[among]
            found.append(back.take(grad[part], own, to))
        sums = back.weights if learns else [None] * len(weights)
        return torch.cat(found[::-1]), conditions, None, None, *sums
