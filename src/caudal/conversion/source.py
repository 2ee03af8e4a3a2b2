"""What is read of another library's flow."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from caudal.conversion.plan import Part, part


class Source(NamedTuple):
    """The parts of a flow from the noise to the data, its shapes, and its own density."""

    parts: list[Part]
    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None
    log_prob: Callable[[Tensor, Tensor | None], Tensor]
    embedding: nn.Module | None = None


def gaussian(mean: Tensor, log_std: Tensor) -> list[Part]:
    """A Gaussian base as a layer on the standard normal: x = z exp(log_std) + mean."""
    if not mean.any() and not log_std.any():
        return []
    scale = (-log_std).expand_as(mean)  # from data to noise
    params = torch.stack([-mean * scale.exp(), scale]).unsqueeze(0)
    shift = part("ScaledShift", scale="exp")
    return [part("Pointwise", {"params": params}, elementwise=shift, event_shape=mean.shape)]
