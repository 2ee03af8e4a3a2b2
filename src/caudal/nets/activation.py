"""Activations by the name a config file gives them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
}


# Of these autograd needs the result alone: what a layer has just made can be overwritten, which
# saves a tensor as large and the time to get it.
_OVERWRITING: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function called `name`; ValueError with the names there are."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def overwriting(name: str) -> Callable[[Tensor], Tensor]:
    """The same function, for an argument that nobody else uses; it may be overwritten."""
    return _OVERWRITING.get(name, activation(name))
