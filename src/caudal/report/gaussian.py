"""The baseline: one Gaussian with a full covariance."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from caudal import files
from caudal.data import Batch, Source
from caudal.errors import InputError
from caudal.flow import Flow

ROWS = 4096  # at a time: bounds the memory, and fixes the order in which noise is drawn
RIDGE = 1e-6
_PARTS = ("bias", "weight", "factor")
WHAT = "full-covariance Gaussian, fitted by maximum likelihood to the training rows"


@dataclass(frozen=True)
class Gaussian:
    """A density of lifted rows y given context features e: N(y; bias + e weight, L L^T).

    Lifted rows are the user's own units with rounding noise, filled gaps and flags for missing
    values (see `Flow.lift`), so that the flow and the Gaussian bound the same probability. Without
    context the mean is constant; with it, linear in the features that the flow sees too.

    Attributes:
        bias: (D,) float64.
        weight: (E, D) float64, E = 0 without context.
        factor: L, lower triangular (D, D) float64; (D,), its diagonal, where elements are
            independent.
        note: what the Gaussian is, in words, and whether it had to be regularised.
    """

    bias: Tensor
    weight: Tensor
    factor: Tensor
    note: str

    def log_prob(self, y: Tensor, features: Tensor | None = None) -> Tensor:
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


@torch.no_grad()
def fit_gaussian(flow: Flow, source: Source, seed: int = 0) -> Gaussian:
    """The Gaussian of highest likelihood for all rows of `source`, in one pass.

    `seed` draws the noise with which `flow` lifts the rows.
    """
    generator = noise(flow, seed)
    pairs = ((flow.lift(x, generator)[0], flow.embed(c)) for x, c in on_device(flow, source))
    n, mean, cov = moments(pairs)
    e = mean.numel() - flow.base.event_shape[0]
    weight = torch.linalg.pinv(cov[:e, :e], rtol=1e-10, hermitian=True) @ cov[:e, e:]
    residual = cov[e:, e:] - cov[e:, :e] @ weight
    factor, ridged = cholesky(residual)
    note = WHAT + (", its mean linear in the context" if e else "") + f" ({n:,} of them)"
    if ridged:
        note += f"; its covariance is singular, so {RIDGE:g} of each variance was added"
    return Gaussian(mean[e:] - mean[:e] @ weight, weight, factor, note)


def save_gaussian(path: str | Path, gaussian: Gaussian) -> None:
    """Writes a Gaussian to a .safetensors file, atomically."""
    from safetensors.torch import save

    parts = {name: getattr(gaussian, name).cpu().contiguous() for name in _PARTS}
    with files.atomic(path) as temporary:
        # Not save_file, whose files nobody else may read.
        temporary.write_bytes(save(parts, {"note": gaussian.note}))


def load_gaussian(path: str | Path) -> Gaussian:
    """The Gaussian that `save_gaussian` wrote.

    Raises:
        InputError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            parts = {name: file.get_tensor(name) for name in _PARTS}
            return Gaussian(**parts, note=(file.metadata() or {}).get("note", WHAT))
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged ({reason}): remove it, it is made anew") from None


def noise(flow: Flow, seed: int) -> torch.Generator:
    """A seeded generator on the flow's device."""
    return torch.Generator(flow.base.like.device).manual_seed(seed)


def on_device(flow: Flow, source: Source) -> Iterator[Batch]:
    """All rows in order, where the flow is and in its dtype."""
    return (place(flow, batch) for batch in source.ordered(ROWS))


def place(flow: Flow, batch: Batch) -> Batch:
    """A batch where the flow is and in its dtype."""
    like = flow.base.like
    return Batch(batch.x.to(like), None if batch.context is None else batch.context.to(like))


def moments(
    pairs: Iterable[tuple[Tensor, Tensor | None]], full: bool = True
) -> tuple[int, Tensor, Tensor]:
    """Count, mean and covariance (biased) of rows [features, y], in float64.

    Unless `full`, of the covariance the diagonal only.
    """
    count = 0
    shift = total = cross = torch.zeros(())
    for y, features in pairs:
        rows = (y if features is None else torch.cat([features, y], 1)).double()
        # Sums about a point inside the data keep their digits; sums about 0 may not.
        shift = rows.mean(0) if count == 0 else shift
        rows = rows - shift
        count += len(rows)
        total = total + rows.sum(0)
        cross = cross + (rows.T @ rows if full else rows.square().sum(0))
    mean = total / count
    square = torch.outer(mean, mean) if full else mean.square()
    return count, shift + mean, cross / count - square


def cholesky(cov: Tensor) -> tuple[Tensor, bool]:
    """Cholesky's factor L of cov = L L^T, and whether the diagonal had to be raised for one."""
    std = cov.diagonal().clamp(min=0).sqrt()
    std = torch.where(std > 0, std, 1.0)
    correlation = cov / std[:, None] / std
    ridged = bool(torch.linalg.eigvalsh(correlation)[0] < 1e-10)
    if ridged:
        correlation = correlation + RIDGE * torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    return std[:, None] * torch.linalg.cholesky(correlation), ridged
