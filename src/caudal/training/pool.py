"""Rows to learn from: samples of a teacher, as flows without their dressing see them."""

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.flow import Flow


@torch.no_grad()
def features(teacher: Flow, contexts: Tensor | None) -> Tensor | None:
    """Contexts as the undressed flows take them.

    Raises:
        InputError: there are some where there should be none, or the other way round; or they
            are empty, or not finite.
    """
    if (contexts is None) != (teacher.context_shape is None):
        needs = "takes no contexts" if contexts is not None else "is conditional: give contexts"
        raise InputError(f"the teacher {needs}")
    if contexts is not None and not (len(contexts) and torch.isfinite(contexts).all()):
        what = "a NaN or infinite value: leave such rows out" if len(contexts) else "no rows"
        raise InputError(f"contexts have {what}")
    return teacher.embed(contexts)


@torch.no_grad()
def samples(
    teacher: Flow, given: Tensor | None, n: int, seed: int
) -> Tensor | tuple[Tensor, Tensor]:
    """N samples, of contexts drawn with replacement; those that overflow are left out.

    Raises:
        InputError: all of them overflow.
    """
    device = teacher.base.like.device
    generator = torch.Generator(device).manual_seed(seed)
    if given is not None:
        given = given[torch.randint(len(given), (n,), generator=generator, device=device)]
    x = teacher.sample(n, given, generator=generator)
    fine = torch.isfinite(x).flatten(1).all(1)
    if not fine.any():
        raise InputError("every sample of the teacher overflows: it cannot teach")
    return x[fine] if given is None else (x[fine], given[fine])
