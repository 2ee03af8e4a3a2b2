"""A density given a label as a classifier: how often it picks the label of an item."""

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from caudal.data import Batch, Schema, Source
from caudal.flow import Flow
from caudal.report.items import Track, place, row_noise
from caudal.training.together import in_turns

MOST_LEVELS = 100
"""Labels of more values are not told: each value takes a pass."""


@dataclass(frozen=True)
class Recognition:
    """How often the value of a label under which an item is likeliest is the item's own.

    argmax over values k of log p(x | label = k, what else x is given), with the noise that fills
    steps the same for all k. No value is preferred beforehand.

    Attributes:
        label: the column of the context.
        values: how many values it has.
        items: how many items there were.
        right: how many of them were recognised.
        majority: the share of the value that most of them have.
    """

    label: str
    values: int
    items: int
    right: int
    majority: float

    @property
    def accuracy(self) -> float:
        """The share of items that were recognised."""
        return self.right / self.items

    @property
    def two_se(self) -> float:
        """Two standard errors of it, those of a share."""
        return 2 * sqrt(self.accuracy * (1 - self.accuracy) / self.items)

    def sentence(self, many: str) -> str:
        """All of it in words."""
        return (
            f"By the likelihood given each {self.label}, of {self.values}, the right one is the "
            f"likeliest for {self.accuracy:.1%} ± {self.two_se:.1%} (2 s.e.) of {self.items:,} "
            f"{many}; always the most frequent one would be right for {self.majority:.1%}."
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "accuracy": self.accuracy, "two_se": self.two_se}


def told_labels(schema: Schema) -> dict[int, int]:
    """The places in the context of labels that may be recognised, and how many values each has."""
    levels = enumerate(schema.levels_of_context)
    return {place: n for place, n in levels if 2 <= n <= MOST_LEVELS}


@torch.no_grad()
def recognise(
    flow: Flow, source: Source, schema: Schema, limit: int, seed: int, track: Track | None = None
) -> tuple[Recognition, ...]:
    """How often each label of the context is recognised, of at most `limit` items.

    Args:
        flow: in evaluation mode, given the context.
        source: the items, which have labels.
        schema: what they are.
        limit: at most so many, from all over the source and always the same ones.
        seed: of the noise that fills steps, and of estimates.
        track: shows how far it has come.
    """
    columns = told_labels(schema)
    if not columns or limit < 1 or flow.context_shape is None:
        return ()
    batches: Any = source.items(limit)
    if track is not None:
        batches = track(batches, "recognising labels", None)

    def told(batch: Batch) -> dict[int, tuple[Tensor, Tensor]]:
        x, context = place(flow, batch)
        assert context is not None
        y = Batch(flow.lift(x, row_noise(flow, seed), context)[0], context)
        return {
            column: (_likeliest(flow, y, column, n, seed), _codes(context, column))
            for column, n in columns.items()
        }

    parts = [part for _, part in in_turns(batches, told)]
    pairs = {
        column: [torch.cat(some) for some in zip(*(part[column] for part in parts), strict=True)]
        for column in columns
    }
    return tuple(
        _of(schema.context[column].name, n, *pairs[column]) for column, n in columns.items()
    )


def _likeliest(flow: Flow, batch: Batch, column: int, n: int, seed: int) -> Tensor:
    """The code under which each lifted item is likeliest, (B,)."""
    whole, scores = flow.continuous(), []
    for code in range(n):
        assert batch.context is not None
        context = batch.context.clone()
        context[:, column] = code
        scores.append(whole.log_prob(batch.x, context, row_noise(flow, seed)).double())
    return torch.stack(scores).argmax(0).cpu()


def _codes(context: Tensor, column: int) -> Tensor:
    """The codes of a label (B,) in contexts (B, C, ...), where they are the same in each frame."""
    codes = context[:, column]
    return codes.reshape(len(codes), -1)[:, 0].long().cpu()


def _of(label: str, values: int, chosen: Tensor, own: Tensor) -> Recognition:
    most = int(torch.bincount(own.clamp_min(0)).max())
    return Recognition(label, values, len(own), int((chosen == own).sum()), most / len(own))
