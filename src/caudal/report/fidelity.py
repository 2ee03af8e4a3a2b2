"""How faithful a student is to its teacher: both densities, and whether rows tell them apart."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.correction import check_pair, weighted_sample
from caudal.dequantization import TableDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.report.items import noise
from caudal.report.numbers import mean_two_se, plain
from caudal.report.two_sample import column_distances, two_sample
from caudal.weights import effective_share, pareto_k

MISSED = 5.0
"""Nats by which the student's log-density is too low: it draws such rows 150 times too rarely."""
FEATURES = 256  # pixels of an image that the classifier sees


@dataclass(frozen=True)
class Fidelity:
    """A student q beside its teacher p, as densities of lifted rows (`Flow.continuous`).

    Where one of them is estimated, the divergences are estimates with the same mean, and their
    standard errors include that; ess, pareto_k and missed look worse than they are.

    Attributes:
        n: rows that were drawn from each.
        dims: numbers in a lifted row.
        reverse_kl: E_q[log q - log p] in nats a row: what the student draws and should not.
        reverse_two_se: two standard errors of it; NaN where it is infinite.
        forward_kl: E_p[log p - log q] in nats a row: what the student does not draw and should.
        forward_two_se: two standard errors of it; NaN where it is infinite.
        ess: effective size of the student's rows under w = p / q, as a share of them.
        pareto_k: tail index of w; above 0.7 its means are not to be relied on.
        missed: share of the teacher's rows with log p - log q above 5 nats.
        auc: of a classifier that tells their rows apart; 0.5 cannot tell.
        auc_se: its standard error.
        accuracy: of the same classifier, on rows that it has not seen.
        ks: Kolmogorov-Smirnov distance of each column, worst first, by name.
        unit: always "nats".
    """

    n: int
    dims: int
    reverse_kl: float
    reverse_two_se: float
    forward_kl: float
    forward_two_se: float
    ess: float
    pareto_k: float
    missed: float
    auc: float
    auc_se: float
    accuracy: float
    ks: tuple[tuple[str, float], ...]
    unit: str = "nats"

    @property
    def reverse_kl_per_dim(self) -> float:
        """Nats a row and a number in it."""
        return self.reverse_kl / self.dims

    @property
    def forward_kl_per_dim(self) -> float:
        """Nats a row and a number in it."""
        return self.forward_kl / self.dims

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: both are null."""
        names = [*asdict(self), "reverse_kl_per_dim", "forward_kl_per_dim"]
        return {name: plain(getattr(self, name)) for name in names} | {"ks": dict(self.ks)}


@torch.no_grad()
def measure(
    student: Flow,
    teacher: Flow,
    contexts: Tensor | None = None,
    n: int = 10_000,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Fidelity:
    """Draws n rows of each, given the same contexts, and scores them with both.

    A row to which one of them gives density 0 makes that KL infinite. The density of a draw comes
    from the pass that drew it, so a student that scores slowly is slow only on the teacher's rows.
    The classifier sees 256 pixels of an image at most, evenly spaced.

    Args:
        student: put into eval mode, as the teacher is.
        teacher: of the same rows and contexts.
        contexts: rows to draw contexts from, with replacement; None for flows that take none.
        n: at least 4.
        seed: of all that is drawn.
        names: of the columns of a row.

    Raises:
        InputError: the flows do not go together, or not with the contexts.
        NumericalError: the density of a draw is not a number.
    """
    check_pair(student.eval(), teacher.eval())
    q, p = student.continuous(), teacher.continuous()
    context = _drawn(contexts, n, seed, p)
    x, log_w = weighted_sample(q, p, n, _as(context, q), noise(q, seed))
    y, log_v = weighted_sample(p, q, n, _as(context, p), noise(p, seed + 1))
    own, drawn = _rows(y), _rows(x)
    every = slice(None, None, -(-own.shape[1] // FEATURES) if y.ndim > 2 else 1)
    beside = None if context is None else _rows(context)
    test = two_sample(own[:, every], drawn[:, every], beside, seed)
    ks = column_distances(own, drawn, lifted_names(teacher, names))
    (reverse_kl, reverse_two_se), (forward_kl, forward_two_se) = map(mean_two_se, (-log_w, -log_v))
    return Fidelity(
        n=n,
        dims=len(ks),
        reverse_kl=reverse_kl,
        reverse_two_se=reverse_two_se,
        forward_kl=forward_kl,
        forward_two_se=forward_two_se,
        ess=effective_share(log_w),
        pareto_k=pareto_k(log_w),
        missed=float((-log_v > MISSED).double().mean()),
        auc=test.auc,
        auc_se=test.auc_se,
        accuracy=test.accuracy,
        ks=ks,
    )


def _rows(x: Tensor) -> np.ndarray:
    return x.flatten(1).double().cpu().numpy()


def lifted_names(flow: Flow, names: Sequence[str] = ()) -> list[str]:
    """Names of the numbers in a lifted row: columns, then flags for missing values."""
    filled = flow.dequantization
    gaps = filled.columns_missing if isinstance(filled, TableDequantization) else []
    total = math.prod(flow.base.event_shape)
    names = list(names) or [f"x{i}" for i in range(total - len(gaps))]
    if len(names) + len(gaps) != total:
        raise InputError(f"{len(names)} names for rows of {total - len(gaps)} columns")
    return [*names, *(f"{names[i]} is missing" for i in gaps)]


def _drawn(contexts: Tensor | None, n: int, seed: int, flow: Flow) -> Tensor | None:
    """N rows of the contexts, the same for a seed on every device."""
    if n < 4:
        raise InputError(f"`n` {n}: must be at least 4")
    if flow.context_shape is None:
        if contexts is not None:
            raise InputError("these flows take no contexts")
        return None
    if contexts is None or not len(contexts):
        raise InputError(f"these flows need contexts of shape (N, *{flow.context_shape})")
    generator = torch.Generator().manual_seed(seed)
    return contexts[torch.randint(len(contexts), (n,), generator=generator).to(contexts.device)]


def _as(context: Tensor | None, flow: Flow) -> Tensor | None:
    return None if context is None else context.to(flow.base.like)
