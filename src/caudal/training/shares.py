"""Tensors of which each process has some rows, as FSDP leaves them, and whole ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

WHOLE = 1 << 27
"""Most weights of a flow that is copied, or gathered on a device: a gigabyte in float64."""


def is_shared(tensor: Tensor) -> bool:
    """Whether a process has but its rows of a tensor: it is a DTensor, whose import takes long."""
    return hasattr(tensor, "to_local")


def local(tensor: Any) -> Tensor:
    """The rows of a tensor that this process has; all of them, where it is not shared out."""
    mine: Tensor = tensor.to_local() if is_shared(tensor) else tensor
    return mine


def gathered(tensor: Any) -> Tensor:
    """All rows of a tensor that is shared out; all processes must come here."""
    if not is_shared(tensor):
        return tensor
    mesh, parts = tensor.device_mesh, {"shape": tensor.shape, "stride": tensor.stride()}
    mine = local(tensor).detach().to(mesh.device_type)  # what is kept aside lies on the CPU
    whole = type(tensor).from_local(mine, mesh, tensor.placements, **parts)
    return whole.full_tensor()


@torch.no_grad()
def share_of(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, or this process's rows of it, with the device and memory order of `like`.

    Fused steps rely on that order, such as channels last.
    """
    new = torch.empty_like(like, requires_grad=False)
    mine = local(new)
    if is_shared(new):  # as FSDP deals rows out
        first = -(-len(whole) // dist.get_world_size()) * dist.get_rank()
        whole = whole[first : first + len(mine)]
    mine.copy_(whole)
    return new


def dealt(weights: Mapping[str, Tensor], likes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole weights, or this process's rows of those that are shared out in `likes`."""
    return {
        name: share_of(whole, likes[name]) if is_shared(likes[name]) else whole
        for name, whole in weights.items()
    }


def norm_of(tensors: list[Tensor]) -> Tensor:
    """The norm of all numbers of several tensors, in all processes together."""
    norm = torch.nn.utils.get_total_norm([local(tensor) for tensor in tensors])
    if any(map(is_shared, tensors)):
        squared = norm.square()
        dist.all_reduce(squared)
        norm = squared.sqrt()
    return norm
