"""Rows of a density, each the present place of a Markov chain, in the place of data."""

from collections.abc import Iterator

import torch
from torch import Tensor

from caudal.data.source import Batch, Source, check_pass, permutation


class Chains(Source):
    """Rows (N, D) that move while a flow learns from them, on the CPU.

    Attributes:
        x: the rows now.
        first: the rows as they were in the beginning, by which these chains are recognised.
        taken: the numbers of the rows in the last shuffled batch, (B,).
    """

    def __init__(self, x: Tensor) -> None:
        self.first, self.x = x.clone(), x.clone()
        self.taken = torch.arange(0)

    @property
    def n_rows(self) -> int:
        return len(self.x)

    def telling(self) -> Iterator[Batch]:
        """All rows, as they were."""
        yield Batch(self.first, None)

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        check_pass(batch_size, skip)
        order = permutation(self.n_rows, seed)
        for start in range(skip * batch_size, self.n_rows - batch_size + 1, batch_size):
            self.taken = order[start : start + batch_size]
            yield Batch(self.x[self.taken], None)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        check_pass(batch_size)
        for start in range(0, self.n_rows, batch_size):
            yield Batch(self.x[start : start + batch_size], None)

    def put(self, x: Tensor) -> None:
        """The rows of the last batch have moved to x (B, D)."""
        self.x[self.taken] = x.detach().to(self.x)
