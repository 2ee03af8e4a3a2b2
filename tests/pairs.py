"""Students and teachers whose divergences are known in closed form."""

import math

import torch

from caudal import Bijection, Chain, Flow
from caudal.base import Base, Normal
from caudal.bijections import Standardise


def gaussian(mean, std, features=1):
    """N(mean, std^2) of each column, in float64."""
    layer = Standardise((features,))
    layer.mean.fill_(mean)
    layer.std.fill_(std)
    return Flow(layer, Normal((features,))).double().eval()


class Modes(Base):
    """A mixture of N(centre, 1), equal shares of each centre, the same in no other column."""

    def __init__(self, centres, features=2):
        super().__init__((features,))
        self.centres = torch.tensor(centres, dtype=torch.float64)

    def log_prob(self, z):
        first = torch.distributions.Normal(self.centres, 1.0).log_prob(z[:, :1])
        rest = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 1:]).sum(1)
        return first.logsumexp(1) - torch.tensor(float(len(self.centres))).log() + rest

    def sample(self, n, generator=None):
        z = torch.randn(n, *self.event_shape, generator=generator, dtype=torch.float64)
        chosen = torch.randint(len(self.centres), (n,), generator=generator)
        z[:, 0] += self.centres[chosen]
        return z


def modes(*centres):
    """A mixture along the first of two columns, in float64."""
    return Flow(Chain([]), Modes(centres)).double().eval()


def positive_half():
    """|z|, z normal, in float64: the density of rows below 0 is 0."""
    return Flow(Fold(), HalfNormal((1,))).double().eval()


class HalfNormal(Normal):
    def log_prob(self, z):
        return super().log_prob(z) + math.log(2)

    def sample(self, n, generator=None):
        return super().sample(n, generator).abs()


class Fold(Bijection):
    """The identity above 0; below, the log-det is -inf."""

    def forward(self, z, context=None):
        return z, z.new_zeros(len(z))

    def inverse(self, x, context=None):
        return x, torch.where(x[:, 0] >= 0, 0.0, -torch.inf).to(x)


class Shift(Bijection):
    """x = z + context."""

    def forward(self, z, context=None):
        return z + context, z.new_zeros(len(z))

    def inverse(self, x, context=None):
        return x - context, x.new_zeros(len(x))
