"""Loops compiled by Numba, an optional extra: without it everything runs, some of it slower."""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module, util
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from caudal.numerics.equations import is_transformed


@lru_cache
def loop(module: str, name: str) -> Callable[..., None] | None:
    """A loop of a module, compiled on first use and cached on disk; None without Numba."""
    if util.find_spec("numba") is None:
        return None
    found: Callable[..., None] = getattr(import_module(module), name)
    return found


def in_loops(z: Tensor) -> bool:
    """Whether compiled loops can take these values: on the CPU, in plain eager inference."""
    return (
        z.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not is_transformed()
        and forward_ad._current_level < 0
    )


def array(tensor: Tensor) -> Any:
    """The NumPy array that shares the memory of a contiguous tensor."""
    return tensor.detach().contiguous().numpy()
