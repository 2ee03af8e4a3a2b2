"""Distribution functions of columns as monotone splines to normal noise, both ways."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.elementwise.spline import Piece, evaluate, solve

PIECES = 512
"""The largest number of pieces of a column's distribution function."""
SHAPE = 0.25
"""xi of the tails: far beyond the data 1 - F falls like x^(-1 / xi)."""
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Fit(NamedTuple):
    """Knots of a column: x ascending, z = Phi^-1(F(x)).

    Further, for the tail at either end, dz/dx where it begins, and by how many powers of e it
    falls exponentially (see `_tail_of`).
    """

    x: np.ndarray
    z: np.ndarray
    tails: tuple[float, float]
    light: tuple[float, float] = (0.0, 0.0)


class Curves(NamedTuple):
    """The distribution functions of D columns.

    Attributes:
        x: the knots, (D, K + 1) ascending.
        z: Phi^-1(F) of the knots.
        tails: dz/dx where the tails begin, (D, 2).
        light: by how many powers of e the tails fall exponentially, (D, 2).
        pieces: what evaluation takes of each piece, (7, D, K); see `pieces_of`.
        scale: (D,), by which x is multiplied in the pieces.
    """

    x: Tensor
    z: Tensor
    tails: Tensor
    light: Tensor
    pieces: Tensor
    scale: Tensor


