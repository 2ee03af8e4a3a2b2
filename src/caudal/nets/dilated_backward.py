"""The gradient of dilated layers over a clip, written by hand, chunk by chunk from its end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caudal.nets.dilated import Dilated, doubled, products, split, taps_of


class Backward:
    """Gradients of layers, which take those of what the head took chunk by chunk, from the end.

    `weights` are the gradients of the parameters so far; of frozen ones, which do not learn, they
    are left out: that is a third of the work of a teacher.
    """

    def __init__(
        self, layers: Sequence[Dilated], batch: int, weights: Sequence[Tensor], learns: bool
    ) -> None:
        self.learns = learns
        self.skip = layers[0].skip
        self.layers = [products(layer, batch) for layer in layers]
        self.weights = [torch.zeros_like(weight) for weight in weights]
        self.pending: list[Tensor] = []  # what later chunks say of the inputs of each layer

    def take(self, grad: Tensor, kept: Sequence[Tensor], conditions: Tensor | None) -> Tensor:
        """The gradient of a chunk's input; that of its conditions is added to `conditions`."""
        shape = grad.shape
        grad = grad.flatten(0, 1)
        if not self.pending:
            self.pending = [grad.new_zeros(a.delays[0], grad.shape[1]) for a in self.layers]
        into = torch.zeros_like(grad) if self.skip else grad
        each = split(conditions, len(self.layers))
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
        """The gradient of what enters the sigmoids of a layer, of those of what leaves it."""
        layer, (weight, bias) = self.layers[i], self.weights[4 * i + 2 : 4 * i + 4]
        tanh, sigmoid = gate.chunk(2, 1)
        half = tanh - 0.5
        z, back, row = half * sigmoid, None, 0
        for given, product in ((into, layer.residual), (skip, layer.skip)):
            if product is None or given is None:
                continue
            rows = slice(row, row + given.shape[1])
            if self.learns:
                weight[rows].addmm_(given.t(), z, alpha=2)
                bias[rows].add_(given.sum(0))
            share = product[0].t()
            back = given @ share if back is None else back.addmm_(given, share)
            row = rows.stop
        assert back is not None
        through = torch.empty_like(gate)
        tanh, other = through.chunk(2, 1)
        torch.mul(back, sigmoid, out=tanh)
        torch.mul(back, half, out=other)
        sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
        found: Tensor = sigmoid_backward(through, gate, grad_input=through)
        return found

    def _to_inputs(self, i: int, past: Tensor, through: Tensor, into: Tensor) -> Tensor:
        """The gradient of a layer's input, with that of the residual stream."""
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
