"""Flows of densities without data, after equal seconds of one core, beside FlowJAX and zuko.

    python benchmarks/energies.py caudal funnel --seconds 60

One learner and one target a call; the page `benchmarks/results/energies.md` grows by a row. Time
is that of the processor, so that other work on the machine does not count; nor does what XLA takes
to compile. FlowJAX is its variational fit (`ElboLoss` with a coupling flow of splines, as in its
documentation), zuko a plain loop of the reverse divergence over its inverse autoregressive spline
flow. Both learn x / scale, with the scale of a target that caudal anneals from.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import caudal
from caudal.annealing import anneal
from caudal.modality import Voice
from caudal.targets import TARGETS, FortyGaussians, Target
from caudal.training.progress import Silent
from caudal.weights import effective_share, log_mean, pareto_k
from environment import made
from pages import OLDER, Facts, Results, text

DRAWS, BATCH, PROBE = 10_000, 256, 130  # a pass has 25 steps
ANNEALED = 1000  # draws of a flow that are annealed on


@dataclass(frozen=True)
class Fitted:
    """A flow: draws n -> (x, log q), log-densities x -> log q, seconds taken, steps done.

    `flow` is one of caudal, which annealing can start from.
    """

    draw: Callable[[int], tuple[Tensor, Tensor]]
    score: Callable[[Tensor], Tensor]
    seconds: float
    steps: int
    flow: caudal.Flow | None = None


@dataclass(frozen=True)
class Row:
    target: str
    learner: str
    seconds: float
    steps: int
    ess: float
    k: float
    log_z: float
    error: float | None
    forward_ess: float | None
    forward_kl: float | None
    modes: int | None
    annealed: dict[str, float] | None = None
    commit: str = ""


class Clock(Voice, Silent):
    """Notes the processor time at each validation, of which there is one a pass."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def reporter(self, *of_run: object) -> "Clock":
        return self

    def validated(self, record: dict[str, Any]) -> None:
        self.seen.append((record["step"], time.process_time()))


def fit_caudal(target: Target, seconds: float) -> Fitted:
    """The defaults of `caudal train nsf --data density:NAME`, in as many steps as fit.

    A short run tells how long annealing takes, and the passes after the first one, with their
    validations. Where that is more than there are, as many steps as the short run has.
    """

    def train(steps: int, clock: Clock) -> tuple[caudal.Model, float]:
        start = time.process_time()
        name, how = f"density:{target.name}", {"size": "medium", "patience": 0}
        model = caudal.train("nsf", name, steps=steps, voice=clock, **how)
        return model, start

    caudal.train("nsf", "density:banana", steps=1, particles=100)  # imports do not count
    clock = Clock()
    _, start = train(PROBE, clock)
    (first, at), (last, end) = clock.seen[0], clock.seen[-1]
    each = (end - at) / (last - first)
    steps = max(PROBE, first + int((seconds - (at - start)) / each))
    model, start = train(steps, clock)
    took = time.process_time() - start
    flow = model.flow
    return Fitted(flow.sample_with_log_prob, flow.log_prob, took, steps, flow)


def fit_zuko(target: Target, seconds: float) -> Fitted:
    import zuko

    start, steps = time.process_time(), 0
    forward = zuko.flows.NSF(target.features, transforms=3, hidden_features=(64, 64))
    flow = zuko.flows.Flow(forward.transform.inv, forward.base)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)
    while time.process_time() - start < seconds:
        y, log_q = flow().rsample_and_log_prob((BATCH,))
        loss = (log_q - target(target.scale * y)).mean()
        optimiser.zero_grad()
        loss.backward()
        if loss.isfinite():
            optimiser.step()
        steps += 1
    took = time.process_time() - start
    return scaled(
        lambda n: flow().rsample_and_log_prob((n,)), flow().log_prob, target, took, steps
    )


def scaled(
    draw: Callable[[int], tuple[Tensor, Tensor]],
    score: Callable[[Tensor], Tensor],
    target: Target,
    took: float,
    steps: int,
) -> Fitted:
    """The flow of x of one of y = x / scale."""
    log_det = target.features * math.log(target.scale)

    def of_x(n: int) -> tuple[Tensor, Tensor]:
        y, log_q = draw(n)
        return target.scale * y, log_q - log_det

    return Fitted(of_x, lambda x: score(x / target.scale) - log_det, took, steps)


