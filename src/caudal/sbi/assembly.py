"""The flow of parameters given observations: recipe, support and embedding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caudal import recipes
from caudal.base import Base
from caudal.bijection import Bijection, Chain, parts_of
from caudal.bijections import SoftClip, Standardise, Support
from caudal.bijections.support import softness_for
from caudal.flow import Flow
from caudal.nets import ColumnEmbedding, Embedding
from caudal.recipes import Recipe
from caudal.recipes.registry import register
from caudal.sbi.ends import NearEnds

DEFAULT = recipes.NSFAR(layers=5, hidden=64, bins=8, dropout=0.1)
"""Parameters are few, so that a draw is soon made position by position; simulations are few, too,
and without dropout nets know them by heart before they have learned."""
_MOST = 1024  # numbers of an observation that are regressed on, by a matrix of their products


class Observations(Embedding):
    """An embedding net behind a standardisation of the observations (B, C, ...).

    Vectors are standardised number by number, anything longer channel by channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        sizes = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("mean", torch.zeros(sizes))
        self.register_buffer("std", torch.ones(sizes))
        was, net = net.training, net.eval()
        with torch.no_grad():
            self.n_features = int(net(torch.zeros(2, *shape)).shape[1])
        net.train(was)

    def forward(self, context: Tensor) -> Tensor:
        features: Tensor = self.net((context - self.mean) / self.std)
        return features

    @torch.no_grad()
    def observe(self, context: Tensor) -> None:
        dims = [0, *range(2, context.ndim)]
        std, mean = torch.std_mean(context.double(), dims, correction=0, keepdim=True)
        self.mean.copy_(mean[0])
        self.std.copy_(std[0].where(std[0] > 0, 1.0))


@register
@dataclass(frozen=True)
class Bounded(Recipe):
    """A flow of parameters (D,) within their ends, given observations of any shape.

    Parameters with one end pass through a logarithm, those with two through a map that bends only
    near them (`SoftClip`), whose log-det is part of the density: nothing lies outside the support.
    The flow then models what is left of them after a linear regression on the observation, so that
    training begins at the linear-Gaussian posterior, and is told how much of that lies beyond each
    end (`NearEnds`); behind an embedding that is trained, in recipes of a user's own, and of more
    than 1,024 numbers, there is no such regression.
    Observations that are no vectors are flattened, unless the recipe is a user's own, which takes
    them as they are. No one chooses this recipe by name; a model file of a posterior names it.
    """

    name = "posterior"
    good_for = "posteriors of a simulator's parameters: see caudal.npe"
    scores = "parallel"
    samples = "parallel"
    listed = False

    flow: Recipe = DEFAULT
    """The recipe of the flow that models the parameters, mapped to the whole line."""
    low: tuple[float | None, ...] = ()
    """Lower ends of the parameters, None where there is none."""
    high: tuple[float | None, ...] = ()
    """Upper ends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for way in ("scores", "samples"):
            object.__setattr__(self, way, getattr(self.flow, way))

    @classmethod
    def of(cls, recipe: Recipe | None, bounds: tuple[Tensor, Tensor] | None) -> "Bounded":
        """The recipe with these ends, (D,) each."""
        ends = () if bounds is None else tuple(map(_plain_ends, bounds))
        return cls(recipe or DEFAULT, *ends)

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        shape = tuple(context_shape or ())
        own = Observations(nn.Flatten(), shape) if len(shape) > 1 and _is_ours(self.flow) else None
        return self.within(event_shape, shape, own)

    def within(
        self, event_shape: Sequence[int], observed: tuple[int, ...], own: Observations | None
    ) -> Flow:
        """The flow within the ends, with an embedding of observations if one is given."""
        embedding: Embedding = own or ColumnEmbedding([0] * observed[0])
        is_fixed = _is_ours(self.flow) if own is None else isinstance(own.net, nn.Flatten)
        if is_fixed and embedding.n_features <= _MOST:
            parts, base = self._regressed(event_shape, embedding.n_features)
            return self._flow(parts, base, observed, embedding)
        shape = observed if own is None else (own.n_features,)
        flow = self.flow.build(event_shape, shape, standardise=own is None)
        parts = parts_of(flow.bijection)
        parts += [] if own is None else [Standardise(tuple(event_shape))]
        return self._flow(parts, flow.base, observed, own or flow.embedding)

    def _regressed(self, event_shape: Sequence[int], context: int) -> tuple[list[Bijection], Base]:
        """The parts after a regression on so many features, and their base."""
        ended = self._both_ends() if self.low else torch.zeros(event_shape, dtype=torch.bool)
        shape = (context + NearEnds.n_told(ended),)
        flow = self.flow.build(event_shape, shape, standardise=False)
        parts = [*parts_of(flow.bijection), Standardise(tuple(event_shape))]
        return [NearEnds(parts, event_shape[0], context, ended)], flow.base

    def _flow(
        self,
        parts: list[Bijection],
        base: Base,
        observed: tuple[int, ...],
        embedding: nn.Module | None,
    ) -> Flow:
        """The flow of these parts, mapped to between the ends."""
        bijection = Chain([*parts, *self._within_ends()])
        return Flow(bijection, base, context_shape=observed, embedding=embedding)

    def _both_ends(self) -> Tensor:
        low, high = self._ends()
        return low.isfinite() & high.isfinite()

    def _ends(self) -> tuple[Tensor, Tensor]:
        return _tensor(self.low, -torch.inf), _tensor(self.high, torch.inf)

    def _within_ends(self) -> list[Bijection]:
        """What maps parameters with ends to the whole line."""
        low, high = self._ends()
        both, either = low.isfinite() & high.isfinite(), low.isfinite() | high.isfinite()
        one_end = low.where(~both, -torch.inf), high.where(~both, torch.inf)
        clips = [SoftClip(low, high, softness_for(low, high))] if both.any() else []
        return [*clips, Support(*one_end)] if (either & ~both).any() else [*clips]


def assemble(
    recipe: Recipe | None,
    bounds: tuple[Tensor, Tensor] | None,
    features: int,
    observed: Sequence[int],
    embedding: nn.Module | None,
) -> Flow:
    """A new flow of parameters (D,), within their bounds, given observations of that shape.

    With an embedding net of a user's own, no recipe builds it again, and it cannot be saved.
    """
    made, shape = Bounded.of(recipe, bounds), tuple(observed)
    if embedding is None:
        return made.build((features,), shape, standardise=False)
    return made.within((features,), shape, Observations(embedding, shape))


def _is_ours(recipe: Recipe) -> bool:
    """Whether it is a recipe of ours, all of which take contexts that are vectors."""
    return type(recipe).__module__.startswith("caudal.")


def _plain_ends(ends: Tensor) -> tuple[float | None, ...]:
    return tuple(end if math.isfinite(end) else None for end in ends.tolist())


def _tensor(ends: tuple[float | None, ...], instead: float) -> Tensor:
    return torch.tensor([instead if end is None else end for end in ends])
