"""Loops compiled by Numba, an optional extra: without it everything runs, some of it slower."""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module, util

KINDS = ("shift", "affine", "spline", "logistics", "histogram")
"""The elementwise maps that compiled loops know, by their numbers in `caudal.kernels.maps`."""


@lru_cache
def block_kernel() -> Callable[..., None] | None:
    """`caudal.kernels.block.run_block`, compiled on first use and kept on disk; or None."""
    if util.find_spec("numba") is None:
        return None
    kernel: Callable[..., None] = import_module("caudal.kernels.block").run_block
    return kernel


@lru_cache
def wavenet_kernel() -> Callable[..., None] | None:
    """`caudal.kernels.wavenet.run_steps`, as `block_kernel`."""
    if util.find_spec("numba") is None:
        return None
    kernel: Callable[..., None] = import_module("caudal.kernels.wavenet").run_steps
    return kernel
