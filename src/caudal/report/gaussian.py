"""The baseline of tables and of images: one Gaussian, of rows or of the logits of pixels."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from caudal.bijection import Chain
from caudal.bijections import Logit, Rescale
from caudal.data import Batch, ImageSchema, Source
from caudal.data.images.alpha import IMAGES, fitting_alpha
from caudal.data.source import weights_of
from caudal.dequantization import ImageDequantization
from caudal.flow import Flow
from caudal.numerics import ENOUGH, shrunk
from caudal.report.baseline import Baseline
from caudal.report.items import noise, place

RIDGE = 1e-6
WHAT = "full-covariance Gaussian, fitted by maximum likelihood to the training rows"


@dataclass(frozen=True)
class Gaussian(Baseline):
    """A density of lifted rows y given context features e: N(y; bias + e weight, L L^T).

    Lifted rows are in the user's own units, with rounding noise, filled gaps and flags for missing
    values (see `Flow.lift`), so that the flow and the Gaussian bound the same probability. Without
    context the mean is constant; with it, the mean is linear in the features that the flow sees.

    Attributes:
        bias: (D,) float64.
        weight: (E, D) float64, E = 0 without context.
        factor: L, lower triangular (D, D) float64; (D,), its diagonal, where elements are
            independent.
        note: what the Gaussian is, in words, and whether it had to be regularised.
    """

    name = "Gaussian"

    bias: Tensor
    weight: Tensor
    factor: Tensor
    note: str

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        flow: Flow,
        source: Source,
        schema: Any = None,
        seed: int = 0,
        most: int | None = None,
    ) -> Self:
        generator = noise(flow, seed)
        placed = (place(flow, batch) for batch in source.items(most))
        n, mean, cov = moments(
            (flow.lift(b.x, generator)[0], flow.embed_linear(b.context), weights_of(b))
            for b in placed
        )
        e = mean.numel() - flow.base.event_shape[0]
        weight = torch.linalg.pinv(cov[:e, :e], rtol=1e-10, hermitian=True) @ cov[:e, e:]
        residual = cov[e:, e:] - cov[e:, :e] @ weight
        factor, ridged = cholesky(residual)
        note = WHAT + (", its mean linear in the context" if e else "") + f" ({n:,} of them)"
        if ridged:
            note += f"; its covariance is singular, so {RIDGE:g} of each variance was added"
        return cls(mean[e:] - mean[:e] @ weight, weight, factor, note)

    def log_prob(
        self, flow: Flow, batch: Batch, same: torch.Generator, own: torch.Generator
    ) -> Tensor:
        y, log_q = flow.lift(batch.x, same, batch.context)
        return self.log_density(y, flow.embed_linear(batch.context)) - log_q.double()

    def log_density(self, y: Tensor, features: Tensor | None = None) -> Tensor:
        """Log-density of y (B, D) given features (B, E), in nats: (B,) float64."""
        bias, weight, factor = (t.to(y.device) for t in (self.bias, self.weight, self.factor))
        centred = y.double() - bias
        if features is not None:
            centred = centred - features.double() @ weight
        if factor.ndim == 1:
            white, diagonal = (centred / factor).T, factor
        else:
            white = torch.linalg.solve_triangular(factor, centred.T, upper=False)
            diagonal = factor.diagonal()
        constant = 0.5 * y.shape[1] * math.log(2 * math.pi)
        return -0.5 * white.square().sum(0) - diagonal.log().sum() - constant

    def fits(self, flow: Flow, schema: Any) -> bool:
        return self.bias.shape == flow.base.event_shape

    def tensors(self) -> dict[str, Tensor]:
        return {"bias": self.bias, "weight": self.weight, "factor": self.factor}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], note: str) -> Self:
        return cls(tensors["bias"], tensors["weight"], tensors["factor"], note or WHAT)


def moments(
    parts: Iterable[tuple[Tensor, Tensor | None, Tensor | None]], full: bool = True
) -> tuple[int, Tensor, Tensor]:
    """Count, mean and (biased) covariance of rows [features, y], in float64.

    Parts are y, features and weights, the latter two None without. Unless `full`, only the
    diagonal of the covariance is computed.
    """
    count, whole = 0, 0.0
    shift = total = cross = torch.zeros(())
    for y, features, weights in parts:
        rows = (y if features is None else torch.cat([features, y], 1)).double()
        # Sums about a point inside the data keep their digits; sums about 0 may not.
        shift = rows.mean(0) if count == 0 else shift
        rows = rows - shift
        counted = rows if weights is None else weights.to(rows)[:, None] * rows
        count += len(rows)
        whole += len(rows) if weights is None else float(weights.double().sum())
        total = total + counted.sum(0)
        cross = cross + (counted.T @ rows if full else (counted * rows).sum(0))
    mean = total / whole
    square = torch.outer(mean, mean) if full else mean.square()
    return count, shift + mean, cross / whole - square


def cholesky(cov: Tensor) -> tuple[Tensor, bool]:
    """Cholesky's factor L of cov = L L^T, and whether the diagonal had to be raised to get it."""
    std = cov.diagonal().clamp(min=0).sqrt()
    std = torch.where(std > 0, std, 1.0)
    correlation = cov / std[:, None] / std
    ridged = bool(torch.linalg.eigvalsh(correlation)[0] < 1e-10)
    if ridged:
        correlation = correlation + RIDGE * torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    return std[:, None] * torch.linalg.cholesky(correlation), ridged


