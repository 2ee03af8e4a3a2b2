"""The baseline of tables: one Gaussian with a full covariance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from caudal.data import Batch, Source
from caudal.flow import Flow
from caudal.report.baseline import RIDGE, Baseline, cholesky, moments
from caudal.report.items import noise, place

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
    def fit(cls, flow: Flow, source: Source, schema: Any = None, seed: int = 0) -> Self:
        generator = noise(flow, seed)
        placed = (place(flow, batch) for batch in source.items())
        n, mean, cov = moments((flow.lift(x, generator)[0], flow.embed(c)) for x, c in placed)
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
        y, log_q = flow.lift(batch.x, same)
        return self.log_density(y, flow.embed(batch.context)) - log_q.double()

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
