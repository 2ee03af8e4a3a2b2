"""A WaveNet one sample at a time: by queues, and by running its receptive field again."""

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

from caudal.nets.causal import CausalNet
from caudal.nets.dilated import Dilated
from caudal.nets.frames import Conditions

if TYPE_CHECKING:
    from caudal.nets.wavenet import WaveNet


class Queues:
    """A WaveNet between two steps: of each layer, the inputs that its taps still look back at.

    What each layer has computed is never computed again.
    Reference: Fast Wavenet Generation Algorithm (Le Paine et al., 2016), arXiv:1611.09482.
    """

    def __init__(self, net: "WaveNet", like: Tensor, context: Tensor | None) -> None:
        self.net, self.position = net, 0
        self.conditions = net.conditions(context, like.shape[-1])
        self.layers = cast(list[Dilated], list(net.layers))
        nothing = like.new_zeros(len(like), net.channels)
        self.queues = [
            deque([nothing] * most, most) for most in (a.delays[0] for a in self.layers)
        ]
        self.first = like.new_zeros(len(like), 1)
        self.out = _outs(self.layers)

    def step(self, value: Tensor | None) -> Tensor:
        """Takes the sample before (B, 1), gives the parameters of the next (B, P)."""
        net = self.net
        h = net.first(self.first if value is None else value)
        given = self._condition()
        units = []
        for i, (layer, queue) in enumerate(zip(self.layers, self.queues, strict=True)):
            past = [queue[-delay] for delay in layer.delays[:-1]]
            gate = layer.taps(torch.cat([*past, h], 1))
            queue.append(h)
            if given is not None:
                gate = gate + given[i]
            tanh, sigmoid = gate.chunk(2, 1)
            z = torch.tanh(tanh) * torch.sigmoid(sigmoid)
            units.append(z)
            residual = self.out.residual[i]
            if residual is not None:
                h = h + torch.addmm(residual[1], z, residual[0])
        if self.out.skip is not None:
            h = torch.addmm(self.out.skip_bias, torch.cat(units, 1), self.out.skip)
        self.position += 1
        return net.head(h)

    def _condition(self) -> tuple[Tensor, ...] | None:
        """What the context adds to the gates of each layer; it stays for a while."""
        if self.conditions is None:
            return None
        rows, hold = self.conditions
        row = 0 if len(rows) == 1 else self.position // hold
        if self.position == 0 or (len(rows) > 1 and self.position % hold == 0):
            assert self.net.project is not None
            self._given = self.net.project(rows[row]).chunk(len(self.layers), 1)
        return self._given


class _Outs(NamedTuple):
    """Products of the gated units: to the residual stream, layer by layer, and to the skips."""

    residual: list[tuple[Tensor, Tensor] | None]
    skip: Tensor | None
    skip_bias: Tensor


def _outs(layers: list[Dilated]) -> _Outs:
    residual, skips, biases = [], [], []
    for layer in layers:
        weights, bias = layer.parts(layer.out.weight.t()), layer.parts(layer.out.bias)
        found = None
        if weights[0] is not None and bias[0] is not None:
            found = (weights[0], bias[0])
        residual.append(found)
        if weights[1] is not None and bias[1] is not None:
            skips.append(weights[1])
            biases.append(bias[1])
    if not skips:
        return _Outs(residual, None, layers[0].out.bias)
    return _Outs(residual, torch.cat(skips), torch.stack(biases).sum(0))


class Naive(CausalNet):
    """The slow reference: at each step the whole pass over all that a parameter can depend on.

    To measure what queues are worth, against generation as it was before them.
    """

    def __init__(self, net: "WaveNet") -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x, context)
        return params

    def start(self, like: Tensor, context: Tensor | None = None) -> "Window":
        nothing = like.new_zeros(1, len(like), 1)  # before the first sample
        return Window([nothing], self.net.conditions(context, like.shape[-1]))

    def step(self, value: Tensor | None, state: "Window") -> tuple[Tensor, "Window"]:
        if value is not None:
            state.samples.append(value.permute(2, 0, 1))
        position, hold = len(state.samples) - 1, 1
        conditions = state.conditions
        if conditions is not None:
            hold = conditions.hold
        start = max(0, position + 1 - self.net.receptive_field) // hold * hold
        if conditions is not None:
            conditions = conditions.between(start, position + 1)
        samples = torch.cat(state.samples[start:])
        params = self.net.run(samples, conditions)[-1:]
        return params.permute(1, 2, 0).unsqueeze(2), state

    def unroll(self, z: Tensor, scalar: Any, context: Tensor | None = None) -> None:
        return None


class Stepwise(CausalNet):
    """The same net without its compiled loop: to measure what that is worth."""

    def __init__(self, net: CausalNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x, context)
        return params

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        return self.net.start(like, context)

    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        return self.net.step(value, state)

    def unroll(self, z: Tensor, scalar: Any, context: Tensor | None = None) -> None:
        return None


class Window(NamedTuple):
    """The samples so far, one position late, and the conditions of the whole clip."""

    samples: list[Tensor]
    conditions: Conditions | None
