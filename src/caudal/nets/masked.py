"""MADE: a masked net that sees, for each element of a vector, only the elements before it."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from caudal.nets.activation import activation, overwriting
from caudal.nets.causal import CausalNet
from caudal.nets.fast import Unrolled, cuts_of, staircase_product, unroll_masked
from caudal.numerics import dropout


class MaskedLinear(nn.Module):
    """y = (W * mask) x + b with mask[i, j] = (j < reach[i]), reach non-decreasing.

    The batch is the last dimension: x (inputs, B) to y (outputs, B). The entries of W outside the
    mask have no influence and get no gradient. The mask is a staircase, of which `fast` makes use.
    """

    mask: Tensor

    def __init__(self, inputs: int, reach: Sequence[int]) -> None:
        super().__init__()
        if list(reach) != sorted(reach):
            raise ValueError("`reach` must be non-decreasing: sort the units by degree")
        self.weight = nn.Parameter(torch.empty(len(reach), inputs))
        self.bias = nn.Parameter(torch.empty(len(reach)))
        mask = torch.arange(inputs) < torch.tensor(reach).unsqueeze(1)
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        self.cuts = cuts_of(reach)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Draws weights and biases of variance 1 / n, n the number of a unit's unmasked inputs.

        That is three times nn.Linear's variance: with a zero last layer, narrower features cost up
        to 0.2 nats on tables of few columns after few steps (benchmarks/results/quality.md).
        """
        bound = (self.mask.sum(1, keepdim=True).clamp(min=1) / 3).rsqrt()
        self.weight.uniform_(-1, 1).mul_(bound)
        self.bias.uniform_(-1, 1).mul_(bound.squeeze(1))

    def forward(self, x: Tensor) -> Tensor:
        y = staircase_product(self, x)
        if y is None:
            y = torch.addmm(self.bias.unsqueeze(1), self.weight * self.mask, x)
        return y

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"inputs={inputs}, outputs={outputs}"


