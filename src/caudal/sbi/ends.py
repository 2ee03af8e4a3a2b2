"""How near to the ends of the prior a posterior lies, as a flow is told it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caudal.bijection import Bijection, Chain, Within, parts_of
from caudal.bijections import Correlate


class NearEnds(Within):
    """Runs a bijection after a regression on the context, which also says how near the ends are.

    x = m + L y,  m = mean + W c,  y = bijection(z; c, e),
    e = Phi((m - 1) / s), Phi(-m / s),  s_i^2 = sum_j L_ij^2

    for parameters x between 0 and 1, but for the softness of `SoftClip`, which is small in the
    beginning and learned. So e is about how much of the linear-Gaussian posterior lies beyond each
    end. There the prior cuts the posterior off within a small part of all observations, and of c
    alone a net would need many simulations to learn where that begins.

    Args:
        parts: of the bijection, from the noise to the data, given `context` + `n_told(ended)`
            numbers.
        features: D, the length of an event.
        context: C, how many numbers of context there are.
        ended: which parameters have two ends, (D,).
    """

    ended: Tensor

    def __init__(
        self, parts: Sequence[Bijection], features: int, context: int, ended: Tensor
    ) -> None:
        super().__init__(Chain([*parts, Correlate(features, context)]))
        self.register_buffer("ended", ended)

    @staticmethod
    def n_told(ended: Tensor) -> int:
        """How many numbers e has."""
        return 2 * int(ended.sum())

    def take(self, event: Tensor) -> Tensor:
        return event

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return taken

    def given(self, event: Tensor, context: Tensor | None) -> Tensor:
        regression = parts_of(self.bijection)[-1]
        assert context is not None
        assert isinstance(regression, Correlate)
        m, s = (part[..., self.ended] for part in regression.expected(context))
        beyond = torch.special.ndtr((m - 1) / s), torch.special.ndtr(-m / s)
        return torch.cat([context, *beyond], 1)
