"""Training from one call: rows in, a fitted flow and a run folder out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.data.source import Source, require_rows
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.initialization import initialize
from caudal.losses import nll
from caudal.recipes import Recipe, describe
from caudal.training.compiler import why_not_compile
from caudal.training.devices import launch
from caudal.training.engine import Engine, Loss
from caudal.training.interruption import Interrupted, interruptible
from caudal.training.keeper import Keeper
from caudal.training.match import check_recipe_of
from caudal.training.options import LASTING, Training
from caudal.training.progress import Reporter, Silent
from caudal.training.rows import (
    Given,
    as_source,
    fingerprint,
    hold_out,
    initial_rows,
    place,
    resident,
)
from caudal.training.run import Run
from caudal.training.seeds import SAMPLE, generator_of, mix, own_randomness
from caudal.training.state import Position, restore
from caudal.training.trainer import Trainer
from caudal.training.validation import Validator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from caudal.data.schema import Schema


@dataclass(frozen=True)
class Fitted:
    """What training came to.

    Attributes:
        flow: with its best weights, in evaluation mode, on the device it was trained on.
        best_step: after how many steps these were validated.
        best_valid: their mean validation loss, nats.
        stopped: why it ended: "steps" were done, or "patience" ran out.
        history: the records of `metrics.jsonl`: points of the training curve (`step`, `epoch`,
            `train`, `grad_norm`, `lr`, `seconds`); at validations also `valid`, `best`,
            `rows_per_second` and, with splines, `tails`.
    """

    flow: Flow
    best_step: int
    best_valid: float
    stopped: str
    history: list[dict[str, Any]]


def fit(
    flow: Flow,
    data: Given,
    validation: Given | None = None,
    *,
    training: Training | None = None,
    loss: Loss = nll,
    validation_loss: Loss | None = None,
    whole: Flow | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    recipe: Recipe | None = None,
    schema: "Schema | None" = None,
    reporter: Reporter | None = None,
    config: dict[str, Any] | None = None,
    watch: Callable[[int], object] | None = None,
) -> Fitted:
    """Trains a flow, in place.

    Args:
        flow: new from its recipe; statistics are taken from the data before the first step.
        data: training rows: a Source, x (N, *event), or (x, context), tensors or arrays.
        validation: rows to select the best weights on; a tenth of `data` if not given.
        training: how; the defaults of `Training` if not given.
        loss: loss(flow, x, context), the mean over the rows of x of what to minimise.
        validation_loss: what selects the best weights, if not `loss`.
        whole: the flow of which `flow` is the trained part, sharing its modules; then `out` holds
            that, and `recipe` and `schema` are of it.
        out: the run folder to leave behind.
        resume: go on from the state in `out`, or start if there is none. On the CPU the result
            is bit for bit that of a run without the break. Options may change but for seed,
            batch_size, precision and ema; with more steps the rest follows the longer cosine.
        overwrite: replace the run in `out`, once nothing is left to refuse.
        recipe: that `flow` was built with; needed for `out`, so that its model can be loaded.
        schema: of the table, where `flow` was assembled for one.
        reporter: is told how it goes.
        config: what `config.yaml` in `out` shall hold.
        watch: is called with the steps done after the 1st, 2nd, 4th, 8th, ... validation and the
            last one, while the flow is as it was validated; it may draw from the flow.

    Raises:
        InputError: the data, the options or the folder cannot be used.
        NumericalError: a loss or gradient was not finite; `out` keeps the best model so far.
        Interrupted: Ctrl-C or SIGTERM; the state is saved in `out`.
    """
    training, reporter = training or Training(), reporter or Silent()
    run = None if out is None else Run(out)
    keeper = Keeper(run, recipe, schema, resume, overwrite, config, whole)
    if run and recipe:
        check_recipe_of(whole or flow, recipe, schema)
    train, valid = _sources(flow, data, validation, training)
    identity = {
        "recipe": None if recipe is None else describe(recipe),
        "schema": None if schema is None else schema.to_dict(),
        "training": {name: getattr(training, name) for name in LASTING},
        "data": {"train": fingerprint(train), "validation": fingerprint(valid)},
    }
    state = keeper.read(identity)
    if resume and state is None:
        reporter.note(f"{out}: nothing to resume, starting anew")
    fabric = launch(training)
    reporter = reporter if fabric.global_rank == 0 else Silent()
    training = _without_broken_compiler(training, fabric, reporter)
    ended = "failed"
    try:
        with own_randomness(fabric.device), interruptible() as stop:
            total = training.total_steps(train.n_rows // training.batch_size)
            engine = Engine(flow, loss, training, fabric, total, validation_loss)
            train, valid = (resident(source, engine.like) for source in (train, valid))
            position, history = _begin(engine, train, keeper, state, identity)
            validator = Validator(engine, train, valid)
            start = (position, history, watch)
            trainer = Trainer(engine, train, validator, keeper, identity, reporter, stop, *start)
            ended = trainer.run()
    except Interrupted:
        ended = "interrupted"
        raise
    finally:
        reporter.finish(ended)
        flow.eval()
    flow.load_state_dict(position.best)
    assert position.best_step is not None
    return Fitted(flow, position.best_step, position.best_valid, ended, history)


def _sources(
    flow: Flow, data: Given, validation: Given | None, training: Training
) -> tuple[Source, Source]:
    train = as_source(data, flow)
    if validation is None:
        train, valid = hold_out(train, training.seed)
    else:
        valid = as_source(validation, flow)
    require_rows(train, training.batch_size)
    if training.flips and len(flow.event_shape) != 3:
        raise InputError("--flips mirrors images, and these rows are none: leave it out")
    return train, valid


def _begin(
    engine: Engine,
    train: Source,
    keeper: Keeper,
    state: dict[str, Any] | None,
    identity: dict[str, Any],
) -> tuple[Position, list[dict[str, Any]]]:
    """Where training starts: after initialisation from the data, or where it was left."""
    if state is not None:
        position = restore(state, engine)
        keeper.begin()
        keeper.keep_best(engine.flow, position, identity)
        return position, keeper.history(position.step)
    seed = engine.training.seed
    generator = generator_of(mix(seed, SAMPLE), engine.like.device)
    rows = place(initial_rows(train, seed, engine.flow), engine.like)
    initialize(engine.flow, *rows, generator)
    if engine.average:
        engine.average.reset()
    keeper.begin()
    return Position(), []


def _without_broken_compiler(training: Training, fabric: "Fabric", reporter: Reporter) -> Training:
    if not training.compile:
        return training
    why = why_not_compile(fabric.device)
    if why is None:
        return training
    reporter.note(f"--compile: no working compiler, going on without it ({why})")
    return replace(training, compile=False)