class MADE(CausalNet):
    """Masked autoencoder: (B, D) and context (B, C) to (B, P, D), element d from elements < d.

    Units have degrees: input d has degree d (1..D), a hidden unit of degree k sees the inputs of
    degree <= k, output d sees the hidden units of degree < d. Hidden degrees are spread evenly
    and *sorted*, so that each mask is a staircase, and the units known after t inputs are the
    first ones of every layer. The order is that of the columns; a Permutation before it changes
    that. In place of the width of a hidden layer there may be its number of units of each degree
    from 0 on. With `residual`, pairs of hidden layers of equal width are blocks
    h + W2 act(W1 act(h)), which drop a share `dropout` of their units in training. `direct`
    connects inputs to outputs.
    The context enters the first hidden layer without a mask; some units then have degree 0 and see
    it alone. The last layer starts at zero.
    Reference: Germain, Gregor, Murray, Larochelle (2015), arXiv:1502.03509.
    """

    def __init__(
        self,
        features: int,
        n_params: int,
        hidden: Sequence[int | Sequence[int]],
        context: int = 0,
        activation_name: str = "relu",
        residual: bool = False,
        direct: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [units if isinstance(units, int) else sum(units) for units in hidden]
        if not widths or min(widths) < 1:
            raise ValueError(f"`hidden` must have at least one layer of one unit, got {hidden}")
        if residual and (len(hidden) % 2 == 0 or len(set(widths)) > 1):
            raise ValueError(f"`residual` needs an odd number of equal `hidden`, got {hidden}")
        inputs = list(range(1, features + 1))
        outputs = [d for d in inputs for _ in range(n_params)]
        degrees = [inputs, *(_hidden_degrees(units, features, context > 0) for units in hidden)]
        self.layers = nn.ModuleList(
            MaskedLinear(len(a), [bisect_right(a, degree) for degree in b])
            for a, b in pairwise(degrees)
        )
        # due[l][t]: the number of units of hidden layer l with a degree below t, known at step t.
        self.due = [[bisect_left(d, t) for t in range(features + 1)] for d in degrees[1:]]
        self.last = MaskedLinear(widths[-1], _before(degrees[-1], outputs))
        self.direct = MaskedLinear(features, _before(inputs, outputs)) if direct else None
        self.context: nn.Linear | None = None
        if context:
            self.context = nn.Linear(context, widths[0], bias=False)
        for layer in (self.last, self.direct):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.features = features
        self.n_params = n_params
        self.activation = activation(activation_name)
        self.overwriting = overwriting(activation_name)
        self.residual = residual
        self.dropout = dropout

    def extra_repr(self) -> str:
        return f"features={self.features}, n_params={self.n_params}, residual={self.residual}"

    def hidden_layers(self) -> list[nn.Module]:
        """Those between hidden units: their matrices are those that `Muon` moves."""
        return list(self.layers[1:])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        columns = x.t()  # masked layers have the batch on the last dimension
        shifts = self.shifts(context)
        h = _shifted(self.layers[0](columns), shifts[0])
        if self.residual:
            blocks = zip(self.layers[1::2], self.layers[2::2], shifts[1::2], strict=True)
            for inner, outer, shift in blocks:
                step = self.overwriting(_shifted(inner(self.activation(h)), shift))
                if self.dropout:
                    step = dropout(step, self.dropout, self.training)
                h = h + outer(step)
        else:
            h = self.overwriting(h)
            for layer in self.layers[1:]:
                h = self.overwriting(layer(h))
        flat = self.last(h)
        if self.direct is not None:
            flat = flat + self.direct(columns)
        return flat.unflatten(0, (-1, self.n_params)).permute(2, 1, 0)

    def shifts(self, context: Tensor | None) -> list[Tensor | None]:
        """What the context adds to each hidden layer before its activation, (units, B) or None."""
        others: list[Tensor | None] = [None] * (len(self.layers) - 1)
        return [None if self.context is None else self.context(context).t(), *others]

    def start(self, like: Tensor, context: Tensor | None = None) -> Unrolled:
        return Unrolled(self, like, context)

    def step(self, value: Tensor | None, state: Unrolled) -> tuple[Tensor, Unrolled]:
        rows = state.step(None if value is None else value.t())
        return rows.t().unsqueeze(-1), state

    def unroll(
        self, z: Tensor, scalar: Any, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        return unroll_masked(self, z, scalar, context)


class SteeredMADE(MADE):
    """MADE with the context in every block, as nflows has it: for converted flows.

    act(V c + b) is added to the first hidden layer, before its activation, and V_k c + b_k to the
    inner layer of each residual block.
    """

    def __init__(
        self,
        features: int,
        n_params: int,
        hidden: Sequence[int | Sequence[int]],
        context: int,
        activation_name: str = "relu",
        residual: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            features, n_params, hidden, context, activation_name, residual, dropout=dropout
        )
        widths = [layer.weight.shape[0] for layer in cast("list[MaskedLinear]", list(self.layers))]
        self.context = nn.Linear(context, widths[0])
        steered = widths[1::2] if residual else []
        self.in_blocks = nn.ModuleList(nn.Linear(context, width) for width in steered)

    def shifts(self, context: Tensor | None) -> list[Tensor | None]:
        shifts: list[Tensor | None] = [None] * len(self.layers)
        if self.context is not None:
            shifts[0] = self.activation(self.context(context)).t()
        for block, linear in enumerate(self.in_blocks):
            shifts[2 * block + 1] = linear(context).t()
        return shifts


def _shifted(h: Tensor, shift: Tensor | None) -> Tensor:
    return h if shift is None else h + shift


def _hidden_degrees(units: int | Sequence[int], features: int, with_zero: bool) -> list[int]:
    """Sorted degrees of that many units of each degree from 0 on.

    If only the width is given, they are spread evenly over 1..D-1, or 0..D-1 with a context.
    """
    if not isinstance(units, int):
        return [degree for degree, count in enumerate(units) for _ in range(count)]
    lowest = 0 if with_zero else 1
    return [lowest + (unit * (features - lowest)) // units for unit in range(units)]


def _before(hidden: Sequence[int], outputs: Sequence[int]) -> list[int]:
    """The number of sorted `hidden` degrees strictly below the degree of each output."""
    return [bisect_left(hidden, degree) for degree in outputs]