def pieces_of(x: Tensor, z: Tensor, step: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The splines through knots x and z (D, K + 1): left, width, height, two slopes, F, 1 - F.

    Beside them (7, D, K) stand the powers of two (D,) that bring x to a range of 1 to 2 there, so
    that squares of slopes neither overflow nor vanish, whatever the unit of a column is. They
    change no digit.

    F is that of the left end, 1 - F that of the right end: known from either side, none of them is
    rounded to 0 or 1. Unused pieces at the end have width 0. Within a cell of a lattice, of width
    `step` (D,), and within the place of an atom, (start, end) of `places` (D, A, 2), the density
    does not vary.
    """
    exponent = torch.frexp(x[:, -1] - x[:, 0]).exponent
    scale = torch.ldexp(torch.ones_like(x[:, 0]), 1 - exponent)
    x, step = x * scale[:, None], step * scale
    places = places * scale[:, None, None]
    below, above = _ndtr(z), _ndtr(-z)
    height = torch.where(z[:, 1:] < 0, below.diff(), -above.diff())
    width = x.diff()
    used = width > 0
    chord = torch.where(used, height / torch.where(used, width, 1.0), 1.0)
    middle = (x[:, :-1] + width / 2).unsqueeze(2)
    starts, ends = places.unsqueeze(1).unbind(3)
    in_place = ((middle > starts) & (middle < ends)).any(2)
    smooth = used & (width > 1.5 * step[:, None]) & ~in_place
    both = smooth[:, 1:] & smooth[:, :-1]
    mean = (chord[:, 1:] * chord[:, :-1]).sqrt()
    left = torch.cat([chord[:, :1], torch.where(both, mean, chord[:, 1:])], 1)
    right = torch.cat([torch.where(both, mean, chord[:, :-1]), chord[:, -1:]], 1)
    pieces = [x[:, :-1], width, height, left, right, below[:, :-1], above[:, 1:]]
    return torch.stack(pieces), scale


def _ndtr(z: Tensor) -> Tensor:
    """Phi(z), which keeps its digits far below 0, where PyTorch's own is 0 in 32 bits."""
    return 0.5 * torch.erfc(-math.sqrt(0.5) * z)


def to_z(x: Tensor, curves: Curves) -> tuple[Tensor, Tensor]:
    """Z and log dz/dx of each element, both (B, D)."""
    first, last = curves.x[:, 0], curves.x[:, -1]
    inside = x.clamp(first, last)
    piece, below, above = _locate(inside, curves.x, curves.pieces)
    share = (inside * curves.scale - piece.left) / piece.width
    rise, slope = evaluate(share.clamp(0, 1), piece)
    slope = slope * curves.scale
    below, above = below + rise, above + (piece.height - rise)
    # From the nearer end, where the probability is small and so keeps its digits.
    nearer = torch.minimum(below, above).clamp(torch.finfo(x.dtype).tiny, 0.75)
    z = torch.special.ndtri(nearer)
    z = torch.where(below < above, z, -z)
    log_slope = slope.log() + 0.5 * z.square() + _HALF_LOG_TAU
    is_low, is_high = x < first, x > last
    start, rate, light = _tail_of(curves, is_low)
    excess = torch.maximum(first - x, x - last).clamp(min=0)
    along = (rate * excess).clamp(max=torch.finfo(x.dtype).max)
    grown = (SHAPE * (along - light).clamp(min=0)).log1p()
    fallen = torch.minimum(along, light) + grown / SHAPE
    beyond = (start.square() + 2 * fallen).sqrt()
    z = torch.where(is_low, -beyond, torch.where(is_high, beyond, z))
    log_tail = rate.log() - grown - beyond.log()
    return z, torch.where(is_low | is_high, log_tail, log_slope)


def to_x(z: Tensor, curves: Curves) -> tuple[Tensor, Tensor]:
    """X and log dz/dx of each element, both (B, D)."""
    first, last = curves.z[:, 0], curves.z[:, -1]
    inside = z.clamp(first, last)
    piece, below, above = _locate(inside, curves.z, curves.pieces)
    nearer = _ndtr(-inside.abs())
    rise = torch.where(inside < 0, nearer - below, piece.height - (nearer - above))
    x, slope = solve(torch.minimum(rise.clamp(min=0), piece.height), piece)
    x, slope = x / curves.scale, slope * curves.scale
    log_slope = slope.log() + 0.5 * inside.square() + _HALF_LOG_TAU
    is_low, is_high = z < first, z > last
    start, rate, light = _tail_of(curves, is_low)
    beyond = torch.where(is_low | is_high, z.abs(), start)
    largest = math.log(torch.finfo(z.dtype).max) / 2
    fallen = (beyond.square() - start.square()) / 2
    grown = (SHAPE * (fallen - light).clamp(min=0)).clamp(max=largest)
    excess = (torch.minimum(fallen, light) + grown.expm1() / SHAPE) / rate
    x = torch.where(is_low, curves.x[:, 0] - excess, x)
    x = torch.where(is_high, curves.x[:, -1] + excess, x)
    log_tail = rate.log() - grown - beyond.log()
    return x, torch.where(is_low | is_high, log_tail, log_slope)


def _tail_of(curves: Curves, is_low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each element's tail is told by where it begins in abs(z), its rate a, and t; all (B, D).

    With d the distance to the data, z^2 = start^2 + 2 L(d), where exp(-L) is about the share of
    the tail that is further out. L = a d as far as that is t, so that the density of x falls
    exponentially, and from there on L = t + log(1 + xi (a d - t)) / xi, as in the generalised
    Pareto law of shape xi. The tail joins with the slope dz/dx = a / start.
    """
    start = curves.z[:, [0, -1]].abs()
    start = torch.where(start.isfinite(), start, 1.0)
    both = (start, curves.tails * start, curves.light)
    start, rate, light = (torch.where(is_low, ends[:, 0], ends[:, 1]) for ends in both)
    return start, rate, light


def _locate(value: Tensor, knots: Tensor, pieces: Tensor) -> tuple[Piece, Tensor, Tensor]:
    """The piece into which each value (B, D) falls, with F at its left and 1 - F at its right."""
    index = torch.searchsorted(knots, value.detach().T.contiguous()).T - 1
    index = index.clamp(0, pieces.shape[2] - 1)
    columns = torch.arange(len(knots), device=value.device)
    left, width, height, *slopes, below, above = pieces[:, columns, index]
    return Piece(left, width, torch.zeros_like(left), height, *slopes), below, above


def stack(fits: list[Fit], dtype: torch.dtype) -> dict[str, Tensor]:
    """All columns as tensors of one size; the last knot of each is repeated."""
    padded = [[np.pad(k, (0, PIECES + 1 - len(k)), "edge") for k in fit[:2]] for fit in fits]
    knots = torch.from_numpy(np.array(padded)).to(dtype)
    x, z = (part.contiguous() for part in knots.unbind(1))
    tails = torch.tensor([fit.tails for fit in fits], dtype=dtype)
    return {"x": x, "z": z, "tails": tails, "light": torch.tensor([f.light for f in fits]).to(x)}


def unfitted(low: float, high: float) -> Fit:
    """The map before it is fitted: uniform between two ends, of slope 1 elsewhere."""
    left = low if math.isfinite(low) else min(high, 1.0) - 2.0
    right = high if math.isfinite(high) else left + 2.0
    z = np.array([-1.0 if left != low else -np.inf, 1.0 if right != high else np.inf])
    return Fit(np.array([left, right]), z, (1.0, 1.0))
