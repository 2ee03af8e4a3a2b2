"""What noise and estimated log-dets do to scores: in numbers, and in a sentence."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caudal.data import Source
from caudal.flow import Flow
from caudal.report.items import noise, place
from caudal.report.numbers import a, short

if TYPE_CHECKING:
    from caudal.report.evaluation import Evaluation

REDRAWN, REDRAWS = 256, 4  # items that are scored again, and how often each


def noise_errors(flow: Flow, some: Source, n: int, seed: int, nats: float) -> dict[str, Any]:
    """`noise_std` and `noise_two_se` of a dequantised flow; {} of another one.

    Args:
        flow: in eval mode.
        some: items to score again with other noise.
        n: how many draws the mean is taken over.
        seed: of the noise.
        nats: how many make one unit of the result.
    """
    if flow.dequantization is None:
        return {}
    std = _std(flow, some, seed, held=False) / nats
    return {"noise_std": std, "noise_two_se": 2 * std / math.sqrt(max(n, 1))}


def estimate_errors(flow: Flow, some: Source, n: int, seed: int, nats: float) -> dict[str, Any]:
    """`estimate_std`, `estimate_two_se` and, of a biased flow, `bias_bound`; {} of an exact one.

    The arguments are those of `noise_errors`; here the noise between steps is held.
    """
    if not flow.estimated:
        return {}
    std = _std(flow, some, seed, held=True) / nats
    errors = {"estimate_std": std, "estimate_two_se": 2 * std / math.sqrt(max(n, 1))}
    biased = flow.kind.startswith("biased")
    return errors | ({"bias_bound": flow.bias_bound() / nats} if biased else {})


@torch.no_grad()
def _std(flow: Flow, some: Source, seed: int, held: bool) -> float:
    """Standard deviation of an item's score over draws; the noise between steps may be held."""
    generator, drawn = noise(flow, seed), []
    for batch in some.items():
        x, context = place(flow, batch)
        scored = flow.continuous() if held else flow
        y = flow.lift(x, generator)[0] if held else x
        scores = [scored.log_prob(y, context, generator).double() for _ in range(REDRAWS)]
        drawn.append(torch.stack(scores).cpu())
    return root_mean_variance(torch.cat(drawn, 1))


def root_mean_variance(drawn: Tensor) -> float:
    """Root of the mean variance over draws (draws, N), which few draws do not bias.

    Only items whose draws are all finite count; NaN if there are none.
    """
    inside = drawn[:, drawn.isfinite().all(0)]
    return float(inside.var(0).mean().sqrt()) if inside.numel() else math.nan


def estimate_sentence(e: "Evaluation") -> str:
    """What being an estimate does to an evaluation; empty where it is none."""
    if e.estimate_std is None:
        return ""
    unit = e.unit.name
    start = "The log-det is an unbiased estimate"
    if e.bias_bound is not None:
        off = off_by(e.bias_bound, unit if e.unit.bits else f"{unit} {a(e.one)}")
        start = f"The log-det is a biased estimate, {off}"
    if not e.estimate_std > 0:  # or it is not known, as no item is inside
        return start + "."
    return (
        f"{start}: drawn again, it moves one {e.one} by ± {short(e.estimate_std)} {unit} (s.d.), "
        f"the mean by ± {short(e.estimate_two_se)} (2 s.e.)."
    )


def noise_sentence(e: "Evaluation") -> str:
    """Where a score is a lower bound because noise fills steps, and what that noise does."""
    if e.noise_std is None and "lower bound" not in e.kind:
        return ""
    draws = "one draw" if e.draws == 1 else f"{e.draws} draws"
    bound = "a lower bound, bits an upper one" if e.unit.bits else "a lower bound"
    missing = "" if e.unit.bits else " or are missing"
    moves = ""
    if e.noise_two_se is not None and math.isfinite(e.noise_two_se):
        moves = f", which moves the mean by ± {short(e.noise_two_se)}"
    return (
        f"The likelihood is {bound}: values that come in steps{missing} are filled with noise, "
        f"{draws} {a(e.one)}{moves}."
    )


def upper_bound(kind: str) -> str:
    """The kind of a code length in bits, where its log-density is a lower bound of this kind."""
    words = kind.replace("a lower", "an upper").replace("lower", "upper")
    return f"{'a' if kind.startswith('biased') else 'an'} {words}"


def off_by(bound: float, unit: str = "nats a row") -> str:
    """How far an estimate is off by its bias, in words."""
    return (
        f"off by at most {short(bound)} {unit}"
        if math.isfinite(bound)
        else ("off without a limit")
    )
