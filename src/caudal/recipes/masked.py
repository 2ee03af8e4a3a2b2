"""MADE, MAF and IAF: flows of masked nets, fast to score (MADE, MAF) or fast to sample (IAF)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

import caudal
from caudal.recipes.recipe import Activation, Recipe, Widths


@dataclass(frozen=True)
class MADE(Recipe):
    """Gaussian conditionals p(x_d | x_<d) from one masked net.

    Reference: MADE: masked autoencoder for distribution estimation (Germain, Gregor, Murray,
    Larochelle, 2015), arXiv:1502.03509.
    """

    name = "made"
    paper = "Germain, Gregor, Murray, Larochelle, arXiv:1502.03509"
    year = 2015
    good_for = "a small autoregressive baseline; the building block of MAF and IAF"
    scores = "parallel"
    samples = "sequential"
    pixels = "white"

    hidden: Widths = (512, 512)
    """Units of each hidden layer."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    direct: bool = False
    """Connect inputs to outputs directly as well."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        elementwise = caudal.elementwise.Affine()
        net = caudal.nets.MADE(
            features,
            elementwise.n_params,
            self.hidden,
            context,
            self.activation,
            direct=self.direct,
        )
        layer = caudal.bijections.Autoregressive(net, elementwise)
        return caudal.Flow(layer, caudal.base.Normal((features,)), context_shape=context_shape)


@dataclass(frozen=True)
class MAFRecipe(Recipe):
    """What MAF and MAF MoG share: affine autoregressive layers, reversed from layer to layer."""

    paper = "Papamakarios, Pavlakou, Murray, arXiv:1705.07057"
    year = 2017
    scores = "parallel"
    samples = "sequential"
    pixels = "white"

    layers: Annotated[int, Ge(0)] = 5
    """Autoregressive layers."""
    hidden: Widths = (512, 512)
    """Units of each hidden layer of each net."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    batch_norm: bool = True
    """Batch normalisation after each layer."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        parts = self._nearest_noise(features, context)
        for _ in range(self.layers):
            parts += [caudal.bijections.Flip()] if parts else []
            parts += [caudal.bijections.BatchNorm((features,))] if self.batch_norm else []
            affine = caudal.elementwise.Affine()
            net = self._net(features, context, affine.n_params)
            parts.append(caudal.bijections.Autoregressive(net, affine))
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)

    def _net(self, features: int, context: int, n_params: int) -> caudal.nets.MADE:
        return caudal.nets.MADE(features, n_params, self.hidden, context, self.activation)

    @abstractmethod
    def _nearest_noise(self, features: int, context: int) -> list[caudal.Bijection]:
        """The layers between the base and the affine layers."""


@dataclass(frozen=True)
class MAF(MAFRecipe):
    """Affine autoregressive layers, the order of the columns reversed from layer to layer.

    Reference: Masked autoregressive flow for density estimation (Papamakarios, Pavlakou, Murray,
    2017), arXiv:1705.07057.
    """

    name = "maf"
    good_for = "densities of tables: training and scoring in one pass"

    def _nearest_noise(self, features: int, context: int) -> list[caudal.Bijection]:
        return []


@dataclass(frozen=True)
class MAFMoG(MAFRecipe):
    """MAF whose base is a MADE with mixtures of Gaussians as conditionals.

    That base is written as one more autoregressive layer, which maps a standard normal through
    the mixtures' CDFs: the density is the same. Without affine layers it is the paper's MADE MoG.
    Reference: Masked autoregressive flow for density estimation (Papamakarios, Pavlakou, Murray,
    2017), arXiv:1705.07057.
    """

    name = "maf-mog"
    good_for = "densities with several modes or sharp edges"

    components: Annotated[int, Ge(1)] = 10
    """Gaussians in each conditional of the base."""

    def _nearest_noise(self, features: int, context: int) -> list[caudal.Bijection]:
        import torch

        mixture = caudal.elementwise.MixtureGaussian(self.components)
        net = self._net(features, context, mixture.n_params)
        with torch.no_grad():
            net.last.bias.copy_(mixture.spread().repeat(features))
        return [caudal.bijections.Autoregressive(net, mixture)]


@dataclass(frozen=True)
class IAF(Recipe):
    """Inverse autoregressive layers: a sample and its density in one pass.

    The density of other points is computed one column at a time, and so training by maximum
    likelihood is slow. IAF is useful as a student, or where only its own samples are scored.
    Reference: Improving variational inference with inverse autoregressive flow (Kingma et al.,
    2016), arXiv:1606.04934.
    """

    name = "iaf"
    paper = "Kingma et al., arXiv:1606.04934"
    year = 2016
    good_for = "fast samples with their densities: variational inference, distillation"
    scores = "sequential"
    samples = "parallel"
    pixels = "white"

    layers: Annotated[int, Ge(0)] = 5
    """Inverse autoregressive layers."""
    hidden: Widths = (512, 512)
    """Units of each hidden layer of each net."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        affine = caudal.elementwise.Affine()
        parts: list[caudal.Bijection] = []
        for layer in range(self.layers):
            net = caudal.nets.MADE(
                features, affine.n_params, self.hidden, context, self.activation
            )
            parts += [caudal.bijections.Flip()] if layer else []
            parts.append(caudal.Inverse(caudal.bijections.Autoregressive(net, affine)))
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)
