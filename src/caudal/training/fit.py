"""Training from one call: rows in, a fitted flow and a run folder out."""

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.data.source import Source, weights_of
from caudal.errors import InputError, NumericalError, as_flags
from caudal.flow import Flow
from caudal.initialization import initialize
from caudal.losses import nll
from caudal.numerics import own_randomness, redirected
from caudal.recipes import describe
from caudal.training.cautions import before
from caudal.training.clock import Budget, measure, plan, probe_seconds, seconds_of, seconds_of_one
from caudal.training.devices import (
    Interrupted,
    end_processes,
    interruptible,
    launch,
    tell_of_ends,
    why_not_compile,
)
from caudal.training.engine import Engine, Loss
from caudal.training.keeper import Keeper
from caudal.training.options import LASTING, Training
from caudal.training.own import Own, loss_of
from caudal.training.pace import Pace
from caudal.training.processes import ProcessLostError, as_launched, how_lost, is_of_processes
from caudal.training.progress import Reporter, Silent
from caudal.training.rebuilt import check_rebuilt
from caudal.training.rows import (
    Array,
    RowsLike,
    few_rows,
    fingerprint,
    hold_out,
    initial_rows,
    resident,
    rows_for,
    to_device,
)
from caudal.training.run import Run
from caudal.training.seeds import SAMPLE, generator_of, global_kept, mix
from caudal.training.state import STATE, Identity, Position, State
from caudal.training.threads import crowd, uncrowded
from caudal.training.trainer import Trainer
from caudal.training.validation import Validator

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Fitted:
    """The result of training.

    Attributes:
        flow: with its best weights, in evaluation mode, on the device it was trained on.
        best_step: number of steps after which these weights were validated.
        best_valid: their mean validation loss, nats.
        stopped: why training ended: "steps" were done, "patience" ran out, or the "minutes" were
            over on a machine that had become much slower.
        history: the records of `metrics.jsonl`: points of the training curve (`step`, `epoch`,
            `train`, `grad_norm`, `lr`, `seconds`); at validations also `valid`, `best`,
            `rows_per_second` and, with splines, `tails`. A loss of several terms adds
            `train_NAME` and `valid_NAME` for each of them.
        training: the options as they were carried out, with the steps that `minutes` allowed.
    """

    flow: Flow
    best_step: int
    best_valid: float
    stopped: str
    history: list[dict[str, Any]]
    training: Training

    def __repr__(self) -> str:
        best = f"best_step={self.best_step}, best_valid={self.best_valid:.6g}"
        return f"Fitted({best}, stopped={self.stopped!r}, {len(self.history)} records)"


