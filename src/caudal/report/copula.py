"""The second baseline of tables: the Gaussian copula, with which flows of tables begin."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from caudal.data import Batch, Source, TableSchema
from caudal.flow import Flow
from caudal.initialization import initialize
from caudal.modality import assemble
from caudal.recipes import NSF
from caudal.report.items import noise, place
from caudal.training.rows import initial_rows
from caudal.training.seeds import own_randomness, seed_all


@dataclass(frozen=True)
class Copula:
    """Each column by its own fitted distribution, and their correlation.

    It is the flow of a table before any step: what training has added to it is what a flow is
    for. Unlike the first baseline it is not kept in the run folder, but fitted anew.

    Attributes:
        flow: of fitted layers alone.
        note: what it is, in words.
    """

    name = "Gaussian copula"

    flow: Flow
    note: str

    @classmethod
    @torch.no_grad()
    def fit(cls, flow: Flow, source: Source, schema: TableSchema, seed: int = 0) -> Self:
        """The copula of the training rows, on the device and in the precision of the flow."""
        device = flow.base.like.device
        with own_randomness(device):  # the recipe draws an order of the columns
            seed_all(seed, device)
            fitted = assemble(NSF(layers=0), replace(schema, marginals="fitted"))
        fitted = fitted.to(flow.base.like)
        rows = place(fitted, initial_rows(source, seed, fitted))
        initialize(fitted, *rows, noise(fitted, seed))
        what = "fitted distributions of the columns, and their correlation"
        return cls(fitted.eval(), f"{what}; of {len(rows.x):,} training rows")

    def log_prob(self, batch: Batch, same: torch.Generator) -> Tensor:
        """Log-probability of rows in nats (B,) float64; `same` draws the noise the flow drew."""
        return self.flow.log_prob(batch.x, batch.context, same).double()