# --- images --------------------------------------------------------------------------------------

MOST = 4096  # elements, whose covariance takes 128 MiB
_TIMED = 128  # images
_TIMED_SIDE = 1024  # of a covariance
INK, PHOTOGRAPHS = 1e-6, 0.05
"""MAF's alphas of the logit, of which the Gaussian takes the one that fits its images better.

So it scores as in the paper: 2.01 bits/dim on MNIST and 4.63 on CIFAR-10.
"""


@dataclass(frozen=True)
class PixelGaussian(Baseline):
    """A density of images: uniform dequantisation, logit, and a Gaussian of these.

    y = logit(alpha + (1 - 2 alpha) (v + u) / levels), y ~ N.
    Reference: Masked autoregressive flow (Papamakarios, Pavlakou, Murray, 2017), Table 2,
    arXiv:1705.07057.

    Attributes:
        gaussian: of the logits (D,).
        shape: channels, height, width.
        levels: values a pixel can have.
        alpha: of the logit.
    """

    name = "Gaussian"

    gaussian: Gaussian
    shape: tuple[int, ...]
    levels: int
    alpha: float

    @property
    def note(self) -> str:  # type: ignore[override]
        """What it is, in words."""
        return self.gaussian.note

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        flow: Flow | None,
        source: Source,
        schema: ImageSchema,
        seed: int = 0,
        most: int | None = None,
    ) -> Self:
        """The Gaussian of highest likelihood, if there are enough images for that.

        If there are too few for a full covariance, it is shrunk; if images are too large for one,
        their pixels are taken as independent. The note says which. It is fitted where the images
        are.
        """
        some = torch.cat([batch.x for batch in source.items(IMAGES)])
        alpha = fitting_alpha(some, schema.levels, (INK, PHOTOGRAPHS))
        generator = torch.Generator().manual_seed(seed)
        pairs = (
            (to_logits(batch.x, schema.levels, alpha, generator)[0], None, weights_of(batch))
            for batch in source.items(most)
        )
        n, mean, cov = moments(pairs, full=schema.countable <= MOST)
        factor, how = _factor(cov, n)
        note = (
            f"one Gaussian {how}, fitted to {_named(n, source)}, uniformly dequantised, in "
            f"logits with alpha {alpha:g}; its bits/dim are of whole pixel values, as the flow's "
            f"are"
        )
        # Laid out as it comes back from its file, so that both score the same to the last digit.
        factor = factor.contiguous()
        gaussian = Gaussian(mean, mean.new_zeros(0, len(mean)), factor, note)
        return cls(gaussian, schema.shape, schema.levels, alpha)

    @classmethod
    def seconds(cls, source: Source, schema: ImageSchema) -> tuple[float, float]:
        """A product of matrices for each image, and once Cholesky's factor of a large one."""
        x, full = next(source.items(_TIMED)).x, schema.countable <= MOST
        generator = torch.Generator().manual_seed(0)
        marks = [time.monotonic()]
        y, _ = to_logits(x, schema.levels, PHOTOGRAPHS, generator)
        marks.append(time.monotonic())
        for copies in (1, 2):  # the second one is what each further batch takes
            _, _, cov = moments([(y, None, None)] * copies, full)
            marks.append(time.monotonic())
        lifting, one, two = (b - a for a, b in pairwise(marks))
        each = max(two - one, 0.0)
        part = cov[:_TIMED_SIDE, :_TIMED_SIDE] if full else cov
        start = time.monotonic()
        _factor(part, len(x))
        growth = (len(cov) / len(part)) ** 2.5  # measured: large products are more efficient
        once = max(one - each, 0.0) + growth * (time.monotonic() - start)
        return once, (lifting + each) / len(x)

    def log_prob(
        self, flow: Flow, batch: Batch, same: torch.Generator, own: torch.Generator
    ) -> Tensor:
        return self.log_mass(batch.x, own)

    def log_mass(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Log-mass of images (B, C, H, W) in nats, a lower bound: (B,) float64.

        `generator` draws the noise, on the CPU.
        """
        y, log_det = self.logits(x, generator)
        return self.gaussian.log_density(y) + log_det

    def logits(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, D) float64 of images and their log-det, which is -inf outside the levels."""
        return to_logits(x, self.levels, self.alpha, generator)

    def fits(self, flow: Flow, schema: Any) -> bool:
        return (tuple(self.shape), self.levels) == (schema.shape, schema.levels)

    def tensors(self) -> dict[str, Tensor]:
        return {
            "mean": self.gaussian.bias,
            "factor": self.gaussian.factor,
            "shape": torch.tensor(self.shape),
            "levels": torch.tensor(self.levels),
            "alpha": torch.tensor(self.alpha, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], note: str) -> Self:
        # Copied, as the memory of a file is not aligned, which changes the last digits.
        mean, factor = (tensors[k].to(torch.float64, copy=True) for k in ("mean", "factor"))
        gaussian = Gaussian(mean, mean.new_zeros(0, len(mean)), factor, note)
        shape, levels = tuple(tensors["shape"].tolist()), int(tensors["levels"])
        return cls(gaussian, shape, levels, float(tensors["alpha"]))


def to_logits(
    x: Tensor, levels: int, alpha: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Dequantised logits (B, D) float64 of images (B, C, H, W), and their log-det (B,)."""
    # The noise is drawn where every machine draws the same.
    lifted, log_q = ImageDequantization(x.shape[1:], levels).lift(x.double().cpu(), generator)
    y, log_det = Chain([Logit(alpha), Rescale(1 / levels)]).inverse(lifted.to(x.device))
    return y.flatten(1), log_det - log_q.to(x.device)


def _named(n: int, source: Source) -> str:
    """The images that a Gaussian was fitted to."""
    return f"the {n:,} training images" if n == source.n_items else f"{n:,} of the training images"


def _factor(cov: Tensor, n: int) -> tuple[Tensor, str]:
    """The factor of a covariance of n images (of a diagonal one, its root), and what it is."""
    if cov.ndim == 1:
        tiny = torch.finfo(cov.dtype).tiny
        how = f"of independent pixels, a covariance of more than {MOST} elements being too large"
        return cov.clamp(min=tiny).sqrt(), how
    how = "with a full covariance of maximum likelihood"
    if few := n < ENOUGH * len(cov):
        cov, share = shrunk(cov, n)
        how = (
            f"with a full covariance, {share:.1%} of the way to independent pixels (OAS: so few "
            f"images would make that of maximum likelihood far too narrow)"
        )
    factor, ridged = cholesky(cov)
    return factor, how + (", regularised" if ridged and not few else "")
