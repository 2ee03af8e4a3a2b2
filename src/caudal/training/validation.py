"""The loss of held-out rows, with the same batches and the same noise each time."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from operator import itemgetter
from statistics import fmean
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, Inverse, walk
from caudal.bijections import (
    Autoregressive,
    BatchNorm,
    Correlate,
    Coupling,
    Gaussianise,
    Pointwise,
    Prediction,
    TokenCouplings,
)
from caudal.data.source import Batch, Source, mapped, weights_of
from caudal.elementwise import Elementwise
from caudal.errors import NumericalError
from caudal.flow import Flow
from caudal.initialization import calibrate
from caudal.numerics import drawing, own_randomness
from caudal.training.diagnosis import diagnose
from caudal.training.engine import Engine
from caudal.training.precision import Gap, is_comparable, precision_gap
from caudal.training.rows import calibration_rows, sample_rows, share, to_device, within
from caudal.training.seeds import SAMPLE, VALIDATION, generator_of, mix

_ROWS = 4096  # in a validation batch, at most
_NUMBERS = 1 << 20  # in a validation batch, at most, where the events are large
_TAIL_ROWS = 2_000
_TAIL_NUMBERS = 1 << 20  # where the events are large
_TIMED_ROWS, _TIMED_SECONDS = 64, 0.2
_OBSERVING = (BatchNorm, nn.BatchNorm2d)  # layers that calibration shows the training rows
_PRECISE, _LEAST = 256, 8  # rows that are scored in float64 too, at most and at least
_PARTS = 256  # parts of the rows, whose mean losses tell the error of the whole
_BATCHES = 32  # batches that serve as parts where a loss gives no rows; each costs a pass
_HOLDERS = (Autoregressive, Coupling, Pointwise)  # bijections that apply an elementwise map


class Validator:
    """Calibrates a flow on the training rows and measures it on the validation rows.

    Batch normalisation gets the moments of the whole training set (MAF's rule); of a fixed
    100,000 rows where it is streamed or has over a million rows, and of as many images as hold
    16 million numbers. Dequantisation draws the same noise each time, so validations differ by
    the weights alone.

    Attributes:
        parts: mean losses of parts of the rows at the last measurement, in the same order each
            time; a part is a row where there are few.
    """

    def __init__(self, engine: Engine, train: Source, valid: Source) -> None:
        self.engine = engine
        self.seed = engine.training.seed
        self.valid, self.rows = valid, engine.training.validate_rows
        self._calibration = to_device(calibration_rows(train, self.seed), engine.like)
        tail_rows = within(valid, _TAIL_ROWS, _TAIL_NUMBERS)
        self._tails = to_device(sample_rows(valid, tail_rows, self.seed), engine.like)
        elements = self._tails.x[0].numel()
        # A row here costs as much as one of training: a float64 pass takes as long as a backward.
        between = engine.training.validate_every or train.n_rows // engine.training.batch_size
        few = max(_LEAST, min(_PRECISE, between * engine.training.batch_size // 50))
        few = max(1, min(few, _NUMBERS // 4 // elements))
        x, context = self._tails
        self._precise = Batch(x[:few], None if context is None else context[:few])
        self._most = max(1, min(_ROWS, _NUMBERS // elements))
        self.parts: list[float] = []

    @property
    def batch_size(self) -> int:
        """Rows of a batch; where the loss tells no rows, several batches tell its error."""
        most = min(self._most, self._measured_rows)
        if self.engine.tells_rows or not begins_fitted(self.engine.flow):
            return most
        return min(most, math.ceil(self._measured_rows / _BATCHES))

    @property
    def _measured_rows(self) -> int:
        return min(self.rows or self.valid.n_rows, self.valid.n_rows)

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
        flow, call = self.engine.flow.eval(), self.engine.call
        call(calibrate, flow, *self._calibration, self._generator())
        measured = self._losses()
        tails = call(tail_share, flow, *self._tails, self._generator())
        if tails is not None:
            measured["tails"] = tails
        flow.train()
        return measured

    def precision_gap(self) -> Gap:
        """How far scores of a few validation rows are from those in float64."""
        if not is_comparable(self.engine.flow, self._precise):
            return Gap(0.0, 0.0)
        with self.engine.whole() as flow:
            gap = precision_gap(flow.eval(), self._precise)
            flow.train()
        return gap

    def _losses(self) -> dict[str, float]:
        """The means over the validation rows of all processes."""
        fabric, like = self.engine.fabric, self.engine.like
        per_batch = _PARTS // math.ceil(self._measured_rows / self.batch_size)
        totals: dict[str, float] = {}
        parts: list[Tensor] = []  # for each batch (2, parts): sums of losses, and of rows
        weight = 0.0
        for index, whole in enumerate(self._batches()):
            each = weights_of(whole)
            weight += len(whole.x) if each is None else float(each.double().sum())
            batch = to_device(share(whole, fabric.global_rank, fabric.world_size), like)
            losses, terms = self._batch_losses(index, batch, whole)
            for name, loss in terms.items():
                totals[name] = totals.get(name, 0.0) + loss * len(batch.x)
            several = min(per_batch, len(whole.x)) if self.engine.tells_rows else 1
            place = fabric.global_rank, fabric.world_size, len(whole.x)
            parts.append(_sums(losses, len(batch.x), max(1, several), place))
        sums = torch.cat(parts, 1)
        if fabric.world_size > 1:
            mine = torch.cat([sums.flatten(), sums.new_tensor(list(totals.values()))])
            every = cast(Tensor, fabric.all_reduce(mine.to(like.device), reduce_op="sum")).cpu()
            sums = every[: sums.numel()].view_as(sums)
            totals = dict(zip(totals, every[sums.numel() :].tolist(), strict=True))
        if not sums.isfinite().all():
            raise NumericalError(self._explain([part.shape[1] for part in parts], sums))
        sums[0] /= weight / float(sums[1].sum())  # the mean weight of the rows that were taken
        self.parts = (sums[0] / sums[1]).tolist()
        loss, rows = sums.sum(1).tolist()
        return {"valid": loss / rows, **{name: total / rows for name, total in totals.items()}}

    def _batches(self) -> Iterator[Batch]:
        """The validation rows; if only so many are asked for, the same ones each time."""
        most = self.rows
        if most is None or most >= self.valid.n_rows:
            yield from self.valid.ordered(self.batch_size)
            return
        seed = mix(self.seed, VALIDATION, SAMPLE)
        for batch in self.valid.shuffled(self.batch_size, seed):
            yield mapped(batch, itemgetter(slice(most)))
            most -= len(batch.x)
            if most <= 0:
                return

    def seconds(self) -> tuple[float, float]:
        """How long one row takes here, and what a validation does besides."""
        flow, rows, row = self.engine.flow.eval(), _TIMED_ROWS, 0.0
        for _ in range(2):  # the first pass also allocates; the second has as many as are quick
            batch = next(self.valid.ordered(min(rows, self.batch_size)))
            start = time.monotonic()
            self.engine.evaluate(to_device(batch, self.engine.like))
            row = (time.monotonic() - start) / len(batch.x)
            rows = max(rows, int(_TIMED_SECONDS / max(row, 1e-9)))
            rows = self.engine.fabric.broadcast(rows)
        modules, besides = list(flow.train().modules()), 0
        if any(isinstance(module, _OBSERVING) for module in modules):
            besides += len(self._calibration.x)
        if any(map(_elementwise, modules)):
            besides += len(self._tails.x)
        return row, row * besides

    def _batch_losses(
        self, index: int, batch: Batch, whole: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """The losses of this process's share of a batch, and their terms."""
        if not len(batch.x):  # there are more processes than rows
            if self.engine.sharded:  # the others gather weights, for which all must come
                first = mapped(whole, itemgetter(slice(1)))
                self.engine.evaluate(to_device(first, self.engine.like))
            return batch.x.new_zeros(0), {}
        seed, device = self._seed_of(index), batch.x.device
        # Estimated log-dets draw for each row by itself, so that their errors average out.
        with (
            self.engine.sharing(len(whole.x)),
            own_randomness(device, seed),
            drawing(generator_of(seed, device)),
        ):
            return self.engine.evaluate(batch)

    def _seed_of(self, index: int) -> int:
        return mix(self.seed, VALIDATION, index, 0)

    def _explain(self, lengths: Sequence[int], sums: Tensor) -> str:
        """Where and why a loss is not finite: every process finds the same, in the whole batch.

        `sums` (2, parts) are the losses and the rows of batches with so many parts.
        """
        batches = sums.split(list(lengths), 1)
        index = next(i for i, batch in enumerate(batches) if not batch.isfinite().all())
        loss, rows = batches[index].sum(1).tolist()
        whole = next(islice(self._batches(), index, None))
        with self.engine.whole() as flow:
            batch = to_device(whole, flow.base.like)
            with own_randomness(batch.x.device, self._seed_of(index)):
                why = diagnose(flow, batch)
        return f"the loss of validation batch {index} is {loss / rows}: {why}"

    def _generator(self) -> torch.Generator:
        device = self.engine.like.device
        return generator_of(mix(self.seed, VALIDATION, SAMPLE), device)


def begins_fitted(flow: Flow) -> bool:
    """Whether a flow is a model of the data before its first step."""
    fitted = Correlate | Gaussianise | Prediction
    return any(isinstance(part, fitted) for part in flow.modules())


def _sums(losses: Tensor, rows: int, parts: int, place: tuple[int, int, int]) -> Tensor:
    """The sums of the losses of each part of a batch, and its rows, as (2, parts).

    `place` is that of the process, their number, and that of the rows of the whole batch: a part
    has the same rows however many processes share them.
    """
    losses = losses.cpu().double()
    if len(losses) < rows:  # the mean alone is known
        return torch.stack([losses * rows, losses.new_tensor([rows])])
    rank, world, whole = place
    sizes = torch.tensor([len(chunk) for chunk in torch.arange(whole).tensor_split(parts)])
    part = torch.arange(parts).repeat_interleave(sizes)[rank::world]
    both = torch.stack([losses, torch.ones_like(losses)])
    return both.new_zeros(2, parts).index_add_(1, part[: both.shape[1]], both)


def is_better(parts: Sequence[float], start: Sequence[float]) -> bool:
    """Whether losses of parts of the rows are less than those at the start, beyond chance.

    The best of many validations of few rows is better by chance, and what few rows cannot tell
    from the start is more often worse. The bound is about Student's, at 0.975.
    """
    if len(parts) != len(start):  # the state is of an older version, which had other parts
        return fmean(parts) < fmean(start)
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
    for _, part, part_input, _ in walk(flow.bijection, lifted, flow.embed(context)):
        tails = _tails(part, part_input)
        if tails is not None:
            outside += int(tails.sum())
            inside += int((~tails).sum())
    flow.train(was_training)
    return outside / (inside + outside) if inside + outside else None


def _elementwise(module: object) -> Elementwise | TokenCouplings | None:
    """What moves the numbers of a module, if it has tails."""
    if not isinstance(module, _HOLDERS):
        return None
    law: Elementwise | TokenCouplings = module.elementwise
    return None if law.in_tails(torch.zeros(1, 1)) is None else law


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
