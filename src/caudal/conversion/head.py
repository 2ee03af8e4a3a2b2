"""What a peer's net tells of each element, and how we read the same numbers."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caudal.conversion.plan import Part, part


@dataclass(frozen=True)
class Head:
    """An elementwise map, and where its parameters stand among those of the peer.

    Our parameter p is the peer's `take[p]`, times `times[p]`, plus `plus[p]`. The peer has the
    parameters of an element side by side, or with `blocks` all elements of a parameter.
    """

    elementwise: Part
    take: tuple[int, ...]
    times: tuple[float, ...]
    plus: tuple[float, ...]
    blocks: bool = False

    @property
    def n_params(self) -> int:
        return len(self.take)

    def rows(self, features: int) -> Tensor:
        """The peer's row of our parameter p of element d, (P, D)."""
        take, d = torch.tensor(self.take).unsqueeze(1), torch.arange(features)
        return take * features + d if self.blocks else d * self.n_params + take

    def last(self, weight: Tensor, bias: Tensor, rows: Tensor, params: Tensor) -> tuple[Any, Any]:
        """The peer's last layer with our rows: row i has parameter params[i] from row rows[i]."""
        times = torch.tensor(self.times, dtype=bias.dtype)[params].to(bias.device)
        plus = torch.tensor(self.plus, dtype=bias.dtype)[params].to(bias.device)
        scaled = times.view(-1, *[1] * (weight.ndim - 1)) * weight[rows]
        return scaled, times * bias[rows] + plus


def affine(elementwise: Part, take: tuple[int, ...] = (0, 1), blocks: bool = False) -> Head:
    """A head of shift and scale, `take` saying which of the peer's two is which."""
    return Head(elementwise, take, (1.0,) * len(take), (0.0,) * len(take), blocks)


def shift(sign: float = 1.0) -> Head:
    """A head of one shift: x = z + t, or x = z - t for a sign of -1."""
    return Head(part("Shift"), (0,), (sign,), (0.0,))


def spline(bins: int, bound: float, size: float, slope: float, units: int | None) -> Head:
    """The spline of nflows and normflows, whose raw slope is 1 not at zero.

    They divide raw sizes by sqrt(units) where the net tells its number of units.
    """
    share = 1 / math.sqrt(units) if units else 1.0
    options: dict[str, Any] = {
        "bins": bins,
        "bound": float(bound),
        "min_size": size,
        "min_slope": slope,
    }
    inner = bins - 1
    return Head(
        part("RationalQuadraticSpline", **options),
        tuple(range(3 * bins - 1)),
        (share,) * (2 * bins) + (1.0,) * inner,
        (0.0,) * (2 * bins) + (-math.log(math.expm1(1 - slope)),) * inner,
    )
