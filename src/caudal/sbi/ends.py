"""How near to the ends of the prior a posterior lies, as a flow is told it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijection import Bijection, Chain, Within, parts_of
from caudal.bijections import Correlate


class NearEnds(Within):
    """Runs a bijection after a regression on the context, from which it learns where ends are.

    x = m + L y,  m = mean + W c,  y = bijection(z; c, e),
    e = softplus((m - 1) / s), softplus(-m / s)

    for parameters x whose ends are at 0 and 1, up to a softness s, as `SoftClip` has them. An
    observation near the end of a prior cuts the posterior off within a small part of all
    observations; of c alone, a net would need many simulations there to learn where that begins.
    Away from the ends e is 0.

    Args:
        parts: of the bijection, from the noise to the data, given `context` + `n_features(soft)`.
        features: D, the length of an event.
        context: C, how many numbers of context there are.
        soft: s of each parameter (D,), 0 where it has no two ends.
    """

    soft: Tensor

    def __init__(
        self, parts: Sequence[Bijection], features: int, context: int, soft: Tensor
    ) -> None:
        super().__init__(Chain([*parts, Correlate(features, context)]))
        self.register_buffer("soft", soft)

    @staticmethod
    def n_features(soft: Tensor) -> int:
        """How many numbers e has."""
        return 2 * int((soft > 0).sum())

    def take(self, event: Tensor) -> Tensor:
        return event

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return taken

    def given(self, event: Tensor, context: Tensor | None) -> Tensor:
        assert context is not None
        regression = parts_of(self.bijection)[-1]
        assert isinstance(regression, Correlate)
        ended = self.soft > 0
        m, s = regression.expected(context)[:, ended], self.soft[ended]
        return torch.cat([context, F.softplus((m - 1) / s), F.softplus(-m / s)], 1)
