"""Monotone rational-quadratic splines: of the line, and of the circle."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.elementwise.affine import soft_bound
from caudal.elementwise.protocol import Elementwise, Scalar


class Piece(NamedTuple):
    """The piece of the spline an element falls in; lengths in units of the domain [0, 1]."""

    left: Tensor  # start in x
    width: Tensor
    bottom: Tensor  # start in z
    height: Tensor
    slope_left: Tensor  # dz/dx at the two ends
    slope_right: Tensor


class Spline(Elementwise):
    """What splines of a domain onto itself share; both are scaled to [0, 1].

    K widths and K heights (softmax, each at least `min_size` of the domain) come before the raw
    slopes (softplus, at least `min_slope`).
    """

    bins: int
    min_size: float
    min_slope: float

    def __post_init__(self) -> None:
        if self.bins < 2 or self.bins * self.min_size >= 1:
            raise ValueError(f"`bins` must be 2 to {int(1 / self.min_size) - 1}, got {self.bins}")

    @abstractmethod
    def _knot_slopes(self, params: Tensor) -> Tensor:
        """Raw slopes at the K + 1 knots, (B, K + 1, *event), of params (B, P, *event)."""

    def _pieces(self, unit: Tensor, params: Tensor, *, by_height: bool) -> Piece:
        if params.stride(0) != 1 or params.shape[0] == 1:
            return self._locate(unit, params, by_height=by_height)
        # The batch is contiguous in memory, as masked nets leave it. Elements can be in any order,
        # and with the batch last this takes 0.6 of the time.
        piece = self._locate(unit.transpose(0, -1), params.transpose(0, -1), by_height=by_height)
        return Piece(*(part.transpose(0, -1) for part in piece))

    def _locate(self, unit: Tensor, params: Tensor, *, by_height: bool) -> Piece:
        bins = self.bins
        sizes = self._sizes(params[:, : 2 * bins].unflatten(1, (2, bins)))  # (B, 2, K, *event)
        ends = sizes.cumsum(2)
        search = ends[:, 1 if by_height else 0, :-1]
        index = (unit.unsqueeze(1) >= search).sum(1, keepdim=True)  # (B, 1, *event), 0 .. K - 1
        both = index.unsqueeze(1).expand(-1, 2, -1, *[-1] * (unit.ndim - 1))
        size = sizes.gather(2, both).squeeze(2)  # (B, 2, *event)
        start = ends.gather(2, both).squeeze(2) - size
        raw = self._knot_slopes(params)
        return Piece(
            start[:, 0],
            size[:, 0],
            start[:, 1],
            size[:, 1],
            self._slope(raw.gather(1, index).squeeze(1)),
            self._slope(raw.gather(1, index + 1).squeeze(1)),
        )

    def _sizes(self, raw: Tensor) -> Tensor:
        """Widths and heights (B, 2, K, *event), each of sum 1."""
        return self.min_size + (1 - self.min_size * self.bins) * raw.softmax(2)

    def _slope(self, raw: Tensor) -> Tensor:
        """Positive, and exactly 1 at zero."""
        return self.min_slope + F.softplus(raw + math.log(math.expm1(1 - self.min_slope)))


@dataclass(frozen=True)
class RationalQuadraticSpline(Spline):
    """z = a monotone rational-quadratic spline of x on [-bound, bound], and z = x outside.

    Parameters for K bins: K widths and K heights (softmax, each at least `min_size` of the domain)
    and K - 1 inner slopes (softplus, at least `min_slope`; 1 at both ends, so the tails join
    smoothly). The map is in closed form from x to z; from z to x it is the stable root of a
    quadratic.
    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    bins: int = 8
    bound: float = 3.0
    min_size: float = field(default=1e-3, repr=False)
    min_slope: float = field(default=1e-3, repr=False)

    @property
    def n_params(self) -> int:
        return 3 * self.bins - 1

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        v, inside = self._to_unit(z)
        piece = self._pieces(v, params, by_height=True)
        u, slope = solve(v, piece)
        x = (2 * u - 1) * self.bound
        return torch.where(inside, x, z), torch.where(inside, -slope.log(), 0.0)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        u, inside = self._to_unit(x)
        piece = self._pieces(u, params, by_height=False)
        xi = ((u - piece.left) / piece.width).clamp(0, 1)
        v, slope = evaluate(xi, piece)
        z = (2 * v - 1) * self.bound
        return torch.where(inside, z, x), torch.where(inside, slope.log(), 0.0)

    @property
    def scalar(self) -> Scalar:
        return Scalar("spline", (self.bins, self.bound, self.min_size, self.min_slope))

    def in_tails(self, x: Tensor) -> Tensor:
        return x.abs() > self.bound

    def _to_unit(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Clamps *before* the spline, so that no gradient of the unused branch is ever NaN."""
        inside = value.abs() <= self.bound
        return (value.clamp(-self.bound, self.bound) / self.bound + 1) / 2, inside

    def _knot_slopes(self, params: Tensor) -> Tensor:
        # Zero parameters pad both ends: by construction their slope is exactly 1.
        return F.pad(params[:, 2 * self.bins :], [0, 0] * (params.ndim - 2) + [1, 1])


@dataclass(frozen=True)
class SoftSpline(RationalQuadraticSpline):
    """The spline with sizes and slopes as zuko has them, for converted flows.

    Raw sizes pass through a soft bound before the softmax, a / (1 + 2 |a| / c) with c = -log of
    `min_slope`, and slopes are exp(d / (1 + |d| / c)), so that they lie between `min_slope` and
    its inverse. `min_size` has no effect.
    """

    @property
    def scalar(self) -> Scalar:
        return Scalar("soft-spline", (self.bins, self.bound, 0.0, self.min_slope))

    def _sizes(self, raw: Tensor) -> Tensor:
        return soft_bound(raw, -math.log(self.min_slope) / 2).softmax(2)

    def _slope(self, raw: Tensor) -> Tensor:
        return soft_bound(raw, -math.log(self.min_slope)).exp()


@dataclass(frozen=True)
class CircularSpline(Spline):
    """z = s(x) + phase (mod 2 pi) of angles in [-pi, pi], s a spline of the circle onto itself.

    Parameters for K bins: K widths, K heights and K slopes, as of `RationalQuadraticSpline`, and
    the phase. The slope at the seam, where -pi is pi, is one for both sides, so that the density
    is as smooth there as at any knot; the phase brings the seam of the next map elsewhere. Angles
    beyond the circle are taken modulo 2 pi.
    Reference: Normalizing flows on tori and spheres (Rezende et al., 2020), arXiv:2002.02428.
    """

    bins: int = 8
    min_size: float = field(default=1e-3, repr=False)
    min_slope: float = field(default=1e-3, repr=False)

    @property
    def n_params(self) -> int:
        return 3 * self.bins + 1

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        v = _share_of_circle(z - params[:, -1])
        u, slope = solve(v, self._pieces(v, params, by_height=True))
        return (2 * u - 1) * math.pi, -slope.log()

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        u = _share_of_circle(x)
        piece = self._pieces(u, params, by_height=False)
        v, slope = evaluate(((u - piece.left) / piece.width).clamp(0, 1), piece)
        return wrapped((2 * v - 1) * math.pi + params[:, -1]), slope.log()

    def _knot_slopes(self, params: Tensor) -> Tensor:
        slopes = params[:, 2 * self.bins : 3 * self.bins]
        return torch.cat([slopes, slopes[:, :1]], 1)


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi]."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _share_of_circle(angle: Tensor) -> Tensor:
    """How much of the circle lies between -pi and the angle, in [0, 1]."""
    return (torch.remainder(angle + math.pi, 2 * math.pi) / (2 * math.pi)).clamp(0, 1)


def evaluate(xi: Tensor, piece: Piece) -> tuple[Tensor, Tensor]:
    """The spline at the fraction xi of its piece: value and slope (equations 4 and 5)."""
    chord = piece.height / piece.width
    between = xi * (1 - xi)
    bend = piece.slope_left + piece.slope_right - 2 * chord
    denominator = chord + bend * between
    value = piece.height * (chord * xi.square() + piece.slope_left * between) / denominator
    rise = (
        piece.slope_right * xi.square()
        + 2 * chord * between
        + piece.slope_left * (1 - xi).square()
    )
    return piece.bottom + value, chord.square() * rise / denominator.square()


def solve(v: Tensor, piece: Piece) -> tuple[Tensor, Tensor]:
    """The point at which the spline has the value v, and its slope there.

    xi = 2c / (-b - sqrt(b^2 - 4ac)), the form of the root without cancellation. Rounding can take
    the discriminant just below zero; the root is zero there.
    """
    chord = piece.height / piece.width
    above = (v - piece.bottom).clamp(min=0)
    bend = piece.slope_left + piece.slope_right - 2 * chord
    a = piece.height * (chord - piece.slope_left) + above * bend
    b = piece.height * piece.slope_left - above * bend
    c = -chord * above
    discriminant = b.square() - 4 * a * c
    root = discriminant.clamp(min=torch.finfo(v.dtype).tiny).sqrt()
    xi = (2 * c / (-b - root)).clamp(0, 1)
    return piece.left + xi * piece.width, evaluate(xi, piece)[1]
