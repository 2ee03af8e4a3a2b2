"""Parallel WaveNet: sound from noise in a few parallel passes; learned from a WaveNet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from caudal.base import FREE, Base, Logistic, Normal
from caudal.bijection import Chain, Inverse
from caudal.bijections import Autoregressive
from caudal.elementwise import Affine, Swapped
from caudal.flow import Flow
from caudal.recipes.wavenet import AudioRecipe

_START = 0.05  # scale of all flows together, so that distillation starts from a hiss, not a roar


@dataclass(frozen=True)
class ParallelWaveNet(AudioRecipe):
    """A chain of inverse autoregressive flows, each steered by a WaveNet over its own noise.

    x_t = z_t s(z_<t) + m(z_<t) in each, time never reversed, so that given z_<t a sample is
    logistic (or normal: ClariNet's student) with a scale and a mean in closed form. Samples in one
    pass a flow; the density of a clip from elsewhere goes one sample at a time.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433; ClariNet (Ping,
    Peng, Chen, 2018), arXiv:1807.07281.
    """

    name = "parallel-wavenet"
    paper = "van den Oord et al., arXiv:1711.10433"
    year = 2017
    good_for = "sound, a thousand times as fast: a student, distilled from wavenet"
    scores = "sequential"
    samples = "parallel"

    flows: tuple[int, ...] = (10, 10, 10, 20)
    """Dilated layers of each flow's net, from the noise to the sound."""
    noise: Literal["normal", "logistic"] = "normal"
    """What the noise is: normal goes with Gaussian teachers, logistic with mixtures."""

    def build(
        self, event_shape: Sequence[int] = (1, FREE), context_shape: Sequence[int] | None = None
    ) -> Flow:
        context = self._context_channels(event_shape, context_shape)
        law = Swapped(Affine(floor=self.floor))
        parts = []
        for layers in self.flows:
            net = self._net(law.n_params, layers, context, skip=False)
            with torch.no_grad():
                net.last.bias[1].fill_(math.log(_START) / len(self.flows))
            parts.append(Inverse(Autoregressive(net, law)))
        return Flow(Chain(parts), self._base(tuple(event_shape)), context_shape=context_shape)

    def dilated_layers(self) -> tuple[int, ...]:
        return self.flows

    def _base(self, event_shape: tuple[int, ...]) -> Base:
        return Normal(event_shape) if self.noise == "normal" else Logistic(event_shape)
