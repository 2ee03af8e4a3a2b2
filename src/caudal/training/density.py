"""A flow fitted to a density that is known up to its constant, without data."""

from collections.abc import Callable
from pathlib import Path

from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll
from caudal.targets import LogDensity
from caudal.training.density_terms import DensityTerms, Variational, split
from caudal.training.fit import Fitted, fit
from caudal.training.options import Training
from caudal.training.progress import Reporter
from caudal.training.run import Run


def fit_density(
    flow: Flow,
    log_density: LogDensity,
    *,
    options: Variational | None = None,
    training: Training | None = None,
    out: str | Path | Run | None = None,
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
    chains, held_out = split(options.annealed(log_density, like, features, training.seed).x)
    return fit(
        flow,
        chains,
        held_out,
        training=training,
        loss=DensityTerms(flow, log_density, chains, options),
        validation_loss=nll,
        out=out,
        reporter=reporter,
        watch=watch,
    )


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
    if flow.noisy:
        raise InputError(f"a density is learned by an exact flow, and this one is {flow.kind}")
