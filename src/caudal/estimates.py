"""What of a bijection is estimated, what that makes of a score, and what several of them say."""

import math

import torch
from torch import Tensor

from caudal.bijection import Bijection, Estimated


def estimated_parts(bijection: Bijection) -> list[Estimated]:
    """The parts whose log-dets are estimates in evaluation; none where all are exact."""
    parts = (part for part in bijection.modules() if isinstance(part, Estimated))
    return [part for part in parts if part.kind != "exact"]


def kind_of(bijection: Bijection, bound: bool) -> str:
    """What a log-density through the bijection is, in words; `bound` says it would be one."""
    kinds = {part.kind for part in estimated_parts(bijection)}
    if not kinds:
        return "lower bound" if bound else "exact"
    estimate = "biased estimate" if "biased" in kinds else "unbiased estimate"
    return f"{estimate} of a lower bound" if bound else estimate


def mean_and_error(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """Of independent estimates (draws, B) the mean and its standard error, each (B,).

    A row that is -inf has no error.
    """
    mean = estimates.mean(0)
    if not len(mean):  # std would warn
        return mean, torch.zeros_like(mean)
    spread = torch.where(mean == -torch.inf, 0.0, estimates).std(0)
    return mean, spread / math.sqrt(len(estimates))
