"""Going through data item by item: rows of a table, whole images, whole clips."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch

from caudal.data import AudioSchema, Batch, ImageSchema, Rows, Schema, Source
from caudal.data.audio import Clips
from caudal.data.audio.clips import Clip
from caudal.data.source import permutation
from caudal.data.unit import BITS_PER_DIM, BITS_PER_SAMPLE, NATS, Unit
from caudal.flow import Flow

Track = Callable[[Iterable[Any], str, float | None], Iterable[Any]]
"""Shows how far a loop has come: (items, what is done to them, how many) to the same items."""
AnySchema = Schema | ImageSchema | AudioSchema

# --- to be replaced: `schema.kind`, `.one`, `.many`, `.unit` and `source.items(limit)` ----------

VECTORS, NUMBERS = 4096, 1 << 20


class Words(NamedTuple):
    """What one kind of data is called, and the unit of its scores."""

    kind: str
    one: str
    many: str
    unit: Unit


_WORDS = {
    Schema: Words("table", "row", "rows", NATS),
    ImageSchema: Words("images", "image", "images", BITS_PER_DIM),
    AudioSchema: Words("audio", "clip", "clips", BITS_PER_SAMPLE),
}


def words_of(schema: AnySchema) -> Words:
    """The words for the data of a schema."""
    return _WORDS[type(schema)]


def batch_rows(source: Source) -> int:
    """How many items are scored at a time: it bounds the memory, and fixes the order of noise."""
    if isinstance(source, Clips):
        return 1
    return VECTORS if source.row_numbers is None else max(1, NUMBERS // source.row_numbers)


def items_of(source: Source, limit: int | None = None, rows: int | None = None) -> Iterator[Batch]:
    """Every item whole in batches, or `limit` of them from all over, always the same ones."""
    if isinstance(source, Clips):
        n = len(source.names)
        some = range(n) if limit is None or limit >= n else permutation(n, 0)[:limit].sort()[0]
        yield from (batch_of(source.clip(int(index))) for index in some)
        return
    rows = rows or batch_rows(source)
    if limit is None or limit >= source.n_rows:
        yield from source.ordered(rows)
        return
    size = math.ceil(limit / math.ceil(limit / rows))
    # A shuffled pass omits its ragged end. Where that would be needed, nearly all rows are taken,
    # and their order hardly matters.
    fits = math.ceil(limit / size) * size <= source.n_rows
    for batch in source.shuffled(size, seed=0) if fits else source.ordered(size):
        yield Batch(batch.x[:limit], None if batch.context is None else batch.context[:limit])
        limit -= len(batch.x)
        if limit <= 0:
            return


def n_items(source: Source) -> int:
    """How many items there are."""
    return len(source.names) if isinstance(source, Clips) else source.n_rows


# --- to stay ------------------------------------------------------------------------------------


def n_batches(source: Source, limit: int | None = None) -> int:
    """How many batches `items_of` gives."""
    n = n_items(source) if limit is None else min(limit, n_items(source))
    return math.ceil(n / batch_rows(source))


def batch_of(clip: Clip) -> Batch:
    """A clip as a batch of one."""
    return Batch(clip.x[None], None if clip.context is None else clip.context[None])


def some_rows(source: Source, n: int, seed: int = 0) -> Source:
    """At most n rows, drawn at random where the source is larger."""
    if isinstance(source, Rows):
        chosen = permutation(len(source), seed)[:n].to(source.x.device)
        context = None if source.context is None else source.context[chosen]
        return Rows(source.x[chosen], context, gaps=True)
    batches = source.shuffled(n, seed) if n <= source.n_rows else source.ordered(n)
    batch = next(batches)
    return Rows(batch.x, batch.context, gaps=True)


def noise(flow: Flow, seed: int) -> torch.Generator:
    """A seeded generator on the flow's device."""
    return torch.Generator(flow.base.like.device).manual_seed(seed)


def place(flow: Flow, batch: Batch) -> Batch:
    """The batch on the flow's device and in its dtype."""
    like = flow.base.like
    return Batch(batch.x.to(like), None if batch.context is None else batch.context.to(like))
