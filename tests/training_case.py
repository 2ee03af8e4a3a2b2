"""A run with all its randomness: shuffling, dropout, dequantisation, batch moments, EMA."""

import time
from dataclasses import dataclass

import torch

from caudal.base import Normal
from caudal.bijection import Chain
from caudal.bijections import Autoregressive, BatchNorm, Flip
from caudal.data import Column, TableSchema
from caudal.elementwise import Affine, RationalQuadraticSpline
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modality import assemble
from caudal.nets import MADE
from caudal.recipes import Recipe, register
from caudal.recipes.recipe import parity, residual_coupling
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.run import Run


@dataclass(frozen=True)
class Everything(Recipe):
    """For tests only."""

    name = "everything"
    paper, year, good_for, scores, samples = "none", 2000, "tests", "parallel", "sequential"

    hidden: tuple[int, ...] = (16,)
    dropout: float = 0.2

    def _build(self, event_shape, context_shape=None):
        features, context = self._sizes(event_shape, context_shape)
        spline = RationalQuadraticSpline(bins=4)
        parts = [
            residual_coupling(spline, parity(features, 0), context, 16, 1, self.dropout),
            BatchNorm((features,)),
            Flip(),
            Autoregressive(MADE(features, 2, self.hidden, context), Affine()),
            BatchNorm((features,)),
        ]
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)


SCHEMA = TableSchema(
    (
        Column("count", "integer", low=0, high=9, step=1.0),
        Column("size", "real", missing=True),
        Column("price", "positive", low=0.0),
    ),
    (
        Column(
            "kind", "categorical", low=0, high=1, step=1.0, categories=("a", "b"), dtype="string"
        ),
    ),
)
TRAINING = Training(
    epochs=5, batch_size=32, lr=3e-3, ema=0.9, warmup=10, validate_every=15, patience=0
)
ROWS = 264  # 8 batches an epoch, and a ragged one left out


def rows(n: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(0, 10, (n,), generator=generator).float()
    size = count + torch.randn(n, generator=generator)
    size[::7] = torch.nan
    price = torch.randn(n, generator=generator).exp()
    kind = torch.randint(0, 2, (n, 1), generator=generator).float()
    return torch.stack([count, size, price], 1), kind


def train(out, training=TRAINING, loss=nll, resume=False, reporter=None, n=ROWS, **modes):
    """A whole run; the flow starts from other weights when it resumes."""
    register(Everything)
    torch.manual_seed(99 if resume else 0)
    flow = assemble(Everything(), SCHEMA)
    run = None if out is None else Run(out, Everything(), SCHEMA, resume=resume, **modes)
    data, validation = rows(n, 1), rows(200, 2)
    options = {"training": training, "loss": loss, "validation_loss": nll}
    return fit(flow, data, validation, **options, reporter=reporter, out=run)


def timeless(records):
    """Records without what differs between two runs of the same training."""
    return [
        {k: v for k, v in r.items() if k not in ("seconds", "rows_per_second")} for r in records
    ]


def slow(flow, x, context):
    time.sleep(0.06)
    return nll(flow, x, context)
