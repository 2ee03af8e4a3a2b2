"""What a model says of one column given the others, and the models beside the flow that do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from caudal.data import Batch, Rows, Source, TableSchema
from caudal.flow import Flow
from caudal.initialization import initialize
from caudal.modality import assemble
from caudal.numerics import own_randomness, redirected
from caudal.recipes import NSF
from caudal.report.items import noise, place, row_noise
from caudal.training.rows import initial_rows
from caudal.univariate import below, masses, quantiles


class Forecaster(ABC):
    """A model that predicts one column, of numbers or of categories.

    Attributes:
        name: what it is called.
        note: what it is, in words.
    """

    name: ClassVar[str]
    note: str

    def log_prob(self, batch: Batch, seed: int) -> np.ndarray | None:
        """Log-densities of the values in nats (B,), where the model has any."""
        return None


class NumberForecaster(Forecaster):
    """A model that predicts a column of numbers."""

    @abstractmethod
    def quantiles(self, batch: Batch, levels: Sequence[float]) -> np.ndarray:
        """Values (B, L) of the column below which shares (L,) of the distribution lie."""

    @abstractmethod
    def ranks(self, batch: Batch, seed: int) -> np.ndarray:
        """The distribution function at each value (B,), which is uniform if it is right.

        The rank of a value with a probability of its own is drawn within its step.
        """


class ClassForecaster(Forecaster):
    """A model that predicts a column of categories."""

    @abstractmethod
    def probabilities(self, batch: Batch) -> np.ndarray:
        """The probability of each category, (B, K)."""


@dataclass(frozen=True)
class FlowForecaster(NumberForecaster, ClassForecaster):
    """A flow of one column, by its own monotone map."""

    name: ClassVar[str] = "flow"

    flow: Flow
    note: str = ""

    def quantiles(self, batch: Batch, levels: Sequence[float]) -> np.ndarray:
        x, context = self._placed(batch)
        return _array(
            quantiles(self.flow, torch.tensor(levels, dtype=torch.float64), context, len(x))
        )

    def ranks(self, batch: Batch, seed: int) -> np.ndarray:
        x, context = self._placed(batch)
        y, _ = self.flow.lift(x, row_noise(self.flow, seed), context)
        return _array(below(self.flow, y, context))[:, 0]

    def probabilities(self, batch: Batch) -> np.ndarray:
        x, context = self._placed(batch)
        high = int(self.flow.dequantization.support.high)  # type: ignore[union-attr, arg-type]
        edges = torch.arange(high + 1).to(x)
        return _array(masses(self.flow, edges, context, len(x)))

    @torch.no_grad()
    def log_prob(self, batch: Batch, seed: int) -> np.ndarray:
        x, context = self._placed(batch)
        return _array(self.flow.log_prob(x, context, row_noise(self.flow, seed)))

    def _placed(self, batch: Batch) -> Batch:
        placed = place(self.flow, batch)
        return placed if self.flow.context_shape else Batch(placed.x, None)


class Unconditional(FlowForecaster):
    """The distribution of the column's training values, whatever the others say."""

    name: ClassVar[str] = "training values alone"

    @classmethod
    @torch.no_grad()
    def fit(cls, flow: Flow, source: Source, schema: TableSchema, seed: int = 0) -> Self:
        """The fitted distribution with which the flow began, without the context."""
        with own_randomness(seed=seed), redirected():  # recipes draw weights
            fitted = assemble(NSF(layers=0), replace(schema, context=(), marginals="fitted"))
        fitted = fitted.to(flow.base.like)
        rows = place(flow, initial_rows(source, seed, flow)).x
        initialize(fitted, rows, None, noise(fitted, seed))
        return cls(fitted.eval(), f"the distribution of {len(rows):,} training values")


def encoded(flow: Flow, rows: Rows | Batch) -> np.ndarray:
    """The context as linear models have it, (B, E) float64."""
    assert rows.context is not None
    with torch.no_grad():
        return _array(flow.embed_linear(rows.context.to(flow.base.like)))


def _array(values: Tensor | None) -> np.ndarray:
    assert values is not None
    made: np.ndarray = values.detach().double().cpu().numpy()
    return made
