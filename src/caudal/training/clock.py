"""Planning by the clock: how many steps, and which validations, fit the minutes there are."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from statistics import median

from caudal.data.source import Batch, Source
from caudal.training.engine import Engine, NotFiniteError
from caudal.training.options import Training
from caudal.training.pace import SLACK
from caudal.training.rows import share, to_device
from caudal.training.seeds import ORDER, mix
from caudal.training.validation import Validator

_PROBE = 0.03  # share of the time that measuring may take
_MOST_PROBE = 3.0  # seconds
_ALL_VALIDATIONS, _ONE_VALIDATION = 0.15, 0.03  # shares of the time of training
_LEAST_ROWS = 64  # rows of a validation, if there are as many
_MOST_VALIDATIONS = 100


@dataclass(frozen=True)
class Speed:
    """What this machine takes, in seconds.

    Attributes:
        step: for one step of training.
        row: to score one validation row.
        besides: for what a validation does besides: calibration, and a look at splines' tails.
    """

    step: float
    row: float
    besides: float = 0.0


@dataclass(frozen=True)
class Budget:
    """The time that a whole job may take.

    Attributes:
        end: when it is over, by `time.monotonic`.
        afterwards: seconds of the work that follows training, given those of scoring a row and
            those that are left; nothing follows if None.
    """

    end: float
    afterwards: Callable[[float, float], float] | None = None


def measure(engine: Engine, train: Source, validator: Validator, seconds: float) -> Speed:
    """Takes some steps and scores some rows; the flow and its optimiser are left as they were.

    Args:
        engine: takes the steps.
        train: their rows.
        validator: scores rows.
        seconds: how long the steps may take; two of them are taken in any case.
    """
    put_back = engine.remember()
    times: list[float] = []
    engine.flow.train()
    for batch in _endless(train, engine):
        start = time.monotonic()
        try:
            engine.step(len(times), batch)
        except NotFiniteError:  # training itself will meet it too, and say why
            break
        times.append(time.monotonic() - start)
        if len(times) > 1 and engine.fabric.broadcast(sum(times) >= seconds):
            break
    put_back()
    later = times[1:] or times or [0.0]  # the first one also allocates, and perhaps compiles
    return Speed(median(later), *validator.seconds())


def plan(
    training: Training, speed: Speed, train: Source, valid: Source, seconds: float, first: int
) -> Training:
    """The same options with as many steps as fit, and validations that cost a small share.

    Steps are at most those of `training`. Options that were given stay what they are.

    Args:
        training: with batches of at most the rows there are.
        speed: of this machine.
        train: the training rows.
        valid: the validation rows.
        seconds: those that are left for training.
        first: steps that were done before.
    """
    seconds *= SLACK
    per_epoch = max(1, train.n_rows // training.batch_size)
    rows = training.validate_rows or valid.n_rows
    row = max(speed.row, 1e-9)  # some clocks are too coarse for one
    if training.validate_rows is None:
        affordable = int((_ONE_VALIDATION * seconds - speed.besides) / row)
        rows = min(rows, max(affordable, _LEAST_ROWS))
    one = speed.besides + rows * row
    most = max(1, min(_MOST_VALIDATIONS, int(_ALL_VALIDATIONS * seconds / one)))
    left = max(1, training.total_steps(per_epoch) - first)
    every = training.validate_every
    if every is None:
        steps = max(1, int((seconds - most * one) / speed.step))
        every = max(per_epoch, -(-min(steps, left) // most))
    steps = max(1, min(left, int(seconds / (speed.step + one / every))))
    if training.validate_every is None:
        every = min(every, first + steps)
    return replace(
        training,
        steps=first + steps,
        validate_every=every,
        validate_rows=rows if rows < valid.n_rows else training.validate_rows,
        minutes=None,
    )


def seconds_of(
    training: Training, speed: Speed, train: Source, valid: Source, first: int
) -> float:
    """How long the steps from `first` on and their validations will take."""
    per_epoch = max(1, train.n_rows // training.batch_size)
    steps = training.total_steps(per_epoch) - first
    one = seconds_of_one(training, speed, valid)
    return steps * (speed.step + one / (training.validate_every or per_epoch))


def seconds_of_one(training: Training, speed: Speed, valid: Source) -> float:
    """How long a validation will take."""
    rows = min(training.validate_rows or valid.n_rows, valid.n_rows)
    return speed.besides + rows * speed.row


def probe_seconds(seconds: float) -> float:
    """How long measuring may take where `seconds` are left."""
    return min(_MOST_PROBE, _PROBE * max(seconds, 0.0))


def _endless(train: Source, engine: Engine) -> Iterator[Batch]:
    """Batches as training has them, pass after pass."""
    training, fabric = engine.training, engine.fabric
    for epoch in count():
        for whole in train.shuffled(training.batch_size, mix(training.seed, ORDER, epoch)):
            yield to_device(share(whole, fabric.global_rank, fabric.world_size), engine.like)
