"""The loss of held-out rows, with the same batches and the same noise each time."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import torch
from torch import Tensor

from caudal.bijection import Bijection, Inverse, walk
from caudal.bijections import Autoregressive, Correlate, Coupling, Gaussianise, Pointwise
from caudal.data.source import Batch, Source
from caudal.elementwise import Elementwise
from caudal.errors import NumericalError
from caudal.flow import Flow
from caudal.initialization import calibrate
from caudal.numerics import drawing
from caudal.training.diagnosis import diagnose
from caudal.training.engine import Engine
from caudal.training.rows import calibration_rows, sample_rows, share, to_device, within
from caudal.training.seeds import SAMPLE, VALIDATION, generator_of, mix, seed_all

_ROWS = 4096  # in a validation batch, at most
_NUMBERS = 1 << 20  # in a validation batch, at most, where the events are large
_PARTS = 32  # batches whose losses tell the error of their mean
_TAIL_ROWS = 10_000
_TAIL_NUMBERS = 1 << 22  # where the events are large
_HOLDERS = (Autoregressive, Coupling, Pointwise)  # bijections that apply an elementwise map


class Validator:
    """Calibrates a flow on the training rows and measures it on the validation rows.

    Batch normalisation gets the moments of the whole training set (MAF's rule); of a fixed
    100,000 rows where it is streamed or has over a million rows, and of as many images as hold
    16 million numbers. Dequantisation draws the same noise each time, so validations differ by
    the weights alone.

    Attributes:
        parts: the mean losses of the batches of the last measurement; at least 16 of them, as far
            as there are rows, where the flow begins as a model of the data.
    """

    def __init__(self, engine: Engine, train: Source, valid: Source) -> None:
        self.engine = engine
        self.seed = engine.training.seed
        self.valid = valid
        self._calibration = to_device(calibration_rows(train, self.seed), engine.like)
        tail_rows = within(valid, _TAIL_ROWS, _TAIL_NUMBERS)
        self._tails = to_device(sample_rows(valid, tail_rows, self.seed), engine.like)
        elements = self._tails.x[0].numel()
        self._batch_size = max(1, min(_ROWS, _NUMBERS // elements))
        if begins_fitted(engine.flow):
            self._batch_size = min(self._batch_size, math.ceil(valid.n_rows / _PARTS))
        self.parts: list[float] = []

    def averaged(self) -> AbstractContextManager[None]:
        """Within, the flow holds the moving average of its weights, if there is one."""
        average = self.engine.average
        return average.swapped_in() if average else nullcontext()

    def measure(self) -> dict[str, float]:
        """`valid`, the mean loss in nats, and `tails`, the share of numbers in spline tails.

        A loss of several terms adds each of them as `valid_NAME`.

        Raises:
            NumericalError: the loss of a batch is not finite; says where and why.
        """
        flow = self.engine.flow.eval()
        calibrate(flow, *self._calibration, self._generator())
        measured = self._losses()
        tails = tail_share(flow, *self._tails, self._generator())
        if tails is not None:
            measured["tails"] = tails
        flow.train()
        return measured

    def _losses(self) -> dict[str, float]:
        """The means over the validation rows of all processes."""
        fabric, like = self.engine.fabric, self.engine.like
        totals: dict[str, float] = {"valid": 0.0}
        parts: list[float] = []
        rows: list[int] = []
        for index, whole in enumerate(self.valid.ordered(self._batch_size)):
            batch = to_device(share(whole, fabric.global_rank, fabric.world_size), like)
            losses = self._batch_losses(index, batch) if len(batch.x) else {}
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss * len(batch.x)
            parts.append(losses.get("valid", 0.0) * len(batch.x))
            rows.append(len(batch.x))
        if fabric.world_size > 1:
            sums = like.new_tensor([*totals.values(), *parts, *rows])
            numbers = cast(Tensor, fabric.all_reduce(sums, reduce_op="sum")).tolist()
            totals = dict(zip(totals, numbers, strict=False))
            parts = numbers[len(totals) : -len(rows)]
            rows = [int(n) for n in numbers[-len(rows) :]]
        self.parts = [part / n for part, n in zip(parts, rows, strict=True)]
        return {name: total / sum(rows) for name, total in totals.items()}

    def _batch_losses(self, index: int, batch: Batch) -> dict[str, float]:
        seed = mix(self.seed, VALIDATION, index, self.engine.fabric.global_rank)
        seed_all(seed, batch.x.device)
        # Estimated log-dets draw for each row by itself, so that their errors average out.
        with drawing(generator_of(seed, batch.x.device)):
            losses = self.engine.evaluate(batch)
        if not math.isfinite(losses["valid"]):
            seed_all(seed, batch.x.device)
            why = diagnose(self.engine.flow, batch)
            is_loss = f"the loss of validation batch {index} is {losses['valid']}"
            raise NumericalError(f"{is_loss}: {why}")
        return losses

    def _generator(self) -> torch.Generator:
        device = self.engine.like.device
        return generator_of(mix(self.seed, VALIDATION, SAMPLE), device)


def begins_fitted(flow: Flow) -> bool:
    """Whether a flow is a model of the data before its first step."""
    return any(isinstance(part, Correlate | Gaussianise) for part in flow.modules())


def is_better(parts: Sequence[float], start: Sequence[float]) -> bool:
    """Whether losses of parts of the rows are less than those at the start, beyond chance.

    The best of many validations of few rows is better by chance, and what few rows cannot tell
    from the start is more often worse. The bound is about Student's, at 0.975.
    """
    gains = np.subtract(start, parts)
    if len(gains) < 2:
        return False
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    return bool(gains.mean() > (2 + 3 / (len(gains) - 1)) * error)


@torch.no_grad()
def tail_share(
    flow: Flow,
    x: Tensor,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> float | None:
    """The share in [0, 1] of the numbers moved by splines that fall in the splines' tails.

    There the map is the identity and no parameter gets a gradient. None for a flow without
    splines. x is (B, *event), context (B, C), as in `Flow.log_prob`.
    """
    if not any(_elementwise(module) for module in flow.bijection.modules()):
        return None
    was_training = flow.training
    flow.eval()
    inside, outside = 0, 0
    lifted, _ = flow.lift(x, generator)
    for _, part, part_input in walk(flow.bijection, lifted, flow.embed(context)):
        tails = _tails(part, part_input)
        if tails is not None:
            outside += int(tails.sum())
            inside += int((~tails).sum())
    flow.train(was_training)
    return outside / (inside + outside) if inside + outside else None


def _elementwise(module: object) -> Elementwise | None:
    """The elementwise map of a module, if it has one with tails."""
    if not isinstance(module, _HOLDERS):
        return None
    tails = module.elementwise.in_tails(torch.zeros(1, 1))
    return None if tails is None else module.elementwise


def _tails(part: Bijection, x: Tensor) -> Tensor | None:
    """Mask of the numbers that a part moves and that lie in its tails."""
    while isinstance(part, Inverse):
        part = part.bijection
    elementwise = _elementwise(part)
    if elementwise is None:
        return None
    if isinstance(part, Coupling):
        x = x[:, ~part.keep]
    return elementwise.in_tails(x)
