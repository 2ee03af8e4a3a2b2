"""A flow that a file describes is built no larger than the file's own weights let expect."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

_NUMBERS, _PARTS = 1 << 24, 1000  # that any flow may have
_SIZES = ("recipe", "event_shape", "context_shape")  # what in metadata says how large a flow is
_TIMES, _PARTS_A_TENSOR = 8, 20  # masks and other things that are not saved come on top


def check_wanted(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuses metadata with a whole number, or with columns, more than all weights are many.

    A width, a number of layers or a column has at least as many weights.

    Raises:
        ValueError: names the number.
    """
    numbers = _numbers_in(tensors)
    most = max(numbers, _NUMBERS)
    for value in _whole_numbers([metadata[key] for key in _SIZES]):
        if abs(value) > most:
            raise ValueError(f"{value} is more than its weights are many, {most:,}")
    schema = metadata["schema"] or {}
    columns = len(schema.get("columns", ())) + len(schema.get("context", ()))
    if columns > max(numbers, _PARTS):
        raise ValueError(f"its {columns:,} columns are more than its weights are many")


@contextmanager
def bounded(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Within, this thread builds no modules much larger than these tensors, and not many more.

    Raises:
        ValueError: it would have.
    """
    numbers = _TIMES * max(_numbers_in(tensors), _NUMBERS)
    parts = _PARTS + _PARTS_A_TENSOR * len(tensors)
    thread, made, modules = threading.get_ident(), 0, 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal made
        if threading.get_ident() == thread and tensor is not None:
            made += tensor.numel()
            if made > numbers:
                raise ValueError(f"it has more than {numbers:,} weights, and its file fewer")

    def count_modules(module: nn.Module, name: str, part: nn.Module | None) -> None:
        nonlocal modules
        if threading.get_ident() == thread:
            modules += 1
            if modules > parts:
                raise ValueError(f"it has more than {parts:,} layers, and its file few weights")

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
        register_module_module_registration_hook(count_modules),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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
