"""A flow that a file describes is built no larger than the file's own weights let expect."""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from caudal.scope import scoped

_NUMBERS, _PARTS = 1 << 24, 1000  # that any flow may have
_TIMES, _PARTS_A_TENSOR = 8, 20  # masks and other things that are not saved come on top


def check_wanted(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuses metadata with a size, a shape, or columns, more than the number of all weights.

    A dimension, a width or a column has at least as many weights, and below 16 million any flow
    may have them. The numbers of a user's recipe may be anything, a seed perhaps: `bounded` looks
    at what it builds.

    Raises:
        ValueError: names the number.
    """
    numbers = _numbers_in(tensors)
    most = max(numbers, _NUMBERS)
    schema = metadata["schema"] or {}
    shapes = [metadata["event_shape"], metadata["context_shape"], schema.get("shape")]
    sizes = [math.prod(map(abs, _whole_numbers(shape))) for shape in shapes]
    sizes += [value for value in schema.values() if isinstance(value, int)]  # such as a crop
    if not metadata.get("sources"):  # a recipe of caudal
        sizes += _whole_numbers(metadata["recipe"])
    for value in sizes:
        if abs(value) > most:
            raise ValueError(f"{value} is more than the number of its weights, {most:,}")
    columns = len(schema.get("columns", ())) + len(schema.get("context", ()))
    if columns > max(numbers, _PARTS):
        raise ValueError(f"its {columns:,} columns are more than the number of its weights")


class _Limits:
    """How many numbers and modules may still be built."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.numbers = _TIMES * max(_numbers_in(tensors), _NUMBERS)
        self.parts = _PARTS + _PARTS_A_TENSOR * len(tensors)
        self.made = self.modules = 0


_LIMITS: ContextVar[_Limits | None] = ContextVar("limits", default=None)


def bounded(tensors: Mapping[str, Tensor]) -> AbstractContextManager[None]:
    """Within, this thread builds no modules much larger than these tensors, and not many more.

    Raises:
        ValueError: it would have.
    """
    _look()
    return scoped(_LIMITS, _Limits(tensors))


@cache
def _look() -> None:
    """Lets PyTorch tell of what is built, from now on: its hooks cannot go while others build."""
    register_module_parameter_registration_hook(_count)
    register_module_buffer_registration_hook(_count)
    register_module_module_registration_hook(_count_modules)


def _in_force() -> _Limits | None:
    return None if torch.compiler.is_compiling() else _LIMITS.get()


def _count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
    limits = _in_force()
    if limits is not None and tensor is not None:
        limits.made += tensor.numel()
        if limits.made > limits.numbers:
            raise ValueError(f"it has more than {limits.numbers:,} weights, and its file fewer")


def _count_modules(module: nn.Module, name: str, part: nn.Module | None) -> None:
    limits = _in_force()
    if limits is not None:
        limits.modules += 1
        if limits.modules > limits.parts:
            raise ValueError(f"it has more than {limits.parts:,} layers, and its file few weights")


def _numbers_in(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def _whole_numbers(tree: Any) -> Iterator[int]:
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for item in tree:
            yield from _whole_numbers(item)
    elif isinstance(tree, int):
        yield tree
