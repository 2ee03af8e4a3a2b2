"""The flow of parameters given observations: recipe, support and embedding."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caudal import recipes
from caudal.bijection import Chain, parts_of
from caudal.bijections import Standardise, Support
from caudal.flow import Flow
from caudal.nets import Embedding
from caudal.recipes import Recipe

DEFAULT = recipes.NSF(layers=5, hidden=64, bins=8)


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


def assemble(
    recipe: Recipe | None,
    bounds: tuple[Tensor, Tensor] | None,
    features: int,
    observed: Sequence[int],
    embedding: nn.Module | None,
) -> Flow:
    """A new flow of parameters (D,), within their bounds, given observations of that shape.

    Parameters with an end pass through a logarithm or a logit, whose log-det is part of the
    density: nothing lies outside of the support.
    """
    own = None
    shape = tuple(observed)
    if embedding is not None or len(shape) > 1:
        own = Observations(embedding or nn.Flatten(), shape)
        shape = (own.n_features,)
    flow = (recipe or DEFAULT).build((features,), shape, standardise=own is None)
    parts = parts_of(flow.bijection)
    parts += [] if own is None else [Standardise((features,))]
    if bounds is not None and any(end.isfinite().any() for end in bounds):
        parts.append(Support(*bounds))
    return Flow(
        Chain(parts), flow.base, context_shape=tuple(observed), embedding=own or flow.embedding
    )
