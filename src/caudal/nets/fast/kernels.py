"""Loops compiled by Numba, an optional extra: without it everything runs, some of it slower."""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module, util
from typing import Any

import torch
from torch import Tensor

KINDS = ("shift", "affine", "spline", "logistics", "histogram", "scaled", "soft-spline")
"""The elementwise maps that compiled loops know, by their numbers in `caudal.nets.fast.maps`."""


def block_kernel() -> Callable[..., None] | None:
    """`loops.run_block`, compiled on first use and cached on disk; None without Numba."""
    return _loop("run_block")


def wavenet_kernel() -> Callable[..., None] | None:
    """`loops.run_steps`, compiled on first use and cached on disk; None without Numba."""
    return _loop("run_steps")


@lru_cache
def _loop(name: str) -> Callable[..., None] | None:
    if util.find_spec("numba") is None:
        return None
    loop: Callable[..., None] = getattr(import_module("caudal.nets.fast.loops"), name)
    return loop


def in_loops(z: Tensor) -> bool:
    """Whether compiled loops can take these values: on the CPU, in plain eager inference."""
    return (
        z.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def map_of(scalar: Any) -> tuple[int, tuple[float, ...]]:
    """The number of a map and its four constants, as the loops take them."""
    return KINDS.index(scalar.name), (*map(float, scalar.constants), *(0.0,) * 4)[:4]


def array(tensor: Tensor) -> Any:
    """The NumPy array that shares the memory of a contiguous tensor."""
    return tensor.detach().contiguous().numpy()
