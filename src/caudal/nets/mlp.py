"""Fully connected conditioners for couplings of vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caudal.nets.activation import activation, overwriting
from caudal.numerics import dropout


class MLP(nn.Module):
    """Plain layers: (B, inputs) and context (B, C) to parameters (B, P, outputs).

    The last layer starts at zero, so that the flow starts at the identity. The others start wider
    than nn.Linear's, so that it soon leaves the identity. If `softened`, the layers see arsinh(x):
    near 0 the same, and of outliers about their logarithm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        n_params: int,
        hidden: Sequence[int],
        context: int = 0,
        activation_name: str = "relu",
        softened: bool = False,
    ) -> None:
        super().__init__()
        self.softened = softened
        sizes = [inputs + context, *hidden]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        # He's variance, 2 / inputs, keeps the size of activations through ReLU.
        self.hidden = nn.ModuleList(_wide(nn.Linear(a, b), gain=2**0.5) for a, b in pairs)
        self.last = _zero(nn.Linear(sizes[-1], outputs * n_params))
        self.n_params = n_params
        self.overwriting = overwriting(activation_name)

    def extra_repr(self) -> str:
        hidden = tuple(layer.out_features for layer in self.hidden)
        return f"hidden={hidden}, n_params={self.n_params}"

    def hidden_layers(self) -> list[nn.Module]:
        """All but the last: their matrices are those that `Muon` moves."""
        return list(self.hidden)

    @torch.no_grad()
    def begin_at(self, params: Tensor) -> None:
        """Starts at these parameters (P,) of each output, whatever the input."""
        self.last.bias.copy_(params.repeat_interleave(len(self.last.bias) // self.n_params))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x.asinh() if self.softened else x
        h = x if context is None else torch.cat([x, context], 1)
        for layer in self.hidden:
            h = self.overwriting(layer(h))
        return self.last(h).unflatten(1, (self.n_params, -1))


class ResidualMLP(nn.Module):
    """Blocks h + W2 act(W1 act(h)), as in NSF: (B, inputs), context (B, C) to (B, P, outputs).

    The last layer starts at zero. If `gated`, the context also gates what each block adds, by
    sigmoid(V c + b), as nflows has it: for converted flows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        n_params: int,
        hidden: int,
        blocks: int,
        context: int = 0,
        activation_name: str = "relu",
        dropout: float = 0.0,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.first = _wide(nn.Linear(inputs + context, hidden))
        self.inner = nn.ModuleList(_wide(nn.Linear(hidden, hidden)) for _ in range(blocks))
        self.outer = nn.ModuleList(_wide(nn.Linear(hidden, hidden)) for _ in range(blocks))
        self.last = _zero(nn.Linear(hidden, outputs * n_params))
        gates = blocks if gated else 0
        self.gates = nn.ModuleList(nn.Linear(context, hidden) for _ in range(gates))
        self.n_params = n_params
        self.activation = activation(activation_name)
        self.overwriting = overwriting(activation_name)
        self.dropout = dropout

    def extra_repr(self) -> str:
        return (
            f"hidden={self.first.out_features}, blocks={len(self.inner)}, n_params={self.n_params}"
        )

    def hidden_layers(self) -> list[nn.Module]:
        """Those of the blocks: their matrices are those that `Muon` moves."""
        return [*self.inner, *self.outer]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.first(x if context is None else torch.cat([x, context], 1))
        for block, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            step = self.overwriting(inner(self.activation(h)))
            if self.dropout:
                step = dropout(step, self.dropout, self.training)
            step = outer(step)
            h = h + (step * torch.sigmoid(self.gates[block](context)) if self.gates else step)
        return self.last(h).unflatten(1, (self.n_params, -1))


class Constant(nn.Module):
    """Parameters (B, P, outputs, *rest) that are free, the same for every row and position.

    It sees nothing; `rest` is the number of dimensions after the channels.
    """

    def __init__(self, outputs: int, n_params: int, rest: int = 0) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(n_params, outputs, *[1] * rest))

    def extra_repr(self) -> str:
        return f"n_params={len(self.values)}"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.values.expand(x.shape[0], *self.values.shape[:2], *x.shape[2:])


class OnePerParameter(nn.Module):
    """A net of its own for each parameter: P nets that give (B, 1, outputs) each."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.cat([net(x, context) for net in self.nets], 1)


@torch.no_grad()
def _wide(layer: nn.Linear, gain: float = 1.0) -> nn.Linear:
    """Weights of variance gain^2 / inputs, biases of 1 / inputs: three times nn.Linear's.

    With a zero last layer, narrower features cost up to a fifth of a nat on tables of few columns
    after few steps (benchmarks/results/quality.md).
    """
    layer.weight.mul_(gain * 3**0.5)
    layer.bias.mul_(3**0.5)
    return layer


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
