"""Flows fitted to plain tensors, or to a density, in one call, and the pages of their runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caudal.bijections import BatchNorm
from caudal.data import Dataset, TensorSchema
from caudal.data.density import DensitySchema
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modalities.density import density_dataset
from caudal.modalities.tensors import tensor_dataset
from caudal.model.finishing import finish
from caudal.model.model import Model
from caudal.model.settings import plain
from caudal.recipes import Recipe, describe
from caudal.targets import LogDensity, Named, Target
from caudal.training import fit as engine
from caudal.training.density_terms import DensityTerms, Variational
from caudal.training.engine import Loss
from caudal.training.fit import Fitted, sources_of
from caudal.training.options import Training
from caudal.training.progress import Reporter
from caudal.training.rows import Array, RowsLike, rows_for
from caudal.training.run import Run
from caudal.training.together import together

Out = str | Path | Run | None
"""A run folder, or None for a fit in memory."""


def fit(
    flow: Any,
    data: RowsLike,
    validation: RowsLike | None = None,
    *,
    test: RowsLike | None = None,
    weights: Array | None = None,
    training: Training | None = None,
    loss: Loss = nll,
    validation_loss: Loss | None = None,
    out: Out = None,
    report: bool = True,
    reporter: Reporter | None = None,
    watch: Callable[[int], object] | None = None,
) -> Fitted:
    """Trains a flow, in place, on tensors.

    With `out` it leaves a run. If the rows are vectors and no schema says more, that has the
    report of every run: the log-likelihood of test rows beside the Gaussian's, the curve, and
    samples beside data.

    Args:
        flow: new from its recipe; statistics are taken from the data before the first step. Any
            other module is trained as well, flows among its parts or not, by a `loss` of its own.
        data: training rows: a Source, x (N, *event), or (x, context), tensors or arrays.
        validation: rows to select the best weights on; a tenth of `data` if not given.
        test: rows that training does not see, for the report; the validation rows if not given.
        weights: (N,), how much each row of `data` counts in the loss, as for samples with
            importance weights; their scale does not matter. Statistics of layers go by them, too,
            but for those of batch normalisation.
        training: how to train; the defaults of `Training` if not given.
        loss: loss(flow, x, context), what to minimise: of each row (B,), or the mean over the
            rows. One of a user's own may take derivatives with respect to x, and may draw random
            numbers, which the seed decides on.
        validation_loss: what selects the best weights, if not `loss`.
        out: the run folder to leave behind; a `Run` goes on with the one in its folder, or
            replaces it. A recipe must have built the flow, or be named by the `Run`.
        report: whether the run is evaluated and has a page.
        reporter: receives progress.
        watch: is called with the number of steps done after the 1st, 2nd, 4th, 8th, ...
            validation and after the last, while the flow is as it was validated; it may draw
            samples from the flow. An error of it ends training, and the flow keeps the weights
            of that moment.

    Raises:
        InputError: the data, the options or the folder cannot be used.
        NumericalError: a loss or gradient was not finite; the run keeps the best model so far.
        Interrupted: Ctrl-C or SIGTERM; the state is saved in the run.
    """
    training = training or Training()
    how: dict[str, Any] = {"training": training, "loss": loss, "validation_loss": validation_loss}
    how |= {"reporter": reporter, "watch": watch}
    if out is None or not isinstance(flow, Flow):
        return engine.fit(flow, data, validation, weights=weights, out=out, **how)
    run = _run(out, flow, training)
    train, valid = sources_of(flow, data, validation, weights, training)
    tested = None if test is None else rows_for(flow, test)
    fitted = engine.fit(flow, train, valid, out=run, **how)
    if run.schema is None and len(flow.event_shape) == 1:
        schema = TensorSchema.of(flow.event_shape, flow.base.like.dtype)
        _finish(run, fitted, tensor_dataset(schema, train, valid, tested), report)
    return fitted


def fit_density(
    flow: Flow,
    log_density: LogDensity,
    *,
    options: Variational | None = None,
    training: Training | None = None,
    out: Out = None,
    report: bool = True,
    reporter: Reporter | None = None,
    watch: Callable[[int], object] | None = None,
) -> Fitted:
    """Trains a flow in place to be p(x) = exp(t(x)) / Z, without data: `fit` on annealed chains.

    First a broad Gaussian is annealed to the density (`caudal.annealing.anneal`), which finds its
    modes. Then the flow minimises KL(p||q) on these chains plus KL(q||p) on its own draws, while
    the chains go on: by Hamiltonian moves, and by jumps that the flow proposes. A fifth of the
    chains is held out, stays where it is, and selects the best weights by its mean -log q. So
    `best_valid` and the validations of the history are nats of a held-out estimate.

    Args:
        flow: new from its recipe, over vectors, without context.
        log_density: t(x), log-densities (N,) in nats of rows (N, D), up to a constant, by torch; a
            `caudal.targets.Target` also knows its scale and symmetries.
        options: what to learn; `Variational()` if not given.
        training: how to train; the defaults of `Training` if not given. A resumed run goes on with
            its chains.
        out: as of `fit`.
        report: as of `fit`; log Z, effective sizes and the weights are told.
        reporter: as of `fit`.
        watch: as of `fit`.

    Raises:
        InputError: the flow is not one of vectors without context, or as `fit` and `anneal`.
        NumericalError: the density is NaN or +inf somewhere, which is said, or as `fit`.
        Interrupted: as `fit`.
    """
    options, training = options or Variational(), training or Training()
    check_flow(flow)
    like, features = flow.base.like, flow.event_shape[0]
    target = log_density
    if not isinstance(target, Target):
        name = getattr(log_density, "__name__", type(log_density).__name__)
        target = Named(name, log_density, features)
    annealed = options.annealed(target, like, features, training.seed)
    schema = DensitySchema.named(target.name or type(target).__name__, features)
    dataset: Any = density_dataset(schema, target, annealed)
    run = None if out is None else _run(out, flow, training)
    fitted = engine.fit(
        flow,
        dataset.train,
        dataset.valid,
        training=training,
        loss=DensityTerms(flow, target, dataset.train, options),
        validation_loss=nll,
        out=run,
        reporter=reporter,
        watch=watch,
    )
    if run is not None:
        _finish(run, fitted, dataset, report)
    return fitted


def check_flow(flow: Flow) -> None:
    """Refuses a flow that no density of plain vectors is learned by.

    Raises:
        InputError: says why.
    """
    if len(flow.event_shape) != 1 or flow.context_shape is not None:
        raise InputError(
            f"a density is learned by a flow of vectors without context, and this one has events "
            f"{flow.event_shape} and context {flow.context_shape}"
        )
    if any(isinstance(part, BatchNorm) for part in flow.modules()):
        raise InputError(
            "batch normalisation samples in evaluation only, and a density asks for samples in "
            "each step: build the flow with `batch_norm=False`"
        )
    if flow.noisy:
        raise InputError(f"a density is learned by an exact flow, and this one is {flow.kind}")


def _run(out: str | Path | Run, flow: Flow, training: Training) -> Run:
    """The run with what the flow was built from, and its config, where it does not say."""
    run = (out if isinstance(out, Run) else Run(out)).of(flow)
    if run.config is None and run.recipe is not None:
        run.config = config_of(run.recipe, training)
    return run


def config_of(recipe: Recipe, training: Training) -> dict[str, Any]:
    """What config.yaml holds of a run without a source of data that could be named."""
    return {"recipe": recipe.name, **describe(recipe)["fields"], **plain(training)}


def _finish(run: Run, fitted: Fitted, dataset: Dataset, report: bool) -> None:
    """Evaluates the run and writes its page."""
    if not report:
        return
    model = Model(
        fitted.flow,
        run.recipe,
        config=run.config,
        folder=run.path,
        name=str(run.path),
        dataset=dataset,
        container="torch",
        fitted=fitted,
    )
    with together(fitted.training.processes > 1):
        finish(model, report=True)
