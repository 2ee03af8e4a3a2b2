"""The loss of held-out rows, by the same rules and the same noise each time."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor

from caudal.data.source import Batch, Source
from caudal.errors import NumericalError
from caudal.initialization import calibrate
from caudal.numerics import drawing
from caudal.training.diagnosis import diagnose
from caudal.training.engine import Engine
from caudal.training.rows import calibration_rows, place, sample_rows, share, within
from caudal.training.seeds import SAMPLE, VALIDATION, generator_of, mix, seed_all
from caudal.training.tails import tail_share

_ROWS = 4096  # of a validation batch, at most
_NUMBERS = 1 << 20  # of a validation batch, at most, where the events are large
_TAIL_ROWS = 10_000
_TAIL_NUMBERS = 1 << 22  # where the events are large


class Validator:
    """Calibrates a flow on the training rows and measures it on the validation rows.

    Batch normalisation gets the moments of the whole training set (MAF's rule; of a fixed
    100,000 rows where it is streamed or has over a million, of as many images as hold 16 million
    numbers). Dequantisation draws the same noise each time, so validations differ by the weights
    alone.
    """

    def __init__(self, engine: Engine, train: Source, valid: Source) -> None:
        self.engine = engine
        self.seed = engine.training.seed
        self.valid = valid
        self._calibration = place(calibration_rows(train, self.seed), engine.like)
        tail_rows = within(valid, _TAIL_ROWS, _TAIL_NUMBERS)
        self._tails = place(sample_rows(valid, tail_rows, self.seed), engine.like)
        elements = self._tails.x[0].numel()
        self._batch_size = max(1, min(_ROWS, _NUMBERS // elements))

    def averaged(self) -> AbstractContextManager[None]:
        """Within, the flow holds the moving average of its weights, if there is one."""
        average = self.engine.average
        return average.swapped_in() if average else nullcontext()

    def measure(self) -> dict[str, float]:
        """`valid`, the mean loss in nats, and `tails`, the share of numbers in spline tails.

        Of a loss of several terms also each of them, as `valid_NAME`.

        Raises:
            NumericalError: the loss of a batch is not finite; says where and why.
        """
        flow = self.engine.flow.eval()
        calibrate(flow, *self._calibration, self._generator())
        found = self._loss()
        tails = tail_share(flow, *self._tails, self._generator())
        if tails is not None:
            found["tails"] = tails
        flow.train()
        return found

    def _loss(self) -> dict[str, float]:
        fabric, like = self.engine.fabric, self.engine.like
        names = ["valid", *(f"valid_{name}" for name in self.engine.terms or ())]
        totals = dict.fromkeys(names, 0.0)
        rows = 0
        for index, whole in enumerate(self.valid.ordered(self._batch_size)):
            batch = place(share(whole, fabric.global_rank, fabric.world_size), like)
            if len(batch.x):
                losses = {"valid": self._batch_loss(index, batch)}
                losses |= {f"valid_{k}": float(v) for k, v in (self.engine.terms or {}).items()}
                for name, loss in losses.items():
                    totals[name] += loss * len(batch.x)
                rows += len(batch.x)
        if fabric.world_size > 1:
            sums = like.new_tensor([*totals.values(), rows])
            *means, rows = cast(Tensor, fabric.all_reduce(sums, reduce_op="sum")).tolist()
            totals = dict(zip(totals, means, strict=True))
        return {name: total / rows for name, total in totals.items()}

    def _batch_loss(self, index: int, batch: Batch) -> float:
        seed = mix(self.seed, VALIDATION, index, self.engine.fabric.global_rank)
        seed_all(seed, batch.x.device)
        # Estimated log-dets draw for each row by itself, so that their errors average out.
        with drawing(generator_of(seed, batch.x.device)):
            loss = self.engine.evaluate(batch)
        if not math.isfinite(loss):
            seed_all(seed, batch.x.device)
            why = diagnose(self.engine.flow, batch)
            raise NumericalError(f"the loss of validation batch {index} is {loss}: {why}")
        return loss

    def _generator(self) -> torch.Generator:
        device = self.engine.like.device
        return generator_of(mix(self.seed, VALIDATION, SAMPLE), device)
