"""Students and teachers whose divergences are known in closed form."""

import torch

from caudal import Chain, Flow
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
