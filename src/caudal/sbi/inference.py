"""Neural posterior estimation: a flow of parameters given observations, from simulations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from caudal.errors import InputError
from caudal.files import path_of
from caudal.model import fit
from caudal.numerics import own_randomness, redirected
from caudal.recipes import Recipe
from caudal.sbi.assembly import assemble
from caudal.sbi.posterior import EMBEDDED, Posterior, check_out, folder_of
from caudal.sbi.prior import bounds_of, draw
from caudal.training.options import Training
from caudal.training.run import Run

_PIECE = 1000  # simulations asked for at once
_FOR_REPORT = 1000  # simulations that training does not see
Simulator = Callable[[Tensor], Any]


def npe(
    prior: Distribution,
    data: Simulator | tuple[Any, Any],
    *,
    simulations: int = 10_000,
    recipe: Recipe | None = None,
    embedding: nn.Module | Callable[[], nn.Module] | None = None,
    ensemble: int = 1,
    training: Training | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> Posterior:
    """The posterior p(theta | x) for any observation x, amortised, learned from simulations.

    A conditional flow q minimises -log q(theta | x) over pairs of parameters from the prior and
    what the simulator makes of them. Parameters are mapped to the whole line by the ends of the
    prior's support, with the exact log-det, so that no mass lies outside. Training begins at a
    linear regression on the observation, but for a trained embedding, recipes of a user's own, and
    observations of more than 1,024 numbers; one end of a parameter alone is a logarithm. Some
    simulations are held out, to select the best weights by.
    Reference: Papamakarios, Murray (2016), arXiv:1605.06376; Greenberg, Nonnenmacher, Macke
    (2019), arXiv:1905.07488.

    Args:
        prior: over parameters (D,), each with an interval of its own as support.
        data: a simulator that maps parameters (B, D) to observations (B, ...), or pairs
            (theta, x) of parameters from the prior and observations, tensors or arrays.
        simulations: how many to make, if there is a simulator.
        recipe: of the flow; autoregressive splines with dropout if not given.
        embedding: a net from observations (B, ...) to features (B, F), trained with the flow; of
            an ensemble a function that makes one.
        ensemble: the number of flows, trained from different seeds, whose mean is the posterior.
        training: how to train; 60 passes in batches of 256 if not given.
        seed: of the simulations' parameters and of the flows.
        out: a run folder to leave behind, whose report tells how well the posterior is calibrated;
            of an ensemble the folders 1, 2, ... within it. `Posterior.load` takes it. With a
            simulator, further simulations are made for the report.

    Returns:
        The posterior, with `sample(x, n)`, `log_prob(theta, x)`, `calibrate(theta, x)` and `save`.

    Raises:
        InputError: the prior, the simulations or the options cannot be used.
    """
    if ensemble < 1:
        raise InputError(f"`ensemble` {ensemble}: must be at least 1")
    if ensemble > 1 and isinstance(embedding, nn.Module):
        raise InputError(
            "`embedding`: an ensemble needs a net each, give a function that makes one"
        )
    bounds = bounds_of(prior)
    if out is not None:  # before any simulation, which may take long
        if embedding is not None:
            raise InputError(EMBEDDED)
        check_out(path_of(out), ensemble)
        for member in range(ensemble):
            Run(folder_of(path_of(out), member, ensemble)).check_folder("out", goes_on=False)
    theta, x = _pairs(prior, data, simulations, seed)
    _check(theta, x, bounds)
    training, test = training or Training(epochs=60), None
    if out is not None and callable(data):
        test = _pairs(prior, data, _FOR_REPORT, seed + ensemble)
        _check(*test, bounds)
    members = []
    for member in range(ensemble):
        with own_randomness(seed=seed + member), redirected():  # nets draw weights
            net = (
                embedding if embedding is None or isinstance(embedding, nn.Module) else embedding()
            )
            flow = assemble(recipe, bounds, theta.shape[1], x.shape[1:], net)
        fit(
            flow,
            (theta, x),
            test=test,
            training=replace(training, seed=training.seed + seed + member),
            out=None if out is None else folder_of(path_of(out), member, ensemble),
        )
        members.append(flow.cpu())  # where observations are, too
    return Posterior(prior, members)


def _pairs(
    prior: Distribution, data: Simulator | tuple[Any, Any], simulations: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Parameters (N, D) and observations (N, ...), float32."""
    if callable(data):
        theta = draw(prior, simulations, torch.Generator().manual_seed(seed))
        made = [torch.as_tensor(data(part)) for part in theta.split(_PIECE)]
        return theta, torch.cat(made).float()
    theta, x = (torch.as_tensor(part).float() for part in data)
    return theta, x


def _check(theta: Tensor, x: Tensor, bounds: tuple[Tensor, Tensor]) -> None:
    low, high = bounds
    if theta.ndim != 2 or theta.shape[1] != len(low):
        raise InputError(f"parameters must have shape (N, {len(low)}), got {tuple(theta.shape)}")
    if x.ndim < 2 or len(x) != len(theta):
        raise InputError(
            f"observations must have shape (N, ...) for {len(theta)} simulations, "
            f"got {tuple(x.shape)}"
        )
    outside = ~((theta >= low) & (theta <= high)).all(1)
    if outside.any():
        row = int(outside.nonzero()[0])
        raise InputError(f"parameters of simulation {row} lie outside of the support of `prior`")
    bad = ~x.flatten(1).isfinite().all(1)
    if bad.any():
        row, many = int(bad.nonzero()[0]), int(bad.sum())
        raise InputError(
            f"{many} of {len(x)} simulations have observations that are not finite, the first is "
            f"simulation {row}: leave them out, or code them as a number and a flag"
        )