def fit_flowjax(target: Target, seconds: float) -> Fitted:
    import equinox as eqx
    import jax
    import jax.random as jr
    import optax
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow
    from flowjax.train import step
    from flowjax.train.losses import ElboLoss

    from energies_jax import TARGETS as IN_JAX

    spline = RationalQuadraticSpline(knots=8, interval=4)
    base = Normal(jax.numpy.zeros(target.features))
    flow = coupling_flow(jr.key(0), base_dist=base, transformer=spline)
    is_leaf = lambda leaf: isinstance(leaf, paramax.NonTrainable)  # noqa: E731
    params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=is_leaf)
    optimiser = optax.adam(1e-3)
    state = optimiser.init(params)
    density, scale = IN_JAX[target.name], target.scale
    loss = ElboLoss(lambda y: density(scale * y), BATCH, stick_the_landing=True)
    start, steps = math.inf, 0  # the clock starts once the step is compiled
    while time.process_time() - start < seconds:
        how = {"optimizer": optimiser, "opt_state": state, "loss_fn": loss}
        params, state, _ = step(params, static, key=jr.key(steps), **how)
        if steps == 0:
            start = time.process_time()
        steps += 1
    took = time.process_time() - start
    fitted = paramax.unwrap(eqx.combine(params, static))

    def draw(n: int) -> tuple[Tensor, Tensor]:
        y, log_q = fitted.sample_and_log_prob(jr.key(1), (n,))
        return torch.tensor(np.asarray(y)), torch.tensor(np.asarray(log_q))

    def score(y: Tensor) -> Tensor:
        return torch.tensor(np.asarray(fitted.log_prob(y.numpy())))

    return scaled(draw, score, target, took, steps)


LEARNERS = {"caudal": fit_caudal, "zuko": fit_zuko, "FlowJAX": fit_flowjax}


def measure(target: Target, learner: str, seconds: float) -> Row:
    torch.manual_seed(0)
    fitted = LEARNERS[learner](target, seconds)
    torch.manual_seed(1)
    with torch.no_grad():
        x, log_q = fitted.draw(DRAWS)
        log_w = target(x.double()) - log_q.double()
    log_w = torch.where(log_w.isfinite(), log_w, -torch.inf)
    log_z = log_mean(log_w)[0]
    modes = None
    if isinstance(target, FortyGaussians):
        near = (x.double() - target.centres[target.nearest(x.double())]).norm(dim=1)
        modes = len(target.nearest(x[near < 4 * target.width]).unique())
    return Row(
        target=target.name,
        learner=learner,
        seconds=round(fitted.seconds, 1),
        steps=fitted.steps,
        ess=effective_share(log_w),
        k=pareto_k(log_w),
        log_z=log_z,
        error=None if target.log_z is None else log_z - target.log_z,
        **forward(target, fitted),
        modes=modes,
        annealed=None if fitted.flow is None else annealed(target, fitted.flow),
        commit=made()["commit"],
    )


def annealed(target: Target, flow: caudal.Flow) -> dict[str, float]:
    """Log Z by sequential Monte Carlo from the flow, and what it took.

    The effective size is that of as many independent draws as differ as much between runs.
    """
    start = time.process_time()
    found = anneal(target, flow, ANNEALED, torch.Generator().manual_seed(3))
    return {
        "log_z": found.log_z,
        "error": found.log_z_error,
        "effective": 1 / (1 + ANNEALED * found.between_runs**2),
        "temperatures": len(found.temperatures),
        "settled": float(found.settled),
        "seconds": round(time.process_time() - start, 1),
    }


