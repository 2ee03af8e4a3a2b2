"""WaveNet: dilated causal convolutions over a clip of sound, given what is known of it."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from caudal.nets.causal import CausalNet
from caudal.nets.dilated import Dilated, plain
from caudal.nets.dilated_whole import Whole, in_chunks
from caudal.nets.frames import Conditions, Frames
from caudal.nets.wavenet_step import Queues
from caudal.nets.wavenet_unroll import suits, unroll

_GATED = 0.34  # root mean square of tanh(a) sigmoid(b) for standard normal a and b


class WaveNet(CausalNet):
    """Gated dilated convolutions: x (B, 1, T) and context to (B, P, 1, T), for any T.

    z = tanh(W_f * h + V_f c) sigmoid(W_g * h + V_g c); h + R z goes on to the next layer, and the
    sum of S z over layers through ReLU, 1x1, ReLU, 1x1 to the parameters. Dilations are 1, 2, 4,
    ... over `cycle` layers, and again. Without `skip` the last h goes there instead, as in
    Parallel WaveNet's students. Before a clip is nothing: zeros, in each layer. The context is
    (B, C) or (B, C, 1), the same for the whole clip, or (B, C, F), a frame for every `hop`
    samples, which may know what comes (see `Frames`). The last layer starts at zero.
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
                raise ValueError(f"{name} must be at least 1, got {size}")
        if kernel < 2:
            raise ValueError(f"kernel must be at least 2, got {kernel}")
        if context < 0:
            raise ValueError(f"context must be the number of its channels, got {context}")
        self.first = nn.Linear(1, channels)
        self.layers = nn.ModuleList(
            Dilated(
                channels,
                kernel,
                2 ** (i % cycle),
                residual=not skip or i < layers - 1,  # nothing follows the last one's
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
        """Streams of about unit variance, whatever the number of layers."""
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

    @property
    def _layers(self) -> list[Dilated]:
        return cast(list[Dilated], list(self.layers))

    @property
    def receptive_field(self) -> int:
        """How many of the samples before it a parameter depends on."""
        return 1 + sum(layer.delays[0] for layer in self._layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        length = x.shape[-1]
        conditions = self.conditions(context, length)
        samples = x.permute(2, 0, 1)  # (T, B, 1)
        samples = torch.cat([torch.zeros_like(samples[:1]), samples[:-1]])
        return self.run(samples, conditions).permute(1, 2, 0).unsqueeze(2)

    def conditions(self, context: Tensor | None, length: int) -> Conditions | None:
        """What the context tells each of so many samples."""
        if self.frames is None:
            return None
        if context is None:
            raise ValueError("this WaveNet needs its context")
        found: Conditions = self.frames(context, length)
        return found

    def run(self, samples: Tensor, conditions: Conditions | None) -> Tensor:
        """Parameters (T, B, P) of positions, from the samples before each (T, B, 1)."""
        length = len(samples)
        if conditions is not None and len(conditions.rows) > 1:
            missing = len(conditions.rows) * conditions.hold - length
            samples = torch.cat([samples, samples.new_zeros(missing, *samples.shape[1:])])
        if not torch.is_grad_enabled() and not _plain(samples):
            found = in_chunks(
                self._layers, self.first, self._project, self.head, samples, conditions
            )
            return found[:length]
        given = None if conditions is None else self._project(conditions.rows)
        h = self.first(samples)
        if _plain(samples):
            h = plain(self._layers, h, given)
        else:
            hold = 1 if conditions is None else conditions.hold
            weights = [weight for layer in self._layers for weight in layer.parameters()]
            h = Whole.apply(h, given, hold, self._layers, *weights)
        return self.head(h[:length])

    def _project(self, rows: Tensor) -> Tensor:
        assert self.project is not None
        found: Tensor = self.project(rows)
        return found

    def head(self, h: Tensor) -> Tensor:
        """From what the layers give to parameters, along the last dimension."""
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
        return unroll(self, z, scalar, context) if suits(self, z, scalar) else None


def _plain(samples: Tensor) -> bool:
    """Whether only plain operations will do; chunks of an empty batch have no size."""
    mixed = torch.is_autocast_enabled(samples.device.type)
    return torch.compiler.is_compiling() or mixed or samples.numel() == 0
