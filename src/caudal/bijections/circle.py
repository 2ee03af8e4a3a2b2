"""Circles among the columns of a vector: angles from values and from noise.

An angle lies in [-pi, pi], of which both ends are the same point.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from caudal.bijection import Bijection, Within, sum_event

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Uniformise(Bijection):
    """Angles x = pi (2 Phi(z) - 1): standard normal noise becomes uniform on the circle.

    log|dx/dz| = log(2 pi) + log N(z) for each element. So a flow whose base is normal has the
    uniform base of circles, exactly. At the seam z is infinite; there the map is taken a rounding
    step inside, and its log-det and the normal density still cancel.
    """

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        from_seam = 2 * math.pi * torch.special.ndtr(-z.abs())
        return (math.pi - from_seam).copysign(z), -sum_event(_log_slope(z))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        share = (math.pi - x.abs()) / (2 * math.pi)
        z = -torch.special.ndtri(share.clamp(min=torch.finfo(x.dtype).eps, max=0.5))
        z = z.copysign(x)
        return z, sum_event(_log_slope(z))


def winds(bijection: Bijection) -> bool:
    """Whether a bijection has circles, on which even a map of one number is not increasing."""
    return any(isinstance(part, Uniformise) for part in bijection.modules())


def _log_slope(z: Tensor) -> Tensor:
    """Log dz/dx of `Uniformise` as a function of z."""
    return 0.5 * z.square() + _HALF_LOG_TAU - math.log(2 * math.pi)


class Circle(Bijection):
    """Angles z = 2 pi (x - low) / (high - low) - pi of the values x of some columns.

    A column whose ends are infinite is no circle, and stays as it is. Values beyond the ends are
    taken modulo the period; those that come out of the noise lie in [low, high).

    Args:
        low: (D,), the value at which each circle begins, -inf where there is none.
        high: (D,), the value that is the same point, inf where there is none.
    """

    low: Tensor
    period: Tensor
    turns: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        turns = low.isfinite() & high.isfinite()
        if not (low < high).all():
            raise ValueError(f"each `low` must be less than its `high`, got {low} and {high}")
        self.register_buffer("turns", turns, persistent=False)
        self.register_buffer("low", low.where(turns, 0.0), persistent=False)
        self.register_buffer("period", (high - low).where(turns, 2 * math.pi), persistent=False)

    def extra_repr(self) -> str:
        return f"{self.turns.numel()} columns, {int(self.turns.sum())} circles"

    @property
    def ends(self) -> dict[str, tuple[float, float]]:
        """Where each circle begins and ends, by the index of the column, as JSON has it."""
        ends = zip(self.low.tolist(), (self.low + self.period).tolist(), strict=True)
        turns = self.turns.tolist()
        return {str(i): pair for i, pair in enumerate(ends) if turns[i]}

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        share = torch.remainder(z / (2 * math.pi) + 0.5, 1.0)
        last = torch.nextafter(self.low + self.period, self.low)
        x = torch.minimum(self.low + self.period * share, last)
        return torch.where(self.turns, x, z), self._log_det(z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        share = torch.remainder((x - self.low) / self.period, 1.0)
        return torch.where(self.turns, (2 * share - 1) * math.pi, x), -self._log_det(x)

    def _log_det(self, value: Tensor) -> Tensor:
        return (self.period / (2 * math.pi)).log().sum().expand(value.shape[0])


class Latitude(Bijection):
    """z = sin(pi (x - middle) / (high - low)) of latitudes x between two poles, in [-1, 1].

    The area of the sphere between two latitudes is proportional to the difference of their z: with
    a longitude beside it, a density that is uniform in both is uniform on the sphere, and the
    log-det, log cos(latitude) + log(pi / (high - low)) for each, makes it one in the user's units.
    At a pole itself it is -inf. Other columns stay as they are.

    Args:
        low: (D,), the latitude of the southern pole, such as -90.
        high: (D,), that of the northern one.
        columns: (D,), True for latitudes.
    """

    low: Tensor
    high: Tensor
    columns: Tensor

    def __init__(self, low: Tensor, high: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("low", low.where(columns, -1.0), persistent=False)
        self.register_buffer("high", high.where(columns, 1.0), persistent=False)

    def extra_repr(self) -> str:
        return f"{self.columns.numel()} columns, {int(self.columns.sum())} latitudes"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        angle = torch.asin(torch.where(self.columns, z, 0.0).clamp(-1, 1))
        x = torch.where(self.columns, self._middle + angle / self._turn, z)
        return x, -self._log_det(angle)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        angle = torch.where(self.columns, (x - self._middle) * self._turn, 0.0)
        return torch.where(self.columns, angle.sin(), x), self._log_det(angle)

    @property
    def _middle(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def _turn(self) -> Tensor:
        return math.pi / (self.high - self.low)

    def _log_det(self, angle: Tensor) -> Tensor:
        log_slope = angle.cos().clamp(min=0).log() + self._turn.log()
        return sum_event(torch.where(self.columns, log_slope, 0.0))


class Part(Within):
    """Runs a bijection on some columns of a vector (B, D), those where `columns` (D,) is True."""

    columns: Tensor
    index: Tensor

    def __init__(self, bijection: Bijection, columns: Tensor) -> None:
        super().__init__(bijection)
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("index", columns.nonzero().flatten(), persistent=False)

    def extra_repr(self) -> str:
        return f"{int(self.columns.sum())} of {self.columns.numel()} columns, {self.bijection!r}"

    def take(self, event: Tensor) -> Tensor:
        return event.index_select(1, self.index)

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return into.index_copy(1, self.index, taken)


class Given(Part):
    """Runs a bijection on some columns of a vector, given features of the others.

    x[others] = z[others];  x[columns] = bijection(z[columns]; features(z[others]), context).
    It is a coupling whose map is a whole flow: the Jacobian is triangular.

    Args:
        bijection: of the columns; its context is the features, and then that of the flow.
        columns: (D,), True for the columns that it moves.
        features: from the other columns (B, D - n) to their features (B, F).
    """

    others: Tensor

    def __init__(
        self, bijection: Bijection, columns: Tensor, features: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__(bijection, columns)
        self.features = features
        self.register_buffer("others", (~columns).nonzero().flatten(), persistent=False)

    def given(self, event: Tensor, context: Tensor | None) -> Tensor:
        features = self.features(event.index_select(1, self.others))
        return features if context is None else torch.cat([features, context], 1)
