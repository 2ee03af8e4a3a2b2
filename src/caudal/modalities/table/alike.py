"""Training rows whose context resembles the values that are given."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from caudal.data import Column

LEAST, SHARE = 100, 0.01
"""How many rows are taken, of those with the given categories."""


def rows_alike(
    columns: Sequence[Column], rows: Tensor, fixed: Mapping[str, float]
) -> tuple[Tensor, str]:
    """The training contexts that are like the values given, and a line that says which.

    They have the same categories and gaps. Among them, the hundredth part whose numbers are
    nearest, and at least a hundred rows, are alike: the distance is the largest difference of
    ranks. Where no row has the categories given, all rows are taken.

    Args:
        columns: of the context, C.
        rows: (N, C), contexts of training rows.
        fixed: the encoded values given, by the column's name.
    """
    wanted = [(i, c, fixed[c.name]) for i, c in enumerate(columns) if c.name in fixed]
    same = torch.ones(len(rows), dtype=torch.bool)
    for i, column, value in wanted:
        if column.categories is not None:
            same &= rows[:, i] == value
        else:
            same &= rows[:, i].isnan() == torch.tensor(value).isnan()
    numbers = [(i, v) for i, c, v in wanted if c.categories is None and v == v]
    what = ", ".join(column.name for _, column, _ in wanted)
    if not same.any():
        return rows, (
            f"no training row has these values of {what} together: the rest of each context is "
            f"that of any training row, and may not go with them"
        )
    if numbers:
        away = torch.stack([_ranks_away(rows[:, i], v) for i, v in numbers]).amax(0)[same]
        count = min(len(away), max(LEAST, int(SHARE * len(away))))
        same[same.clone()] = away <= away.kthvalue(count).values
    chosen = rows[same]
    near = [_ends(columns[i], chosen[:, i]) for i, _ in numbers]
    more = f", with {', '.join(near)}" if near else ""
    return chosen, (
        f"the rest of each context is that of a training row alike in {what}, of which there "
        f"{'is 1' if len(chosen) == 1 else f'are {len(chosen):,}'}{more}"
    )


def in_turns(rows: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Rows in batches without end, each of them once a turn, in an order by the seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from rows[torch.randperm(len(rows), generator=generator)].split(size)


def _ranks_away(values: Tensor, value: float) -> Tensor:
    """By how many ranks, as a share of all, values (N,) differ from one; inf for gaps."""
    there = values[~values.isnan()].sort().values
    of = torch.cat([values, values.new_tensor([value])])
    ranks = torch.searchsorted(there, of) + torch.searchsorted(there, of, right=True)
    away = (ranks[:-1] - ranks[-1]).abs() / (2 * len(there))
    return away.where(~values.isnan(), torch.inf)


def _ends(column: Column, values: Tensor) -> str:
    """The ends of the values of a column, in the user's numbers."""
    low, high = (column.words(float(end)) for end in (values.min(), values.max()))
    return f"{column.name} {low}" if low == high else f"{column.name} {low} .. {high}"
