"""WaveNet: dilated causal convolutions over a clip of sound, given what is known of it."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.nets.causal import CausalNet
from caudal.nets.context import Conditions, Frames, per_layer
from caudal.nets.fast import (
    Queues,
    clip_in_pieces,
    unroll_in_pieces,
    unroll_wavenet,
    whole_clip,
)

_GATED = 0.34  # root mean square of tanh(a) sigmoid(b) for standard normal a and b


class Dilated(nn.Module):
    """One layer: z = tanh(filter of h) sigmoid(gate of h), to the residual stream and to a skip.

    `taps` holds the filters and gates of all taps, the oldest first, `out` the residual and the
    skip product, or the one of them that exists.
    """

    def __init__(
        self, channels: int, kernel: int, dilation: int, *, residual: bool, skip: bool
    ) -> None:
        super().__init__()
        self.taps = nn.Linear(kernel * channels, 2 * channels)
        self.out = nn.Linear(channels, (residual + skip) * channels)
        self.channels, self.kernel, self.dilation = channels, kernel, dilation
        self.residual, self.skip = residual, skip

    def extra_repr(self) -> str:
        return f"channels={self.channels}, kernel={self.kernel}, dilation={self.dilation}"

    def hidden_layers(self) -> list[nn.Module]:
        """Both: their matrices are those that `Muon` moves."""
        return [self.taps, self.out]

    @property
    def delays(self) -> list[int]:
        """The number of positions that each tap looks back, the largest first."""
        return [self.dilation * k for k in range(self.kernel - 1, -1, -1)]

    def forward(self, h: Tensor, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The contributions to the residual stream and to the skips, None where there is none.

        h (T, B, channels), condition (n, 1, B, 2 channels) for n equal stretches of time.
        """
        length = len(h)
        past = F.pad(h, (0, 0, 0, 0, self.delays[0], 0))
        taps = [past[self.delays[0] - d : self.delays[0] - d + length] for d in self.delays]
        gate = self.taps(torch.cat(taps, -1))
        if condition is not None:
            gate = (gate.unflatten(0, (len(condition), -1)) + condition).flatten(0, 1)
        tanh, sigmoid = gate.chunk(2, -1)
        out = self.out(torch.tanh(tanh) * torch.sigmoid(sigmoid))
        return self.parts(out)

    def parts(self, out: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Residual and skip part along the last dimension, None where there is none."""
        if self.residual and self.skip:
            residual, skip = out.chunk(2, -1)
            return residual, skip
        return (out, None) if self.residual else (None, out)


class WaveNet(CausalNet):
    """Gated dilated convolutions: x (B, 1, T) and context to (B, P, 1, T), for any T.

    z = tanh(W_f * h + V_f c) sigmoid(W_g * h + V_g c). h + R z goes on to the next layer, and the
    sum of S z over layers goes through ReLU, 1x1, ReLU, 1x1 to the parameters. Dilations are 1, 2,
    4, ... over `cycle` layers, and repeat. Without `skip` the last h takes the place of that sum,
    as in Parallel WaveNet's students. Before a clip all layers see zeros. The context is (B, C) or
    (B, C, 1), the same for the whole clip, or (B, C, F), a frame for every `hop` samples, which
    may look ahead (see `Frames`). The last layer starts at zero.
    References: WaveNet (van den Oord et al., 2016), arXiv:1609.03499; Parallel WaveNet (van den
    Oord et al., 2017), arXiv:1711.10433.
    """

    def __init__(
        self,
        n_params: int,
        layers: int = 30,
        cycle: int = 10,
        channels: int = 64,
        kernel: int = 2,
        skip: bool = True,
        context: int = 0,
        hop: int = 1,
    ) -> None:
        super().__init__()
        sizes = {"n_params": n_params, "layers": layers, "cycle": cycle, "channels": channels}
        for name, size in {**sizes, "hop": hop}.items():
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1, got {size}")
        if kernel < 2:
            raise ValueError(f"`kernel` must be at least 2, got {kernel}")
        if context < 0:
            raise ValueError(f"`context` must be the number of its channels, got {context}")
        self.first = nn.Linear(1, channels)
        self.layers = nn.ModuleList(
            Dilated(
                channels,
                kernel,
                2 ** (i % cycle),
                residual=not skip or i < layers - 1,  # nothing follows the last layer's
                skip=skip,
            )
            for i in range(layers)
        )
        self.inner = nn.Linear(channels, channels)
        self.last = nn.Linear(channels, n_params)
        self.frames: Frames | None = None
        self.project: nn.Linear | None = None
        if context:
            self.frames = Frames(context, channels, hop)
            self.project = nn.Linear(channels, layers * 2 * channels, bias=False)
        self.channels = channels
        self._start_weights()

    def _start_weights(self) -> None:
        """Draws weights that keep streams near unit variance for any number of layers."""
        wide, layers = 1 / math.sqrt(self.channels), len(self.layers)
        nn.init.normal_(self.first.weight)
        for layer in self._layers:
            nn.init.normal_(layer.taps.weight, std=wide / math.sqrt(layer.kernel))
            nn.init.normal_(layer.out.weight, std=wide / (_GATED * math.sqrt(layers)))
            nn.init.zeros_(layer.taps.bias)
            nn.init.zeros_(layer.out.bias)
        nn.init.normal_(self.inner.weight, std=wide * math.sqrt(2))
        nn.init.zeros_(self.inner.bias)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def extra_repr(self) -> str:
        skip, layers = self._layers[0].skip, len(self.layers)
        return (
            f"layers={layers}, channels={self.channels}, skip={skip}, field={self.receptive_field}"
        )

    @property
    def _layers(self) -> list[Dilated]:
        return cast(list[Dilated], list(self.layers))

    @property
    def receptive_field(self) -> int:
        """The number of samples before it on which a parameter depends."""
        return 1 + sum(layer.delays[0] for layer in self._layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        length = x.shape[-1]
        conditions = self.conditions(context, length)
        samples = x.permute(2, 0, 1)  # (T, B, 1)
        samples = torch.cat([torch.zeros_like(samples[:1]), samples[:-1]])
        return self.run(samples, conditions).permute(1, 2, 0).unsqueeze(2)

    def conditions(self, context: Tensor | None, length: int) -> Conditions | None:
        """The conditions of the `length` samples of a clip; None without context."""
        if self.frames is None:
            return None
        if context is None:
            raise ValueError("this WaveNet needs `context`")
        conditions: Conditions = self.frames(context, length)
        return conditions

    def run(self, samples: Tensor, conditions: Conditions | None) -> Tensor:
        """Parameters (T, B, P) of positions, from the samples before each (T, B, 1)."""
        length = len(samples)
        if conditions is not None:
            samples = conditions.padded(samples)
        params = whole_clip(self, samples, conditions, length)
        if params is None:
            params = self.head(self.plain(samples, conditions)[:length])
        return params

    def plain(self, samples: Tensor, conditions: Conditions | None) -> Tensor:
        """The input of the head, (T, B, channels), layer by layer as in the paper."""
        each = per_layer(self.projected(conditions), len(self.layers))
        h, total = self.first(samples), None
        for layer, condition in zip(self.layers, each, strict=True):
            residual, skip = layer(h, condition)
            if residual is not None:
                h = h + residual
            if skip is not None:
                total = skip if total is None else total + skip
        return h if total is None else total

    def projected(self, conditions: Conditions | None) -> Tensor | None:
        """The conditions of the gates of all layers, (n, B, layers * 2 channels)."""
        if conditions is None:
            return None
        assert self.project is not None
        rows: Tensor = self.project(conditions.rows)
        return rows

    def head(self, h: Tensor) -> Tensor:
        """Parameters from the output of the layers, along the last dimension."""
        params: Tensor = self.last(torch.relu(self.inner(torch.relu(h))))
        return params

    def start(self, like: Tensor, context: Tensor | None = None) -> Queues:
        return Queues(self, like, context)

    def step(self, value: Tensor | None, state: Queues) -> tuple[Tensor, Queues]:
        params = state.step(None if value is None else value.flatten(1))
        return params[:, :, None, None], state

    def unroll(
        self, z: Tensor, scalar: Any, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        return unroll_wavenet(self, z, scalar, context)

    def unroll_in_pieces(
        self, z: Tensor, scalar: Any, context: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]] | None:
        return unroll_in_pieces(self, z, scalar, context)

    def in_pieces(
        self, pieces: Iterable[Tensor], context: Tensor | None, length: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return clip_in_pieces(self, pieces, self.conditions(context, length), length)


class Naive(CausalNet):
    """The slow reference: at each step one pass over the whole receptive field.

    It measures what queues are worth, against generation as it was before them.
    """

    def __init__(self, net: WaveNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x, context)
        return params

    def start(self, like: Tensor, context: Tensor | None = None) -> "_Window":
        nothing = like.new_zeros(1, len(like), 1)  # before the first sample
        return _Window([nothing], self.net.conditions(context, like.shape[-1]))

    def step(self, value: Tensor | None, state: "_Window") -> tuple[Tensor, "_Window"]:
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


class _Window(NamedTuple):
    """The samples so far, shifted by one position, and the conditions of the whole clip."""

    samples: list[Tensor]
    conditions: Conditions | None
