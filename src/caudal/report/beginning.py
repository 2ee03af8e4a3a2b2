"""The second baseline: the flow of such data as it is before any step of training."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from caudal.data import AudioSchema, Batch, Source, TableSchema
from caudal.data.source import weights_of
from caudal.flow import Flow
from caudal.initialization import initialize
from caudal.modality import assemble
from caudal.numerics import own_randomness, redirected
from caudal.recipes import NSF, WaveNet
from caudal.report.items import noise, place
from caudal.training.rows import initial_rows


@dataclass(frozen=True)
class Beginning(ABC):
    """Fitted layers alone: the flow's gain over them is what training adds.

    Unlike the first baseline it is not kept in the run folder, but fitted anew.

    Attributes:
        flow: of fitted layers.
        note: what it is, in words.
        name: what it is called.
        short: the same, where it is known which one is meant.
        key: of its scores in JSON.
    """

    name: ClassVar[str]
    short: ClassVar[str]
    key: ClassVar[str]

    flow: Flow
    note: str

    @classmethod
    @torch.no_grad()
    def fit(cls, flow: Flow, source: Source, schema: Any, seed: int = 0) -> Self | None:
        """The baseline of the training rows, on the flow's device and in its precision.

        It is None for data whose flows begin at nothing.
        """
        with own_randomness(seed=seed), redirected():  # recipes draw weights
            fitted, what = cls.assembled(schema)
        if fitted is None:
            return None
        fitted = fitted.to(flow.base.like)
        rows = place(fitted, initial_rows(source, seed, fitted))
        initialize(fitted, *rows, noise(fitted, seed), weights_of(rows))
        return cls(fitted.eval(), f"{what}; of {len(rows.x):,} training rows")

    @classmethod
    @abstractmethod
    def assembled(cls, schema: Any) -> tuple[Flow | None, str]:
        """A flow of its layers for the data of a schema, None without, and what it is in words."""

    def log_prob(self, batch: Batch, same: torch.Generator) -> Tensor:
        """Log-probability of items in nats (B,) float64; `same` draws the noise the flow drew."""
        return self.flow.log_prob(batch.x, batch.context, same).double()


@dataclass(frozen=True)
class Copula(Beginning):
    """Each column of a table by its own fitted distribution, and their correlation."""

    name, short, key = "Gaussian copula", "the copula", "copula"

    @classmethod
    def assembled(cls, schema: TableSchema) -> tuple[Flow, str]:
        flow = assemble(NSF(layers=0, linear=False), replace(schema, marginals="fitted"))
        return flow, "fitted distributions of the columns, and their correlation"


@dataclass(frozen=True)
class SpectralPrediction(Beginning):
    """Sound as Gaussian given its spectrum: a linear prediction whose filters follow from it."""

    name, short, key = "prediction by the spectrum", "that prediction", "prediction"

    @classmethod
    def assembled(cls, schema: AudioSchema) -> tuple[Flow | None, str]:
        if not schema.mels:
            return None, ""
        schema = replace(schema, prediction=AudioSchema.prediction)
        # A new net leaves the residual as it is, however small it is.
        flow = assemble(WaveNet(layers=1, channels=1, hop=schema.hop), schema)
        what = f"order {schema.order}, Gaussian, its filters from the spectrum alone"
        return flow, f"{what}, one gain of all"
