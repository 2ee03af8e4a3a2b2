"""The support of a prior: the ends of each parameter."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from caudal.errors import InputError
from caudal.numerics import own_randomness, redirected


def bounds_of(prior: Distribution) -> tuple[Tensor, Tensor]:
    """The lower and upper ends of each parameter, (D,) each, infinite where there is none.

    Raises:
        InputError: parameters are no vectors (D,), or their support is no product of intervals.
    """
    shape = (*prior.batch_shape, *prior.event_shape)
    if len(shape) != 1:
        raise InputError(
            f"`prior` must be over vectors (D,), got batch shape {tuple(prior.batch_shape)} and "
            f"event shape {tuple(prior.event_shape)}"
        )
    low, high = _ends(prior.support)
    return low.expand(shape).clone(), high.expand(shape).clone()


def _ends(support: Any) -> tuple[Tensor, Tensor]:
    """The ends that a constraint has, of a shape that broadcasts with the parameters."""
    if isinstance(support, constraints.independent):
        return _ends(support.base_constraint)
    if isinstance(support, constraints.cat):
        each = zip(support.cseq, support.lengths, strict=True)
        ends = [tuple(end.expand(n) for end in _ends(inner)) for inner, n in each]
        lows, highs = zip(*ends, strict=True)
        return torch.cat(lows), torch.cat(highs)
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if (low is None and high is None and support not in _REALS) or support.is_discrete:
        raise InputError(
            f"`prior` has the support {support}: each parameter must have an interval of its own; "
            f"give a prior over parameters that do"
        )
    low = -torch.inf if low is None else low
    high = torch.inf if high is None else high
    return torch.as_tensor(low).float(), torch.as_tensor(high).float()


_REALS = (constraints.real, constraints.real_vector)


def draw(prior: Distribution, n: int, generator: torch.Generator) -> Tensor:
    """N parameters (n, D), float32; torch's distributions take no generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with own_randomness(seed=seed), redirected():
        return prior.sample(torch.Size([n])).float()
