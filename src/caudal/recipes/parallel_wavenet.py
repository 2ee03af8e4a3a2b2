"""Parallel WaveNet: sound from noise in a few parallel passes; learned from a WaveNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import caudal
from caudal.recipes.recipe import Widths
from caudal.recipes.wavenet import CLIP, AudioRecipe

_START = 0.05  # scale of all flows together, so that distillation starts from a hiss, not a roar


@dataclass(frozen=True)
class ParallelWaveNet(AudioRecipe):
    """A chain of inverse autoregressive flows, each steered by a WaveNet over its own noise.

    Each flow is x_t = z_t s(z_<t) + m(z_<t), and time is never reversed, so that given z_<t a
    sample is logistic (or normal: ClariNet's student) with a scale and a mean in closed form. It
    samples in one pass through each flow; the density of other clips is computed one sample at a
    time.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433; ClariNet (Ping,
    Peng, Chen, 2018), arXiv:1807.07281.
    """

    name = "parallel-wavenet"
    paper = "van den Oord et al., arXiv:1711.10433"
    year = 2017
    good_for = "sound, a thousand times as fast: a student, distilled from wavenet"
    scores = "sequential"
    samples = "parallel"

    flows: Widths = (10, 10, 10, 20)
    """Dilated layers of each flow's net, from the noise to the sound."""
    noise: Literal["normal", "logistic"] = "normal"
    """Density of the noise: normal for Gaussian teachers, logistic for mixtures."""

    def build(
        self, event_shape: Sequence[int] = CLIP, context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        import torch

        context = self._context_channels(event_shape, context_shape)
        law = caudal.elementwise.Swapped(caudal.elementwise.Affine(floor=self.floor))
        parts = []
        for layers in self.flows:
            net = self._net(law.n_params, layers, context, skip=False)
            with torch.no_grad():
                net.last.bias[1].fill_(math.log(_START) / len(self.flows))
            parts.append(caudal.Inverse(caudal.bijections.Autoregressive(net, law)))
        normal = self.noise == "normal"
        base = caudal.base.Normal if normal else caudal.base.Logistic
        chain = caudal.Chain(parts)
        return caudal.Flow(chain, base(tuple(event_shape)), context_shape=context_shape)

    def dilated_layers(self) -> tuple[int, ...]:
        return self.flows
