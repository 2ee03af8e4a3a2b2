"""What tables and images share: events of one shape, with a row of context each."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor

from caudal.data import Column, Rows
from caudal.data.source import as_often
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modalities.contexts import Contexts
from caudal.modality import Modality, Request, Requests, Voice
from caudal.report import compare_students
from caudal.training.rows import sample_rows
from caudal.training.sample_terms import Distillation


def in_chunks(rows: Iterator[Tensor], sizes: Iterable[int]) -> Iterator[Tensor]:
    """The same rows in chunks of the given sizes."""
    held = next(rows)
    for size in sizes:
        while len(held) < size:
            held = torch.cat([held, next(rows)])
        yield held[:size]
        held = held[size:]


def chunk_sizes(n: int, chunk: int) -> list[int]:
    """`n` in chunks, the last one smaller if need be."""
    return [chunk] * (n // chunk) + [n % chunk] * (n % chunk > 0)


MOST_CONTEXTS = 100_000


class OneShape(Modality):
    """Events of one shape, with one row of context each."""

    usual_samples: ClassVar[int]
    distillation = Distillation

    @property
    def loss(self) -> Callable[[Flow, Tensor, Tensor | None], Tensor]:
        return nll

    @abstractmethod
    def chunk(self, schema: Any) -> int:
        """How many samples are drawn at a time."""

    @abstractmethod
    def contexts(
        self, model: Any, asked: Contexts, drawing: Any, seed: int, voice: Voice
    ) -> Iterable[Tensor]:
        """Contexts (rows, C) without end, where there is no table of them."""

    def takes_unseen(self, model: Any) -> bool:
        """Whether contexts of samples may hold what training has not seen."""
        return False

    def requests(
        self, model: Any, n: int | None, drawing: Any, seed: int, voice: Voice
    ) -> Requests:
        schema, unseen = model.schema, self.takes_unseen(model)
        what = drawing.given, drawing.context_file, unseen, model.name
        asked = Contexts.of(schema.context, *what)
        for note in asked.notes:
            voice.note(note)
        if n is None:
            n = self.usual_samples if asked.table is None else len(asked.table)
        sizes = chunk_sizes(n, self.chunk(schema))
        rows = asked.rows(self.contexts(model, asked, drawing, seed, voice))
        contexts = iter([None] * len(sizes)) if rows is None else in_chunks(rows, sizes)
        starts = accumulate(sizes, initial=0)
        each = (
            Request(size, context, start=start)
            for size, context, start in zip(sizes, contexts, starts, strict=False)
        )
        return Requests(each, n, len(sizes), replace(schema, context=asked.columns))

    def labels(self, model: Any) -> list[Any] | None:
        rows = model.dataset.test
        return class_names(model.schema.context, rows.context) if isinstance(rows, Rows) else None

    def compare(self, student: Flow, model: Any, name: str, terms: list[str], voice: Voice) -> Any:
        contexts = contexts_of(model)
        return compare_students(
            student, model.flow, model.schema, contexts, name=name, terms=terms
        )


def nothing_between(name: str, what: str) -> InputError:
    """The error of `interpolate` for data that are no pictures."""
    return InputError(
        f"{name} models {what}, and interpolate draws pictures: it is for images, and for tables "
        f"of the pixels of images, such as digits"
    )


def class_names(columns: Sequence[Column], context: Tensor | None) -> list[Any] | None:
    """The class of each row of context (N, C), if a category is all that there is."""
    if context is None or len(columns) != 1 or columns[0].categories is None:
        return None
    names = columns[0].categories
    return [names[code] for code in context[:, 0].long().tolist()]


def contexts_of(model: Any) -> Tensor | None:
    """Contexts of training rows, which a conditional teacher is asked with."""
    context = sample_rows(as_often(model.dataset.train), MOST_CONTEXTS, seed=0).context
    return None if context is None else context.to(model.flow.base.like)


def endless(rows: Callable[[int], Iterator[Tensor]]) -> Iterator[Tensor]:
    """Passes over rows without end, each with its own number."""
    turn = 0
    while True:
        yield from rows(turn)
        turn += 1