def forward(target: Target, fitted: Fitted) -> dict[str, float | None]:
    """Effective size and divergence at exact samples, where there are some."""
    if not target.samples_exactly or target.log_z is None:
        return {"forward_ess": None, "forward_kl": None}
    x = target.sample(DRAWS, torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_w = target(x.double()) - fitted.score(x).double()
    log_w = torch.where(log_w.isnan(), torch.inf, log_w)
    share = math.exp(-float(log_mean(log_w)[0] + log_mean(-log_w)[0]))
    return {"forward_ess": share, "forward_kl": float(log_w.mean()) - target.log_z}


def page(rows: list[Row], facts: Facts) -> str:
    words = [
        "What flows of densities come to without data, after about a minute of one core.",
        f"ESS: effective size of {DRAWS:,} draws of the flow by their weights; it is high, too, "
        "of a flow that has lost all modes but one, which log Z tells: it is then too low by the "
        "log of the share that is left. k: Pareto index of the weights, up to 0.7 is good. "
        f"Forward ESS and KL(p‖q), in nats, are by {DRAWS:,} exact samples, where there are some: "
        "they see what a flow leaves out. Annealed: log Z by sequential Monte Carlo from the flow "
        f"with {ANNEALED:,} rows, where it was run, with its standard error, the effective share "
        "of the rows, and whether they kept up with the temperatures.",
        "Made by `python benchmarks/energies.py LEARNER TARGET --seconds 60`: caudal with the "
        "defaults of its command line and the size medium, annealing included; FlowJAX's "
        "variational fit with its coupling flow of splines and path gradients, without the time "
        "to compile it; and a plain loop of the reverse divergence with zuko's inverse "
        "autoregressive splines. Adam at 1e-3 and batches of 256 in both of these, which learn x "
        "divided by the scale that caudal anneals from. One seed. caudal's steps are planned by "
        "a short run, whose passes have their validations; its seconds are those that it took. "
        "Its rows but eight-schools and lj13 were planned by an earlier script, without "
        "validations, and took up to 87.",
        "caudal anneals chains first, unlike the others, and begins at their columns' fitted "
        "distributions: of a product such as many-well that is much of the density. The scale "
        "covers each target, and is wider than the columns of eight-schools, at which the reverse "
        "divergence begins too far off. Where log Z is not known, `caudal.annealing.anneal` alone "
        "with 1,000 chains, from the Gaussian and over eight seeds, has 29.7 for dw4 and 39.4 for "
        "lj13: log Z far below that, whatever the ESS, is a flow that has lost the density. The "
        "flow of lj13 is too far off to be weighed. Sequential Monte Carlo from it agrees with "
        "that from the Gaussian within their errors, but is no more certain, and takes 26 s, not "
        "3. The two angles of alanine dipeptide are not here, as no samples of them were at hand.",
        OLDER,
    ]
    header = [
        "target",
        "learner",
        "seconds",
        "steps",
        "ESS",
        "k",
        "log Z",
        "log Z − true",
        "forward ESS",
        "KL(p‖q)",
        "modes",
        "log Z, annealed",
        "commit",
    ]
    table = [
        [
            row.target,
            row.learner,
            f"{row.seconds:.0f}",
            f"{row.steps:,}",
            f"{row.ess:.2%}",
            _number(row.k, 2),
            _number(row.log_z, 2),
            _number(row.error, 3),
            "" if row.forward_ess is None else f"{row.forward_ess:.2%}",
            _number(row.forward_kl, 3),
            "" if row.modes is None else f"{row.modes} of 40",
            "" if row.annealed is None else _annealed(row.annealed),
            row.commit,
        ]
        for row in rows
    ]
    return text("Densities without data", words, facts, ("", header, table))


def _annealed(found: dict[str, float]) -> str:
    settled = "" if found["settled"] else ", not settled"
    return f"{found['log_z']:.2f} ± {found['error']:.2f}, {found['effective']:.0%}{settled}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("learner", choices=list(LEARNERS))
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(__file__).parent / "results" / "energies.json"
    names = list(TARGETS), list(LEARNERS)
    results = Results(
        path,
        Row,
        lambda row: (row.target, row.learner),
        lambda row: (names[0].index(row.target), names[1].index(row.learner)),
        ("zuko", "flowjax"),
    )
    results.add(measure(TARGETS[asked.target](), asked.learner, asked.seconds), page)


if __name__ == "__main__":
    main()
