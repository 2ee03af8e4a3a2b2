"""The baseline of audio: each sample is Gaussian, its mean linear in those before it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.data import AudioSchema, Batch
from caudal.data.audio import Clips
from caudal.data.source import permutation
from caudal.flow import Flow
from caudal.numerics import bound, uniform
from caudal.report.baseline import Baseline

ORDER = 32
MOST = 2_000_000  # samples it is fitted to
CHUNK = 2**16  # samples at a time, which bounds the memory


@dataclass(frozen=True)
class Autoregression(Baseline):
    """A density of audio: y_t ~ N(bias + sum_k coefficient_k y_(t-k), std^2), y = x + u.

    x are whole numbers, u is uniform in [0, 1), and what is before the start is 0. This is linear
    prediction, with one loudness for all of its residuals.

    Attributes:
        coefficients: (P,) float64; the first is that of the sample just before.
        bias: in whole numbers.
        std: of a residual, in whole numbers.
        bits: of a sample.
        note: what it is, in words.
    """

    name = "linear prediction"

    coefficients: Tensor
    bias: float
    std: float
    bits: int
    note: str

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        flow: Flow | None,
        source: Clips,
        schema: AudioSchema,
        seed: int = 0,
        most: int | None = None,
        order: int = ORDER,
    ) -> Self:
        """The autoregression of highest likelihood for the clips, by least squares in float64.

        Args:
            flow: not used.
            source: the training clips.
            schema: what they are.
            seed: of the dequantisation noise, and of which clips are taken if they are long.
            most: how many samples to take, MOST if None.
            order: how many samples before it each one is predicted from.
        """
        generator = torch.Generator().manual_seed(seed)
        cross, count = torch.zeros(order + 2, order + 2, dtype=torch.float64), 0
        for x in _some(source, seed, MOST if most is None else most):
            y = x + uniform(x, generator)
            for rows in _rows(y, order):
                cross += rows.T @ rows
            count += len(y)
        solution, variance = _least_squares(cross, count)
        note = (
            f"an autoregression of order {order}, Gaussian, fitted by least squares to {count:,} "
            f"samples of the training clips, uniformly dequantised; its bits are of whole "
            f"{schema.bits}-bit numbers, as the flow's are"
        )
        # The noise alone has a variance of 1/12.
        std = math.sqrt(max(variance, 1 / 12))
        return cls(solution[1:], float(solution[0]), std, schema.bits, note)

    def log_prob(
        self, flow: Flow, batch: Batch, same: torch.Generator, own: torch.Generator
    ) -> Tensor:
        return self.log_mass(batch.x[:, 0], own)

    def log_mass(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Log-mass of x (B, T), whole numbers, in nats, a lower bound: (B,) float64.

        `generator` draws the noise, on the CPU.
        """
        x = x.double().cpu()
        residual = self.residuals(x + uniform(x, bound(generator, x))) / self.std
        constant = math.log(self.std) + 0.5 * math.log(2 * math.pi)
        log_prob = -0.5 * residual.square().sum(1) - constant * x.shape[1]
        full = 1 << (self.bits - 1)
        off = (x != x.round()) | (x < -full) | (x > full - 1)
        return log_prob.masked_fill(off.any(1), -torch.inf)

    def residuals(self, y: Tensor) -> Tensor:
        """What is left of y (B, T) when its mean is taken off, in whole numbers (B, T)."""
        before = F.pad(y, (len(self.coefficients), 0))[:, None, :-1]
        predicted = F.conv1d(before, self.coefficients.flip(0)[None, None])
        return y - predicted[:, 0] - self.bias

    def fits(self, flow: Flow, schema: Any) -> bool:
        return self.bits == schema.bits

    def tensors(self) -> dict[str, Tensor]:
        return {
            "coefficients": self.coefficients,
            "bias": torch.tensor(self.bias, dtype=torch.float64),
            "std": torch.tensor(self.std, dtype=torch.float64),
            "bits": torch.tensor(self.bits),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], note: str) -> Self:
        bias, std, bits = float(tensors["bias"]), float(tensors["std"]), int(tensors["bits"])
        return cls(tensors["coefficients"], bias, std, bits, note)


def _least_squares(cross: Tensor, count: int) -> tuple[Tensor, float]:
    """Bias and coefficients, and the variance of residuals, from products of rows [1, x, y]."""
    features, target = cross[:-1, :-1], cross[:-1, -1]
    # Scaled to a diagonal of ones, and solved even where samples depend linearly on each other.
    scale = features.diagonal().sqrt()
    inverse = torch.linalg.pinv(features / scale / scale[:, None], rtol=1e-13, hermitian=True)
    solution = inverse @ (target / scale) / scale
    return solution, float(cross[-1, -1] - solution @ target) / count


def _some(clips: Clips, seed: int, most: int) -> Iterator[Tensor]:
    """Clips (T,) float64 in a random order, up to `most` samples of them in all."""
    for index in permutation(len(clips.names), seed).tolist():
        if most <= 0:
            return
        x = clips.clip(index).x[0, :most].double().cpu()
        most -= len(x)
        yield x


def _rows(y: Tensor, order: int) -> Iterator[Tensor]:
    """A row [1, the samples before it, nearest first, the sample] for each sample of y (T,)."""
    windows = F.pad(y, (order, 0)).unfold(0, order + 1, 1).flip(1)  # (T, P + 1)
    for some in windows.split(CHUNK):
        yield torch.cat([torch.ones_like(some[:, :1]), some[:, 1:], some[:, :1]], 1)
