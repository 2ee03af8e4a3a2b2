"""The run that a page is about: its model, items of its test part, and their scores."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.base import FREE
from caudal.data import Batch
from caudal.errors import InputError
from caudal.interpolation import noise_of
from caudal.modality import Request, Voice
from caudal.report.guide import Guide
from caudal.report.items import noise
from caudal.report.scoring import log_prob_items
from caudal.scope import scoped

SEED = 0
DRAWN = 100  # draws of the base that one noise is compared with


class Notes(Voice):
    """Keeps the notes of each visitor's job apart, so that they can be shown beside its result.

    Jobs run in threads of their own, and each has its own context. Notes of nobody's job go where
    they went before.
    """

    def __init__(self, before: Voice) -> None:
        self._before = before
        self._kept: ContextVar[list[str] | None] = ContextVar("notes", default=None)

    def note(self, text: str) -> None:
        if (kept := self._kept.get()) is None:
            self._before.note(text)
        else:
            kept.append(text)

    @contextmanager
    def taken(self) -> Iterator[list[str]]:
        """Within, notes go into the list."""
        kept: list[str] = []
        with scoped(self._kept, kept):
            yield kept


class Subject:
    """A model with what all visitors of a page share; nothing of it changes once it is there.

    Args:
        model: a `caudal.Model`, which is left as it is.

    Attributes:
        model: a copy of it that shares the flow, tells visitors apart, and speaks in Arrow tables.
        guide: how its items are looked at.
        schema: what they are.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.schema = copy(model), model.schema
        self.guide: Guide = model.kind.guide
        self.voice = self.model.voice = Notes(model.voice)
        self.model.container = "pyarrow"
        self._lock = RLock()
        self._items: list[Batch] | str | None = None
        self._labels: list[Any] | None = None
        self._scores: np.ndarray | None = None
        self._ground: Any = None
        self._teacher: Any = None

    # --- items of the test part -----------------------------------------------------------------

    @property
    def has_items(self) -> bool:
        """Whether the data of the run are at hand."""
        try:
            return bool(self.items)
        except InputError:
            return False

    @property
    def items(self) -> list[Batch]:
        """The first items of the test part, one in each batch.

        Raises:
            InputError: the data of the run cannot be opened.
        """
        with self._lock:
            if self._items is None:
                try:
                    self._items = list(self._first(self.guide.items))
                except InputError as error:  # once: opening may take long
                    self._items = str(error)
                except OSError as error:
                    name = os.path.basename(str(error.filename or ""))
                    self._items = f"{name or 'the data'}: {error.strerror or error}"
            if isinstance(self._items, str):
                raise InputError(self._items)
            return self._items

    def _first(self, most: int) -> Iterator[Batch]:
        left = most
        for x, context in self.model.dataset.test.items():
            for i in range(min(left, len(x))):
                one = slice(i, i + 1)
                yield Batch(x[one], None if context is None else context[one])
            left -= len(x)
            if left <= 0:
                return

    def item(self, number: int) -> Batch:
        """The item of that number, from 1.

        Raises:
            InputError: there is none.
        """
        if not 1 <= number <= len(self.items):
            raise InputError(f"no test {self.schema.one} {number}: give 1 to {len(self.items)}")
        return self.items[number - 1]

    @property
    def labels(self) -> list[Any] | None:
        """The class of each of the items, if it is known."""
        with self._lock:
            if self._labels is None:
                labels = self.model.kind.labels(self.model)
                self._labels = [] if labels is None else labels[: len(self.items)]
            return self._labels or None

    @property
    def ground(self) -> Any:
        """The items in the user's own form, which may stand behind others; None without data."""
        with self._lock:
            if self._ground is None and self.has_items and len(self.first(2)) == 1:
                self._ground = self.form(*self.first(len(self.items))[0])
            return self._ground

    @property
    def scores(self) -> np.ndarray:
        """The log-probability of each of the items in nats (N,)."""
        with self._lock:
            if self._scores is None:
                parts = [self._score(batch) for batch in self.first(len(self.items))]
                self._scores = torch.cat(parts).double().cpu().numpy()
            return self._scores

    def _score(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return log_prob_items(self.model.flow, batch, SEED, self.model.draws_of())[0]

    def first(self, n: int) -> list[Batch]:
        """The first n items, in one batch where they have one shape."""
        items = self.items[:n]
        if len({item.x.shape for item in items}) > 1:
            return items
        contexts = [item.context for item in items if item.context is not None]
        x = torch.cat([item.x for item in items])
        return [Batch(x, torch.cat(contexts) if contexts else None)]

    # --- tensors and the user's own form --------------------------------------------------------

    def form(self, x: Tensor, context: Tensor | None = None) -> Any:
        """Items x (N, *event) in the user's own form."""
        kind, schema = self.model.kind, self.schema
        request = Request(len(x), context, name="item")
        parts = kind.decode(schema, x.cpu().float(), request)
        return kind.collect(schema, [parts], "pyarrow")

    def noise(self, batch: Batch) -> Tensor:
        """The noise (N, *event) behind items."""
        with torch.no_grad():
            return noise_of(self.model.flow, batch.x, batch.context, SEED)

    def lengths(self, z: Tensor) -> Tensor:
        """The lengths of other noise of the shape of z (1, *event): (DRAWN,)."""
        base = self.model.flow.base
        frames = z.shape[1 + base.event_shape.index(FREE)] if FREE in base.event_shape else None
        drawn = base.sample(DRAWN, noise(self.model.flow, SEED), frames)
        return drawn.double().flatten(1).norm(dim=1)

    def decode(self, z: Tensor, context: Tensor | None = None, clean: bool = False) -> Any:
        """What the flow makes of noise (N, *event), in the user's own form.

        `clean` takes off the noise that items had in training.
        """
        flow = self.model.flow
        given = None if context is None else context.to(flow.base.like)
        with torch.no_grad():
            x = self.guide.decode(flow, self.schema, z, given, clean)
        return self.form(x, context)

    # --- the teacher of a student ---------------------------------------------------------------

    @property
    def taught(self) -> str | None:
        """The run of its teacher, if it is a student."""
        return self.model.config.get("teacher")

    @property
    def teacher(self) -> Any:
        """The model of its teacher.

        Raises:
            InputError: its run is not there.
        """
        with self._lock:
            if self._teacher is None:
                self._teacher = self.model.other(self.taught)
            return self._teacher
