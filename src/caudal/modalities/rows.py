"""What tables and images share: events of one shape, drawn in chunks and distilled from a pool."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from torch import Tensor

from caudal.flow import Flow
from caudal.losses import nll
from caudal.modalities.contexts import chunk_sizes, context_rows, in_chunks, rows_in
from caudal.modality import Modality, Request, Requests, Voice
from caudal.report import compare_students
from caudal.training.rows import sample_rows
from caudal.training.sample_terms import Distillation

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
    def contexts(self, model: Any, seed: int, voice: Voice) -> Iterable[Tensor]:
        """Contexts (rows, C) without end, where neither a table nor values are given."""

    def requests(
        self, model: Any, n: int | None, drawing: Any, seed: int, voice: Voice
    ) -> Requests:
        if n is None:
            file = drawing.context_file
            n = self.usual_samples if file is None else rows_in(file)
        sizes = chunk_sizes(n, self.chunk(model.schema))
        otherwise = self.contexts(model, seed, voice)
        rows = context_rows(
            model.schema.context, drawing.given, drawing.context_file, otherwise, model.name
        )
        contexts = iter([None] * len(sizes)) if rows is None else in_chunks(rows, sizes)
        each = (Request(size, context) for size, context in zip(sizes, contexts, strict=True))
        return Requests(each, n, len(sizes))

    def compare(self, student: Flow, model: Any, name: str, terms: list[str], voice: Voice) -> Any:
        contexts = contexts_of(model)
        return compare_students(
            student, model.flow, model.schema, contexts, name=name, terms=terms
        )


def contexts_of(model: Any) -> Tensor | None:
    """Contexts of training rows, which a conditional teacher is asked with."""
    context = sample_rows(model.dataset.train, MOST_CONTEXTS, seed=0).context
    return None if context is None else context.to(model.flow.base.like)


def endless(rows: Callable[[int], Iterator[Tensor]]) -> Iterator[Tensor]:
    """Passes over rows without end, each with its own number."""
    turn = 0
    while True:
        yield from rows(turn)
        turn += 1
