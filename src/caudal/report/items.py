"""Going through data item by item: rows of a table, whole images, whole clips."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from caudal.data import Batch, Rows, Source
from caudal.data.audio import Clip
from caudal.data.source import mapped, permutation
from caudal.flow import Flow
from caudal.numerics import RowGenerator

Track = Callable[[Iterable[Any], str, float | None], Iterable[Any]]
"""Shows how far a loop has come: (items, what is done to them, how many) to the same items."""
NUMBERS = 1 << 20  # numbers in a batch of images, at most


def batch_of(clip: Clip) -> Batch:
    """A clip as a batch of one."""
    return Batch(clip.x[None], None if clip.context is None else clip.context[None])


def some_rows(source: Source, n: int, seed: int = 0) -> Rows:
    """At most n items: images at random, vectors, which may be streamed, always the same ones."""
    if isinstance(source, Rows) and source.row_numbers is not None:
        chosen = permutation(len(source), seed)[:n].to(source.x.device)
        return Rows(source.x[chosen], None if source.context is None else source.context[chosen])
    batch = next(source.items(n, n))
    return Rows(batch.x, batch.context, gaps=True)


def noise(flow: Flow, seed: int) -> torch.Generator:
    """A seeded generator on the flow's device."""
    return torch.Generator(flow.base.like.device).manual_seed(seed)


def row_noise(
    flow: Flow, seed: int, draws: int = 1, repeat: torch.Tensor | None = None
) -> RowGenerator:
    """For one batch, the noise of `draws` scores of each row, which belongs to its values."""
    return RowGenerator(flow.base.like.device, seed, draws, repeat)


def place(flow: Flow, batch: Batch) -> Batch:
    """The batch on the flow's device and in its dtype."""
    return mapped(batch, lambda part: part.to(flow.base.like))
