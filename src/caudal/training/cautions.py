"""What to beware of in a training, said before it and after it, a line each."""

from typing import Any

import torch
from torch import nn

from caudal.bijections import BatchNorm
from caudal.data.source import Source
from caudal.flow import Flow
from caudal.training.engine import Engine
from caudal.training.objective import Objective
from caudal.training.options import Training

_PARAMETERS = 20  # for each number of the data: that many are learned by heart
_ALWAYS = 0.9  # share of the steps
_FEW_STEPS = 50  # steps too few to tell a share of them
_TAILS = 0.01
_NORMS = (BatchNorm, nn.BatchNorm2d)


def before(flow: Flow, train: Source, training: Training) -> list[str]:
    """What the flow and the options say already."""
    lines = []
    parameters = sum(p.numel() for p in flow.parameters() if p.requires_grad)
    x, context = next(train.ordered(1))
    numbers = train.n_rows * (x[0].numel() + (0 if context is None else context[0].numel()))
    if parameters > _PARAMETERS * numbers:
        lines.append(
            f"{parameters:,} parameters for {numbers:,} numbers of data: the flow soon learns "
            f"rows by heart; fewer layers or a smaller `size` learn better"
        )
    if training.batch_size == 1 and any(isinstance(m, _NORMS) for m in flow.modules()):
        lines.append(
            "a batch of one row has no spread, which batch normalisation divides by: give "
            "`batch_norm=False`, or a larger `batch_size`"
        )
    return lines


def after(engine: Engine, steps: int, history: list[dict[str, Any]]) -> list[str]:
    """What training has shown; `steps` were taken."""
    lines = []
    clipped = float(torch.as_tensor(engine.clipped)) / max(steps, 1)
    # Students learn no faster with a larger one, as Adam divides by the gradient's size anyway.
    teaches = isinstance(engine.loss, Objective)
    if steps >= _FEW_STEPS and clipped > _ALWAYS and not teaches:
        lines.append(
            f"the gradient was shortened in {clipped:.0%} of the steps, so that they all had one "
            f"length: try a larger `clip` than {engine.training.clip:g}"
        )
    tails = next((record["tails"] for record in reversed(history) if "tails" in record), 0.0)
    origin = engine.flow.origin
    if tails > _TAILS and (origin is None or hasattr(origin.recipe, "bound")):
        lines.append(
            f"{tails:.1%} of the numbers lie where splines do not bend: a larger `bound` reaches "
            f"them"
        )
    return lines
