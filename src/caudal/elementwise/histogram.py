"""A density that is flat within each of many bins, as a map: WaveNet's 256-way softmax."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from caudal.elementwise.protocol import Elementwise, Scalar


class _Bin(NamedTuple):
    """Where an element falls; everything in units of [0, 1]."""

    number: Tensor
    low: Tensor  # of the cumulated probability
    log_share: Tensor  # its probability


@dataclass(frozen=True)
class Histogram(Elementwise):
    """z = F(x) on [-1, 1], F the CDF (from -1 to 1) of a density flat in each of K equal bins.

    Parameters: K logits. With a uniform base on [-1, 1] the density in bin k is the softmax
    probability of k over the width of a bin, so the mass of a bin *is* the softmax: the classical
    categorical output as a flow. What lies outside [-1, 1] is left as it is, at density zero.
    Reference: WaveNet (van den Oord et al., 2016), arXiv:1609.03499.
    """

    bins: int = 256

    @property
    def n_params(self) -> int:
        return self.bins

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        log_share, ends = _cumulated(params)
        # Within what bins of any mass take up: no other is drawn.
        least = torch.finfo(z.dtype).eps / 2
        unit = ((z.clamp(-1, 1) + 1) / 2).clamp(least, 1 - least)
        index = (unit.unsqueeze(1) >= ends[:, :-1]).sum(1, keepdim=True)
        piece = _take(index, ends, log_share)
        within = ((unit - piece.low) * (-piece.log_share).exp()).clamp(0, 1)
        x = 2 * (piece.number + within) / self.bins - 1
        return self._inside(z, x, -self._log_slope(piece))

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        log_share, ends = _cumulated(params)
        place = (x.clamp(-1, 1) + 1) / 2 * self.bins
        index = place.detach().nan_to_num().floor().clamp(0, self.bins - 1).long().unsqueeze(1)
        piece = _take(index, ends, log_share)
        z = 2 * (piece.low + (place - piece.number) * piece.log_share.exp()) - 1
        return self._inside(x, z, self._log_slope(piece))

    def _log_slope(self, piece: _Bin) -> Tensor:
        """Log dz/dx: the density over that of the uniform."""
        return piece.log_share + math.log(self.bins)

    @staticmethod
    def _inside(given: Tensor, found: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
        inside = given.abs() <= 1
        return torch.where(inside, found, given), torch.where(inside, log_slope, 0.0)

    @property
    def scalar(self) -> Scalar:
        return Scalar("histogram", (self.bins,))

    def in_tails(self, x: Tensor) -> None:
        return None


def _cumulated(params: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the probabilities, and their sums up to each bin, the last of them 1."""
    log_share = params.log_softmax(1)
    ends = log_share.exp().cumsum(1)
    return log_share, ends / ends[:, -1:]


def _take(index: Tensor, ends: Tensor, log_share: Tensor) -> _Bin:
    share = log_share.gather(1, index)
    low = ends.gather(1, index) - share.exp()
    return _Bin(index.squeeze(1).to(ends.dtype), low.squeeze(1), share.squeeze(1))
