"""MAF: a stack of MADEs with fast density; MAF MoG has mixtures of Gaussians as its base."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from caudal.base import Normal
from caudal.bijection import Bijection, Chain
from caudal.bijections import Autoregressive, BatchNorm, Flip
from caudal.elementwise import Affine, Elementwise, MixtureGaussian
from caudal.flow import Flow
from caudal.nets import MADE as MADENet  # noqa: N811
from caudal.recipes.recipe import Recipe


@dataclass(frozen=True)
class MAFRecipe(Recipe):
    """What MAF and MAF MoG share: affine autoregressive layers, reversed from layer to layer."""

    paper = "Papamakarios, Pavlakou, Murray, arXiv:1705.07057"
    year = 2017
    scores = "parallel"
    samples = "sequential"

    layers: int = 5
    """Autoregressive layers."""
    hidden: tuple[int, ...] = (512, 512)
    """Units of each hidden layer of each net."""
    activation: str = "relu"
    """relu, tanh, elu, silu or gelu."""
    batch_norm: bool = True
    """Batch normalisation after each layer."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        features, context = self._sizes(event_shape, context_shape)
        parts = self._nearest_noise(features, context)
        for _ in range(self.layers):
            parts += [Flip()] if parts else []
            parts += [BatchNorm((features,))] if self.batch_norm else []
            parts.append(self._layer(features, context, Affine()))
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)

    def _layer(self, features: int, context: int, elementwise: Elementwise) -> Bijection:
        return Autoregressive(self._net(features, context, elementwise), elementwise)

    def _net(self, features: int, context: int, elementwise: Elementwise) -> MADENet:
        return MADENet(features, elementwise.n_params, self.hidden, context, self.activation)

    @abstractmethod
    def _nearest_noise(self, features: int, context: int) -> list[Bijection]:
        """What comes between the base and the affine layers."""


@dataclass(frozen=True)
class MAF(MAFRecipe):
    """Affine autoregressive layers, the order of the columns reversed from layer to layer.

    Reference: Masked autoregressive flow for density estimation (Papamakarios, Pavlakou, Murray,
    2017), arXiv:1705.07057.
    """

    name = "maf"
    good_for = "densities of tables: training and scoring in one pass"

    def _nearest_noise(self, features: int, context: int) -> list[Bijection]:
        return []


@dataclass(frozen=True)
class MAFMoG(MAFRecipe):
    """MAF whose base is a MADE with mixtures of Gaussians as conditionals.

    The base is kept as one more autoregressive layer, through the mixtures' CDFs to a standard
    normal: the same density, and one base for every flow.
    Reference: Masked autoregressive flow for density estimation (Papamakarios, Pavlakou, Murray,
    2017), arXiv:1705.07057.
    """

    name = "maf-mog"
    good_for = "densities with several modes or sharp edges"

    components: int = 10
    """Gaussians in each conditional of the base."""

    def _nearest_noise(self, features: int, context: int) -> list[Bijection]:
        mixture = MixtureGaussian(self.components)
        net = self._net(features, context, mixture)
        with torch.no_grad():
            net.last.bias.copy_(mixture.spread().repeat(features))
        return [Autoregressive(net, mixture)]
