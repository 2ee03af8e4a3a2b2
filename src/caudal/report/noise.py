"""How far the noise between steps, and an estimated log-det, move a score."""

import math

import torch

from caudal.data import Source
from caudal.flow import Flow
from caudal.report.items import (
    noise,
    place,
)

REDRAWS = 4  # how often items are scored again


def noise_errors(flow: Flow, some: Source, n: int, seed: int, nats: float) -> dict[str, float]:
    """How far noise between steps and estimates move one item's score, and the mean of n draws.

    Args:
        flow: in eval mode.
        some: items to score again with other noise.
        n: how many draws the mean is taken over.
        seed: of the noise.
        nats: how many make one unit of the result.
    """
    errors: dict[str, float] = {}
    sources = ("noise", flow.filled), ("estimate", flow.estimated)
    for name in (name for name, there in sources if there):
        std = _std(flow, some, seed, held=name == "estimate") / nats
        errors |= {f"{name}_std": std, f"{name}_two_se": 2 * std / math.sqrt(max(n, 1))}
    if flow.estimated and flow.kind.startswith("biased"):
        errors["bias_bound"] = flow.bias_bound() / nats
    return errors


@torch.no_grad()
def _std(flow: Flow, some: Source, seed: int, held: bool) -> float:
    """Standard deviation of an item's score over draws, NaN if no item is always finite.

    If `held`, only the estimate is drawn again, not the noise between steps.
    """
    generator, drawn = noise(flow, seed), []
    for batch in some.items():
        x, context = place(flow, batch)
        scored = flow.continuous() if held else flow
        y = flow.lift(x, generator)[0] if held else x
        scores = [scored.log_prob(y, context, generator).double() for _ in range(REDRAWS)]
        drawn.append(torch.stack(scores).cpu())
    scored_again = torch.cat(drawn, 1)  # (REDRAWS, N)
    inside = scored_again[:, scored_again.isfinite().all(0)]
    # The root of the mean variance, which few draws do not bias.
    return float(inside.var(0).mean().sqrt()) if inside.numel() else math.nan