@uncrowded()
def fit(
    flow: Any,
    data: RowsLike,
    validation: RowsLike | None = None,
    *,
    weights: Array | None = None,
    training: Training | None = None,
    loss: Loss = nll,
    validation_loss: Loss | None = None,
    whole: Flow | None = None,
    out: str | Path | Run | None = None,
    reporter: Reporter | None = None,
    watch: Callable[[int], object] | None = None,
    budget: Budget | None = None,
) -> Fitted:
    """Trains a flow, in place.

    Args:
        flow: new from its recipe; statistics are taken from the data before the first step. Any
            other module is trained as well, flows among its parts or not, by a `loss` of its own.
        data: training rows: a Source, x (N, *event), or (x, context), tensors or arrays.
        validation: rows to select the best weights on; a tenth of `data` if not given.
        weights: (N,), how much each row of `data` counts in the loss, as for samples with
            importance weights; their scale does not matter. Statistics of layers go by them, too,
            but for those of batch normalisation.
        training: how to train; the defaults of `Training` if not given.
        loss: loss(flow, x, context), what to minimise: of each row (B,), or the mean over the
            rows. One of a user's own may take derivatives with respect to x, and may draw random
            numbers, which the seed decides on.
        validation_loss: what selects the best weights, if not `loss`.
        whole: the flow of which `flow` is the trained part, sharing its modules; then the run's
            model is the whole flow, which its recipe and its schema describe.
        out: the run folder to leave behind; a `Run` goes on with the one in its folder, or
            replaces it. A recipe must have built the flow, or be named by the `Run`.
        reporter: receives progress.
        watch: is called with the number of steps done after the 1st, 2nd, 4th, 8th, ...
            validation and after the last, while the flow is as it was validated; it may draw
            samples from the flow. An error of it ends training, and the flow keeps the weights
            of that moment.
        budget: the time of a job of which training is a part; with `training.minutes` alone all
            of it is for training, from this call on.

    Raises:
        InputError: the data, the options or the folder cannot be used.
        NumericalError: a loss or gradient was not finite; the run keeps the best model so far.
        Interrupted: Ctrl-C or SIGTERM; the state is saved in the run.
    """
    if not isinstance(flow, Flow):
        if out is not None:
            name = type(flow).__name__
            raise InputError(f"{name} is not a Flow, so it leaves no run: leave `out` out")
        fitted = fit(
            Own(flow),
            data,
            validation,
            weights=weights,
            training=training,
            loss=loss_of(loss, flow),
            validation_loss=validation_loss and loss_of(validation_loss, flow),
            reporter=reporter,
            watch=watch,
            budget=budget,
        )
        return replace(fitted, flow=flow)
    training, reporter = as_launched(training or Training()), reporter or Silent()
    if budget is None and training.minutes is not None:
        budget = Budget(time.monotonic() + 60 * training.minutes)
    run = None if out is None else (out if isinstance(out, Run) else Run(out)).of(whole or flow)
    if run:
        run.check_start()
    train, valid = sources_of(flow, data, validation, weights, training)
    training = _with_full_batches(training, train.n_rows)
    keeper = Keeper(run, _identity(run, training, train, valid), whole)
    state = keeper.read(flow)
    if run and run.resume and (state is None or state.moments is None):
        reporter.note(_how_resumed(run, state))
    fabric = launch(training)
    tell_of_ends(fabric, as_flags(_how_lost("has ended", run)))
    reporter = reporter if fabric.global_rank == 0 else Silent()
    training = _without_broken_compiler(training, fabric, reporter)
    ended = "failed"
    try:
        kept = global_kept(fabric.device) if training.compile else nullcontext()
        with own_randomness(fabric.device), kept, interruptible() as stop:
            total = training.total_steps(train.n_rows // training.batch_size)
            weighted = train.weights is not None
            engine = Engine(flow, loss, training, fabric, total, validation_loss, weighted)
            for line in filter(None, (*before(flow, train, training), crowd())):
                reporter.note(line)
            position = _begin(engine, train, state)
            if run and run.recipe:
                rows = None if whole else to_device(next(train.ordered(8)), engine.like)
                check_rebuilt(whole or flow, run.recipe, run.schema, rows)
            if engine.shards:
                engine.shard()
                position = state.restore(engine) if state else position
            train, valid = (resident(source, engine.like) for source in (train, valid))
            validator = Validator(engine, train, valid)
            training, pace = _planned(engine, train, validator, position, budget, reporter)
            keeper.begin(training)
            history = keeper.history(position.step) if state else []
            if state:
                keeper.keep_best(engine.flow, position)
            start = (position, history, watch, pace)
            ended = Trainer(engine, train, validator, keeper, reporter, stop, *start).run()
    except (Interrupted, NumericalError) as error:
        ended = "interrupted" if isinstance(error, Interrupted) else ended
        if engine.together:
            with suppress(RuntimeError):  # another process is gone: the first error says more
                engine.leave()
        raise
    except RuntimeError as error:
        if fabric.world_size > 1 and is_of_processes(error):
            end_processes(fabric)
            raise ProcessLostError(_how_lost(how_lost(error), run)) from error
        raise
    finally:
        keeper.end()
        reporter.finish(ended)
        flow.eval()
    engine.leave(position.best)
    assert position.best_step is not None
    best = position.best_step, position.best_valid
    return Fitted(flow, *best, ended, history, engine.training)


def sources_of(
    flow: Flow,
    data: RowsLike,
    validation: RowsLike | None,
    weights: Array | None,
    training: Training,
) -> tuple[Source, Source]:
    """Training and validation rows; a tenth of the first, where none of the latter are given.

    Raises:
        InputError: they are no rows, or too few.
    """
    train = rows_for(flow, data, weights)
    if validation is None:
        train, valid = hold_out(train, training.seed)
    else:
        valid = rows_for(flow, validation)
    if training.flips and len(flow.event_shape) != 3:
        raise InputError("`flips=True` mirrors images, and these rows are none: leave it out")
    return train, valid


def _how_resumed(run: Run, state: State | None) -> str:
    """A word about a run that does not go on as if it had never stopped."""
    if state is None:
        return f"{run.path}: nothing to resume, starting anew"
    lost = "" if run.from_best else f"no {STATE} is there, "
    step = state.position.step
    return f"{run.path}: {lost}going on from the best model, of step {step}, with a new optimiser"


def _how_lost(how: str, run: Run | None) -> str:
    """A word to the user of a run of which a process is gone."""
    way_on = f"`resume=True` goes on with {run.path}" if run else "nothing is saved"
    return f"another process of this run {how}, and so this one ends too: {way_on}"


def _identity(run: Run | None, training: Training, train: Source, valid: Source) -> Identity:
    recipe, schema = (run.recipe, run.schema) if run else (None, None)
    return {
        "recipe": None if recipe is None else describe(recipe),
        "schema": None if schema is None else schema.to_dict(),
        "training": {name: getattr(training, name) for name in LASTING},
        "data": {"train": fingerprint(train), "validation": fingerprint(valid)},
    }


def _begin(engine: Engine, train: Source, state: State | None) -> Position:
    """Where training starts: after initialisation from the data, or where it was interrupted."""
    if state is not None:
        return state.begin(engine) if engine.shards else state.restore(engine)
    seed = engine.training.seed
    generator = generator_of(mix(seed, SAMPLE), engine.like.device)
    rows = to_device(initial_rows(train, seed, engine.flow), engine.like)
    few = few_rows(train, engine.flow)
    with redirected():
        initialize(engine.flow, *rows, generator, weights_of(rows), few)
    if engine.average:
        engine.average.reset()
    return Position()


def _planned(
    engine: Engine,
    train: Source,
    validator: Validator,
    position: Position,
    budget: Budget | None,
    reporter: Reporter,
) -> tuple[Training, Pace]:
    """The options with the steps that fit the budget, and what keeps its time.

    It is measured only where someone is told, or where there is a budget.
    """
    training, wanted = engine.training, engine.total
    told = engine.fabric.broadcast(not isinstance(reporter, Silent))
    if budget is None and not told:
        return training, Pace()
    seconds = budget.end - time.monotonic() if budget else 0.0
    speed = measure(engine, train, validator, probe_seconds(seconds))
    if budget is not None:
        later = 0.0
        if budget.afterwards:  # which may measure something itself
            later = budget.afterwards(speed.row, budget.end - time.monotonic())
        seconds = budget.end - time.monotonic() - later
        training = plan(training, speed, train, validator.valid, seconds, position.step)
        training = engine.fabric.broadcast(training)
    engine.follow(training, train.n_rows)
    validator.rows = training.validate_rows
    ahead = seconds_of(training, speed, train, validator.valid, position.step)
    one = seconds_of_one(training, speed, validator.valid)
    limit = seconds if budget else None
    return training, Pace(limit, ahead, one, wanted, position.step)


def _with_full_batches(training: Training, rows: int) -> Training:
    """The options with batches of no more rows than there are, an equal share for each device."""
    workers = training.processes * training.accumulate
    if rows >= training.batch_size:
        return training
    if rows < workers:
        raise InputError(f"{rows} training rows: fewer than the {workers} pieces of a batch")
    return replace(training, batch_size=rows // workers * workers)


def _without_broken_compiler(training: Training, fabric: "Fabric", reporter: Reporter) -> Training:
    if not training.compile:
        return training
    why = why_not_compile(fabric.device)
    if why is None:
        return training
    reporter.note(f"`compile=True`: no working compiler, going on without it ({why})")
    return replace(training, compile=False)
