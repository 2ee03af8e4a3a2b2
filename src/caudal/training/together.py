"""Work on a finished model by several processes: each does its part, and all have the whole.

torchrun starts them. Outside of `together` each process does all, and waits for no other.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any, TypeVar

from torch import Tensor
from torch import distributed as dist

from caudal.numerics import sharing
from caudal.training.devices import ProcessLostError, is_of_processes

Item = TypeVar("Item")
Result = TypeVar("Result")
_TOGETHER: ContextVar[bool] = ContextVar("together", default=False)


@contextmanager
def together() -> Iterator[None]:
    """Within, the processes of the job share the work; each of them must come here."""
    token = _TOGETHER.set("LOCAL_WORLD_SIZE" in os.environ)
    try:
        yield
    finally:
        _TOGETHER.reset(token)


def is_writer() -> bool:
    """Whether this process writes what all have: the first of those that work together."""
    return _place()[0] == 0


def in_turns(
    items: Iterable[Item], work: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """The items in their order, with what `work` gives for each, done by one process.

    The results travel between processes and so are plain data, or tensors on the CPU.

    Raises:
        ProcessLostError: another process has ended.
    """
    rank, world = _place()
    rest = iter(items)
    while lot := list(islice(rest, world)):
        mine = work(lot[rank]) if rank < len(lot) else None
        yield from zip(lot, _gathered(mine, world), strict=False)


def by_rows(n: int, draw: Callable[[slice, int], Tensor]) -> Tensor:
    """`draw(rows, count)` of n rows, of which each process draws its share.

    The random numbers of a row are those that it has where one process draws all.

    Args:
        n: how many rows.
        draw: gives samples (count, ...), of those of the n rows that the slice says.

    Raises:
        ProcessLostError: another process has ended.
    """
    rank, world = _place()
    if world == 1 or n < world:
        return draw(slice(None), n)
    with sharing(rank, world, n):
        mine = draw(slice(rank, None, world), len(range(rank, n, world)))
    whole = mine.new_empty(n, *mine.shape[1:])
    for place, part in enumerate(_gathered(mine.cpu(), world)):
        whole[place::world] = part.to(mine.device)
    return whole


def _place() -> tuple[int, int]:
    """The number of this process and how many there are, which now know each other."""
    world = int(os.environ["WORLD_SIZE"]) if _TOGETHER.get() else 1
    if world == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return dist.get_rank(), world


def _gathered(mine: Any, world: int) -> list[Any]:
    """What each process has, in their order."""
    if world == 1:
        return [mine]
    every: list[Any] = [None] * world
    try:
        dist.all_gather_object(every, mine)
    except RuntimeError as error:
        if is_of_processes(error):
            raise ProcessLostError(
                "another process of this job has ended, and so this one ends too"
            ) from error
        raise
    return every
