"""Dilated causal layers over a whole clip, in chunks of time, with a gradient written by hand.

Time comes first, (T, B, channels), so that a shift in time is a slice. A layer is a product of
(T B, channels) with a small matrix. In chunks of time, what passes between layers stays in the
cache. A chunk hands on the last inputs of each layer, a queue as in generation; in the gradient
it hands back what later chunks contribute to them.
tanh(a) is 2 sigmoid(2 a) - 1, which is several times as fast on a CPU, and as exact where it is
used: its factors two are part of the weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from caudal.nets.context import Conditions, per_layer

if TYPE_CHECKING:
    from caudal.nets.wavenet import Dilated, WaveNet

CHUNK, NARROW = 1024, 32
"""Rows of a chunk, positions times batch, roughly, and the channels up to which there are twice as
many: measured on one CPU core."""


def whole_clip(
    net: "WaveNet", samples: Tensor, conditions: Conditions | None, length: int
) -> Tensor | None:
    """Parameters (length, B, P) from the samples before each position (T, B, 1), T >= length.

    None under autocast or a compiler, which need plain operations, and for an empty batch, whose
    chunks have no size.
    """
    mixed = torch.is_autocast_enabled(samples.device.type)
    if torch.compiler.is_compiling() or mixed or samples.numel() == 0:
        return None
    if not torch.is_grad_enabled():
        return _in_chunks(net, samples, conditions)[:length]
    layers = cast("list[Dilated]", list(net.layers))
    projected = net.projected(conditions)
    hold = 1 if conditions is None else conditions.hold
    weights = [weight for layer in layers for weight in layer.parameters()]
    h = _Whole.apply(net.first(samples), projected, hold, layers, *weights)
    return net.head(h[:length])


def _in_chunks(net: "WaveNet", samples: Tensor, conditions: Conditions | None) -> Tensor:
    """The parameters (T, B, P) of samples (T, B, 1), without gradient."""
    rows, hold = (None, 1) if conditions is None else conditions
    chunks, params = Chunks(cast("list[Dilated]", list(net.layers)), samples.shape[1]), []
    count = 1 if rows is None else len(rows)
    for part, among in stretches(samples, net.channels, count, hold):
        some = None if rows is None else Conditions(rows[among], hold)
        projected = net.projected(some)
        params.append(net.head(chunks.take(net.first(samples[part]), projected)))
    return torch.cat(params)


def clip_in_pieces(
    net: "WaveNet", pieces: Iterable[Tensor], conditions: Conditions | None, length: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """A clip (B, 1, T) that comes in pieces, cut anew, and the parameters (B, P, 1, n) of each.

    The chunks are those of `whole_clip` without gradient, so that so are the parameters.
    """
    pieces = iter(pieces)
    first = next(pieces)
    rows, hold = (None, 1) if conditions is None else conditions
    count = 1 if rows is None else len(rows)
    samples = first.new_zeros(1).expand(count * hold if count > 1 else length, len(first), 1)
    parts = stretches(samples, net.channels, count, hold)
    chunks, before = Chunks(cast("list[Dilated]", list(net.layers)), len(first)), samples[:1]
    held = first
    for part, among in parts:
        n = min(part.stop, length) - part.start
        while held.shape[-1] < n:
            held = torch.cat([held, next(pieces)], -1)
        x, held = held[..., :n], held[..., n:]
        shifted = torch.cat([before, x.permute(2, 0, 1)])  # (n + 1, B, 1)
        before = shifted[-1:]
        missing = part.stop - part.start - n
        here = torch.cat([shifted[:-1], x.new_zeros(missing, len(x), 1)])
        some = None if rows is None else Conditions(rows[among], hold)
        params = net.head(chunks.take(net.first(here), net.projected(some)))
        yield x, params[:n].permute(1, 2, 0).unsqueeze(2)


class Chunks:
    """The layers of a net, which process a clip chunk by chunk, each with its queue.

    With `keep`, the inputs and gates of each chunk and layer are kept for the gradient.
    """

    def __init__(self, layers: Sequence["Dilated"], batch: int, *, keep: bool = False) -> None:
        self.layers = [products(layer, batch) for layer in layers]
        self.queues: list[Tensor] = []
        self.kept: list[Tensor] | None = [] if keep else None

    def take(self, h: Tensor, conditions: Tensor | None) -> Tensor:
        """The input of the head for the next positions, (n, B, channels), from h of that shape."""
        shape, total = h.shape, None
        h = h.flatten(0, 1)
        if not self.queues:
            self.queues = [h.new_zeros(layer.delays[0], h.shape[1]) for layer in self.layers]
        each = per_layer(conditions, len(self.layers))
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


def stretches(
    samples: Tensor, channels: int, conditions: int, hold: int
) -> list[tuple[slice, slice]]:
    """The positions of each chunk, and the slice of conditions for them."""
    length, batch = samples.shape[:2]
    step = length
    if samples.device.type == "cpu":  # accelerators prefer large products
        rows = CHUNK if channels > NARROW else 2 * CHUNK
        step = min(length, hold * max(1, rows // (hold * batch)))
    chunks = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        among = slice(0, 1) if conditions == 1 else slice(start // hold, stop // hold)
        chunks.append((slice(start, stop), among))
    return chunks


class _Whole(torch.autograd.Function):
    """The layers over a whole clip, with their gradient, in half the memory of autograd's own.

    Takes h (T, B, channels), the conditions (n, B, layers * 2 channels) or None, the number of
    positions that each of them is for, the layers, and all of their parameters.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        conditions: Tensor | None,
        hold: int,
        layers: list["Dilated"],
        *weights: Tensor,
    ) -> Tensor:
        chunks = Chunks(layers, h.shape[1], keep=True)
        parts = stretches(h, h.shape[2], 1 if conditions is None else len(conditions), hold)
        outputs = [
            chunks.take(h[part], None if conditions is None else conditions[among])
            for part, among in parts
        ]
        ctx.save_for_backward(*weights, *(chunks.kept or []))
        ctx.layers, ctx.parts = layers, parts
        ctx.conditions = None if conditions is None else conditions.shape
        return torch.cat(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, weights = ctx.layers, ctx.saved_tensors[: 4 * len(ctx.layers)]
        kept = ctx.saved_tensors[len(weights) :]
        conditions = None if ctx.conditions is None else grad.new_zeros(ctx.conditions)
        learns = any(ctx.needs_input_grad[4:])
        back = Backward(layers, grad.shape[1], weights, learns)
        grads = []
        for i, (part, among) in reversed(list(enumerate(ctx.parts))):
            own = kept[2 * len(layers) * i : 2 * len(layers) * (i + 1)]
            to = None if conditions is None else conditions[among]
            grads.append(back.take(grad[part], own, to))
        sums = back.weights if learns else [None] * len(weights)
        return torch.cat(grads[::-1]), conditions, None, None, *sums


class Backward:
    """Gradients of layers, computed chunk by chunk from the end of a clip.

    `weights` are the gradients of the parameters so far. If no parameter learns they are not
    computed, which saves a third of the work for a frozen teacher.
    """

    def __init__(
        self, layers: Sequence["Dilated"], batch: int, weights: Sequence[Tensor], learns: bool
    ) -> None:
        self.learns = learns
        self.skip = layers[0].skip
        self.layers = [products(layer, batch) for layer in layers]
        self.weights = [torch.zeros_like(weight) for weight in weights]
        self.pending: list[Tensor] = []  # gradients of each layer's inputs from later chunks

    def take(self, grad: Tensor, kept: Sequence[Tensor], conditions: Tensor | None) -> Tensor:
        """Returns the gradient of a chunk's input, and adds to that of its `conditions`."""
        shape = grad.shape
        grad = grad.flatten(0, 1)
        if not self.pending:
            self.pending = [grad.new_zeros(a.delays[0], grad.shape[1]) for a in self.layers]
        into = torch.zeros_like(grad) if self.skip else grad
        each = per_layer(conditions, len(self.layers))
        for i in reversed(range(len(self.layers))):
            past, gate = kept[2 * i : 2 * i + 2]
            through = self._to_gates(i, gate, into, grad if self.skip else None)
            condition = each[i]
            if condition is not None:
                parts = through.view(len(condition), -1, *condition.shape[2:])
                condition.add_(doubled(parts.sum(1, keepdim=True), -1))
            into = self._to_inputs(i, past, through, into)
        return into.view(shape)

    def _to_gates(self, i: int, gate: Tensor, into: Tensor, skip: Tensor | None) -> Tensor:
        """The gradient at the sigmoids of a layer, from those at its outputs."""
        layer, (weight, bias) = self.layers[i], self.weights[4 * i + 2 : 4 * i + 4]
        tanh, sigmoid = gate.chunk(2, 1)
        half = tanh - 0.5
        z, back, row = half * sigmoid, None, 0
        for grad, product in ((into, layer.residual), (skip, layer.skip)):
            if product is None or grad is None:
                continue
            rows = slice(row, row + grad.shape[1])
            if self.learns:
                weight[rows].addmm_(grad.t(), z, alpha=2)
                bias[rows].add_(grad.sum(0))
            share = product[0].t()
            back = grad @ share if back is None else back.addmm_(grad, share)
            row = rows.stop
        assert back is not None
        through = torch.empty_like(gate)
        tanh, other = through.chunk(2, 1)
        torch.mul(back, sigmoid, out=tanh)
        torch.mul(back, half, out=other)
        sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
        sigmoids: Tensor = sigmoid_backward(through, gate, grad_input=through)
        return sigmoids

    def _to_inputs(self, i: int, past: Tensor, through: Tensor, into: Tensor) -> Tensor:
        """The gradient of a layer's input, including that of the residual stream."""
        layer, (weight, bias) = self.layers[i], self.weights[4 * i : 4 * i + 2]
        channels = into.shape[1]
        wide = torch.cat([into.new_zeros(into.shape), self.pending[i]])
        wide[layer.delays[0] :] += into
        sums = taps_of(layer, wide)
        for k, (seen, to) in enumerate(zip(taps_of(layer, past), sums, strict=True)):
            to.addmm_(through, layer.taps[k].t())
            if not self.learns:
                continue
            columns = weight[:, k * channels : (k + 1) * channels]
            columns[:channels].addmm_(through[:, :channels].t(), seen, alpha=2)
            columns[channels:].addmm_(through[:, channels:].t(), seen)
        if self.learns:
            bias.add_(doubled(through.sum(0), 0))
        self.pending[i] = wide[: layer.delays[0]].clone()
        return wide[layer.delays[0] :]


class Products(NamedTuple):
    """The matrices (inputs, outputs) and biases of a layer, with the factors two of tanh."""

    delays: list[int]
    taps: list[Tensor]
    bias: Tensor
    residual: tuple[Tensor, Tensor] | None
    skip: tuple[Tensor, Tensor] | None


def products(layer: "Dilated", batch: int) -> Products:
    """The present weights of a layer; delays are in rows, of which each time has `batch`."""
    taps = doubled(layer.taps.weight.detach(), 0).t()
    out, bias = 2 * layer.out.weight.detach().t(), layer.out.bias.detach()
    return Products(
        [delay * batch for delay in layer.delays],
        list(taps.split(layer.channels)),
        doubled(layer.taps.bias.detach(), 0),
        *(
            None if part is None or shift is None else (part, shift)
            for part, shift in zip(layer.parts(out), layer.parts(bias), strict=True)
        ),
    )


def doubled(gates: Tensor, dim: int) -> Tensor:
    """Doubles the first half along `dim`, which holds the filters."""
    filters, rest = gates.chunk(2, dim)
    return torch.cat([2 * filters, rest], dim)


def gates(layer: Products, past: Tensor, condition: Tensor | None) -> Tensor:
    """sigmoid(2 filter), sigmoid(gate): (n B, 2 channels).

    past: (delay + n B, channels), preceded by as many rows as the farthest tap looks back.
    condition: (m, 1, B, 2 channels), its filters doubled.
    """
    first, *others = taps_of(layer, past)
    gate = torch.addmm(layer.bias, first, layer.taps[0])
    if condition is not None:
        gate.view(len(condition), -1, *condition.shape[2:]).add_(condition)
    for rows, tap in zip(others, layer.taps[1:], strict=True):
        gate.addmm_(rows, tap)
    return gate.sigmoid_()


def taps_of(layer: Products, past: Tensor) -> list[Tensor]:
    """The rows that each tap sees: those `delay` rows before the last n."""
    far, rows = layer.delays[0], len(past) - layer.delays[0]
    return [past[far - delay : far - delay + rows] for delay in layer.delays]
