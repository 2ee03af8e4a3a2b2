"""Work on a finished model by several processes: each does its part, and all have the whole.

torchrun or srun starts them, or training has. Outside of `together` each process does all, and
waits for no other.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from torch import Tensor
from torch import distributed as dist

from caudal.numerics import sharing
from caudal.scope import scoped
from caudal.training.processes import (
    ProcessLostError,
    how_lost,
    is_of_processes,
    join,
    launched,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE = timedelta(minutes=30)
"""How long the part of another process is waited for: samples may take long, and tell nothing."""


class _Team:
    """The processes of a job, which meet when they first have something to share."""

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None

    @property
    def place(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        if not dist.is_initialized():
            job = launched()
            if job is None or job.world == 1:
                return 0, 1
            join(job)
        return dist.get_rank(), dist.get_world_size()

    @property
    def group(self) -> Any:
        """What they talk by: on the CPU, whatever training talks by."""
        if self._group is None:
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
        return self._group


_TEAM: ContextVar[_Team | None] = ContextVar("team", default=None)


def together(wanted: bool = True) -> AbstractContextManager[None]:
    """Within, the processes of the job share the work; each of them must come here."""
    return scoped(_TEAM, _Team() if wanted else None)


def is_writer() -> bool:
    """Whether this process writes what all have: the first of those that work together."""
    return _place()[0] == 0


def agreed(value: Result) -> Result:
    """What the first process has, for all of them."""
    return _gathered(value, _place()[1])[0]


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
    team = _TEAM.get()
    return (0, 1) if team is None else team.place


def _gathered(mine: Any, world: int) -> list[Any]:
    """What each process has, in their order."""
    team = _TEAM.get()
    if world == 1 or team is None:
        return [mine]
    every: list[Any] = [None] * world
    try:
        dist.all_gather_object(every, mine, group=team.group)
    except RuntimeError as error:
        if is_of_processes(error):
            raise ProcessLostError(
                f"another process of this job {how_lost(error)}, and so this one ends too"
            ) from error
        raise
    return every
