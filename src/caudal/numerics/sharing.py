"""A batch over several processes, each with its share: they draw and count as one would.

Within `sharing` a draw for the rows of a share is the share of the draw for the whole batch, and a
mean over the batch is that of all its rows.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from caudal.scope import scoped


@dataclass(frozen=True)
class Share:
    """Share `rank` of `world` of a batch: its rows number rank, rank + world, ...

    Attributes:
        rank: of the share, from 0.
        world: how many shares there are.
        whole: rows of the batch.
        processes: how many work on shares at the same time.
    """

    rank: int
    world: int
    whole: int
    processes: int

    @property
    def rows(self) -> int:
        """How many rows the share has."""
        return len(range(self.rank, self.whole, self.world))

    def draw(self, draw: Callable[[Sequence[int]], Tensor], shape: Sequence[int]) -> Tensor:
        """The share of a draw for the whole batch.

        A first dimension that is a multiple of the rows has so many draws of each row, one after
        the other. Any other one is no batch, and has the same draw in every process.
        """
        times, rest = divmod(shape[0] if shape else 0, self.rows) if self.rows else (0, 1)
        if rest or not times:
            return draw(shape)
        drawn = draw((self.whole * times, *shape[1:]))
        return drawn.unflatten(0, (self.whole, times))[self.rank :: self.world].flatten(0, 1)


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


def sharing(
    rank: int, world: int, whole: int, processes: int | None = None
) -> AbstractContextManager[None]:
    """Within, this process works on its share of a batch of `whole` rows; see `Share`."""
    share = Share(rank, world, whole, world if processes is None else processes)
    return scoped(_SHARE, share if world > 1 else None)


def share_in_use() -> Share | None:
    """The share of the innermost `sharing`; None where one process has the whole batch.

    Compiled code knows of none: its draws are those of its process, and so are its means.
    """
    return None if torch.compiler.is_compiling() else _SHARE.get()


def drawn(draw: Callable[[Sequence[int]], Tensor], shape: Sequence[int]) -> Tensor:
    """`draw(shape)`, of which a process has its share."""
    share = share_in_use()
    return draw(shape) if share is None else share.draw(draw, shape)


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel (dimension 1) over the whole batch.

    x is (B, C, ...); mean and variance are (C, 1, ...). Gradients reach the rows of all processes.
    """
    dims, share = [0, *range(2, x.ndim)], share_in_use()
    if share is None or share.processes == 1:
        var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
        return mean[0], var[0]
    mean = _mean_of_processes(x.mean(dims, keepdim=True), share.processes)
    squares = (x - mean).square().mean(dims, keepdim=True)
    var = _mean_of_processes(squares, share.processes)
    return mean[0], var[0]


class normalised_whole(TorchFunctionMode):  # noqa: N801
    """Within this context, PyTorch's batch normalisation has the moments of the whole batch."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        whole = func is F.batch_norm and share_in_use() is not None
        return (_batch_norm if whole else func)(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The same as `F.batch_norm`."""
    share = share_in_use()
    if not training or share is None:
        rest = (weight, bias, training, momentum, eps)
        return F.batch_norm(input, running_mean, running_var, *rest)
    mean, var = batch_moments(input)
    if running_mean is not None and running_var is not None:
        count = input.numel() // input.shape[1] * share.processes
        unbiased = var.detach().flatten() * (count / max(count - 1, 1))
        running_mean.lerp_(mean.detach().flatten(), momentum)
        running_var.lerp_(unbiased, momentum)
    scale = (var + eps).rsqrt()
    scale = scale if weight is None else weight.view_as(scale) * scale
    shift = -mean * scale if bias is None else bias.view_as(mean) - mean * scale
    return torch.addcmul(shift, input, scale)


def _mean_of_processes(x: Tensor, world: int) -> Tensor:
    found: Tensor = _Mean.apply(x, world)
    return found


class _Mean(torch.autograd.Function):
    """The mean over processes, and backwards that of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, world: int) -> Tensor:
        ctx.world = world
        return _averaged(x, world)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _averaged(gradients[0], ctx.world), None


def _averaged(x: Tensor, world: int) -> Tensor:
    mean = x.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(mean)
    return mean / world
