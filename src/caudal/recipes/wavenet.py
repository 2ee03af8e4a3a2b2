"""WaveNet: sound, one sample after the other, by dilated causal convolutions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from caudal.base import FREE, Base, Logistic, Normal, Uniform
from caudal.bijection import Bijection, Chain
from caudal.bijections import Autoregressive, MuLaw
from caudal.elementwise import Affine, Elementwise, Histogram, MixtureLogistic
from caudal.flow import Flow
from caudal.nets import WaveNet as WaveNetNet
from caudal.recipes.recipe import Recipe

LEVELS = 256  # of the softmax


@dataclass(frozen=True)
class AudioRecipe(Recipe):
    """A recipe for sound: clips (1, T) of any length T, given frames of context or nothing.

    Its context is (C, F): frame f stands for the samples f hop to (f + 1) hop - 1; a single frame
    stands for all of them.
    """

    audio = True
    vectors = False

    channels: int = 64
    """Channels of the residual stream, of each gate and of the skips."""
    cycle: int = 10
    """Layers after which dilations start again from 1: 1, 2, 4, ... 2^(cycle - 1)."""
    kernel: int = 2
    """Samples each layer looks at, its own among them."""
    floor: float = -7.0
    """Lowest log-scale of a conditional, relative to the data's standard deviation."""
    hop: int = 128
    """Samples of a frame of context."""

    @abstractmethod
    def dilated_layers(self) -> tuple[int, ...]:
        """The layers of each net, from the noise."""

    @property
    def receptive_field(self) -> int:
        """How many samples before it, or their noise, a sample depends on."""
        dilations = (2 ** (i % self.cycle) for n in self.dilated_layers() for i in range(n))
        return len(self.dilated_layers()) + (self.kernel - 1) * sum(dilations)

    def _context_channels(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> int:
        """The C of context shape (C, F), 0 for none.

        Raises:
            ValueError: other events than sound, or other context than frames.
        """
        if isinstance(event_shape, int) or len(event_shape) != 2 or event_shape[0] != 1:
            raise ValueError(
                f"{self.name} models sound (1, {FREE}), got event shape {event_shape}"
            )
        if context_shape is None:
            return 0
        if isinstance(context_shape, int) or len(context_shape) not in (1, 2):
            frames = f"frames (C, {FREE}) or vectors (C,)"
            raise ValueError(f"{self.name} takes {frames} as context, got shape {context_shape}")
        return context_shape[0]

    def _net(self, n_params: int, layers: int, context: int, skip: bool) -> WaveNetNet:
        return WaveNetNet(
            n_params,
            layers=layers,
            cycle=self.cycle,
            channels=self.channels,
            kernel=self.kernel,
            skip=skip,
            context=context,
            hop=self.hop,
        )


@dataclass(frozen=True)
class WaveNet(AudioRecipe):
    """One autoregressive layer: p(x) = prod_t p(x_t | x_<t, context).

    Trains and scores in one parallel pass; samples one after the other. Sizes of papers
    are presets; the defaults are those a CPU can train.
    Reference: WaveNet: a generative model for raw audio (van den Oord et al., 2016),
    arXiv:1609.03499; mixture of logistics: Parallel WaveNet (2017), arXiv:1711.10433; Gaussian:
    ClariNet (Ping, Peng, Chen, 2018), arXiv:1807.07281.
    """

    name = "wavenet"
    paper = "van den Oord et al., arXiv:1609.03499"
    year = 2016
    good_for = "sound: exact densities of speech; teaches parallel-wavenet"
    scores = "parallel"
    samples = "sequential"

    layers: int = 20
    """Dilated layers."""
    law: Literal["gaussian", "logistics", "softmax"] = "gaussian"
    """What p(x_t | x_<t) is: a Gaussian, a mixture of logistics, or 256 mu-law bins."""
    components: int = 10
    """Logistics of the mixture."""

    def build(
        self, event_shape: Sequence[int] = (1, FREE), context_shape: Sequence[int] | None = None
    ) -> Flow:
        context = self._context_channels(event_shape, context_shape)
        law, base = self._law(tuple(event_shape))
        net = self._net(law.n_params, self.layers, context, skip=True)
        if isinstance(law, MixtureLogistic):
            with torch.no_grad():
                net.last.bias.copy_(law.spread())
        parts: list[Bijection] = [Autoregressive(net, law)]
        if isinstance(law, Histogram):
            parts.append(MuLaw(LEVELS - 1))
        bijection = parts[0] if len(parts) == 1 else Chain(parts)
        return Flow(bijection, base, context_shape=context_shape)

    def dilated_layers(self) -> tuple[int, ...]:
        return (self.layers,)

    def _law(self, event_shape: tuple[int, ...]) -> tuple[Elementwise, Base]:
        if self.law == "gaussian":
            return Affine(floor=self.floor), Normal(event_shape)
        if self.law == "logistics":
            return MixtureLogistic(self.components, floor=self.floor), Logistic(event_shape)
        return Histogram(LEVELS), Uniform(event_shape)
