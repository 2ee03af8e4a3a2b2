"""What estimating a log-det does to scores: in numbers, and in a sentence."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caudal.data import Batch
from caudal.flow import Flow
from caudal.report.gaussian import noise, place
from caudal.report.numbers import number

if TYPE_CHECKING:
    from caudal.report.evaluate import Evaluation
    from caudal.report.pixels.evaluation import ImageEvaluation

REDRAWN, REDRAWS = 256, 4  # rows, and how often each


def estimate_errors(
    flow: Flow, some: Iterable[Batch], n: int, seed: int, nats: float = 1.0
) -> dict[str, Any]:
    """`estimate_std`, `estimate_two_se` and, of a biased flow, `bias_bound`; {} of an exact one.

    Args:
        flow: in eval mode.
        some: rows to redraw.
        n: how many estimates the mean is of.
        seed: of all that is drawn.
        nats: how many make one of the unit that is wanted.
    """
    if not flow.estimated:
        return {}
    std = _std(flow, some, noise(flow, seed)) / nats
    found = {"estimate_std": std, "estimate_two_se": 2 * std / math.sqrt(max(n, 1))}
    biased = flow.kind.startswith("biased")
    return found | ({"bias_bound": flow.bias_bound() / nats} if biased else {})


@torch.no_grad()
def _std(flow: Flow, some: Iterable[Batch], generator: torch.Generator) -> float:
    """Standard deviation of one row's log-prob over estimates, the noise between steps held."""
    lifted, drawn = flow.continuous(), []
    for batch in some:
        x, context = place(flow, batch)
        y, _ = flow.lift(x, generator)
        estimates = [lifted.log_prob(y, context, generator) for _ in range(REDRAWS)]
        drawn.append(torch.stack(estimates).double())
    return root_mean_variance(torch.cat(drawn, 1))


def root_mean_variance(drawn: Tensor) -> float:
    """Of draws for each row (draws, N) the root of the mean variance, which few do not bias.

    Of the rows that are inside; NaN if none is.
    """
    inside = drawn[:, drawn.isfinite().all(0)]
    return float(inside.var(0).mean().sqrt()) if inside.numel() else math.nan


def estimate_sentence(e: "Evaluation | ImageEvaluation") -> str:
    """What being an estimate does to an evaluation; empty where it is none."""
    if e.estimate_std is None:
        return ""
    one, of = ("row", "nats a row") if e.unit == "nats" else ("image", e.unit)
    said = "The log-det is an unbiased estimate"
    if e.bias_bound is not None:
        said = f"The log-det is a biased estimate, {off_by(e.bias_bound, of)}"
    if not e.estimate_std > 0:  # or it is not known, as no row is inside
        return said + "."
    return (
        f"{said}: drawn again, it moves one {one} by ± {short(e.estimate_std)} {e.unit} (s.d.), "
        f"the mean by ± {short(e.estimate_two_se)} (2 s.e.)."
    )


def upper_bound(kind: str) -> str:
    """What bits are, in words, where the log-density is of this kind of lower bound."""
    words = kind.replace("a lower", "an upper").replace("lower", "upper")
    return f"{'a' if kind.startswith('biased') else 'an'} {words}"


def off_by(bound: float, of: str = "nats a row") -> str:
    """How far an estimate is off by its bias, in words."""
    return f"off by at most {short(bound)} {of}" if math.isfinite(bound) else "off without a limit"


def short(value: float | None) -> str:
    """Two digits that count: an error may be small."""
    return f"{value:.2g}" if value is not None and value < 100 else number(value, 0)
