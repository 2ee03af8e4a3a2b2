"""Posteriors from 10,000 simulations: `caudal.npe` beside a neural spline flow of zuko.

    python benchmarks/sbi.py --tasks SLCP --seeds 0 1 2

Both have the same simulations, steps, batches, learning rates, share of held-out rows and way to
choose the best weights. zuko's flow is as the package sbi builds it: standardised, with five
autoregressive layers of two times 50 units; draws outside of the prior are drawn again. A seed is
of the simulations and the flow; the observations and the true posteriors are the same for all.
Cells that the .json file has already are run again with `--again` alone.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import zuko
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.distributions import Independent, Normal

import caudal
from caudal.sbi.assembly import DEFAULT, Bounded
from environment import RESULTS, lines, made, of_the_page, table, write, write_json
from sbi_tasks import TASKS, Task

SIMULATIONS, FRESH, BATCH, LR, CHECKS = 10_000, 20_000, 256, 1e-3, 20


class Learned(NamedTuple):
    """A posterior: draws (n, D) given an observation, and log-densities of pairs (theta, x)."""

    draw: Callable[[Tensor, int], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]


def ours(
    task: Task,
    theta: Tensor,
    x: Tensor,
    steps: int,
    seed: int,
    recipe: caudal.recipes.Recipe | None = None,
) -> Learned:
    training = caudal.Training(
        steps=steps, batch_size=BATCH, lr=LR, validate_every=steps // CHECKS, patience=0
    )
    posterior = caudal.npe(task.prior, (theta, x), recipe=recipe, training=training, seed=seed)
    return Learned(lambda observed, n: posterior.sample(observed, n, seed=1), posterior.log_prob)


def untold(task: Task, theta: Tensor, x: Tensor, steps: int, seed: int) -> Learned:
    """As `ours`, but nets are not told how much of the regression lies beyond each end."""
    nowhere = torch.zeros(theta.shape[1], dtype=torch.bool)
    with patch.object(Bounded, "_both_ends", lambda recipe: nowhere):
        return ours(task, theta, x, steps, seed)


def freely(task: Task, theta: Tensor, x: Tensor, steps: int, seed: int) -> Learned:
    """As `ours`, by a flow without ends, as zuko's is: draws outside are drawn again."""
    features = theta.shape[1]
    free = Independent(Normal(torch.zeros(features), torch.ones(features)), 1)
    draw, score = ours(replace(task, prior=free), theta, x, steps, seed)

    def within(observed: Tensor, n: int) -> Tensor:
        many = draw(observed, 10 * n)
        return many[task.prior.support.check(many)][:n]

    return Learned(within, score)


def theirs(task: Task, theta: Tensor, x: Tensor, steps: int, seed: int) -> Learned:
    """A plain loop with the learning rates that ours has."""
    torch.manual_seed(seed)
    flow = zuko.flows.NSF(theta.shape[1], x.shape[1], transforms=5, hidden_features=(50, 50))
    moments = [(part.mean(0), part.std(0)) for part in (theta, x)]
    theta, x = ((part - m) / s for part, (m, s) in zip((theta, x), moments, strict=True))
    held = len(theta) // 10
    rows, optimizer = range(held, len(theta)), torch.optim.Adam(flow.parameters(), LR)
    rates = caudal.Training(steps=steps, lr=LR)
    best, kept = math.inf, flow.state_dict()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rates.learning_rate(step, steps)
        batch = torch.randint(len(rows), (BATCH,)) + held
        loss = -flow(x[batch]).log_prob(theta[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), rates.clip)
        optimizer.step()
        if (step + 1) % (steps // CHECKS) == 0:
            with torch.no_grad():
                valid = float(-flow(x[:held]).log_prob(theta[:held]).mean())
            if valid < best:
                best, kept = valid, {k: v.clone() for k, v in flow.state_dict().items()}
    flow.load_state_dict(kept)
    (mean, std), (mean_x, std_x) = moments

    def draw(observed: Tensor, n: int) -> Tensor:
        drawn: list[Tensor] = []
        with torch.no_grad():
            density = flow((observed - mean_x) / std_x)
            while sum(map(len, drawn)) < n:
                sample = density.sample((n,)) * std + mean
                drawn.append(sample[task.prior.support.check(sample)])
        return torch.cat(drawn)[:n]

    def score(theta: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            density = flow((x - mean_x) / std_x).log_prob((theta - mean) / std)
        return density - std.log().sum()

    return Learned(draw, score)


def c2st(sample: Tensor, truth: Tensor) -> float:
    """The accuracy of a classifier that tells them apart: 0.5 is chance, 1 is certainty."""
    rows = StandardScaler().fit(truth).transform(torch.cat([truth, sample]))
    labels = np.repeat([0, 1], [len(truth), len(sample)])
    width = 10 * truth.shape[1]
    classifier = MLPClassifier((width, width), max_iter=1000, random_state=1)
    order = np.random.default_rng(1).permutation(len(rows))
    return float(cross_val_score(classifier, rows[order], labels[order], cv=5).mean())


LEARNERS = {
    "caudal": ours,
    "zuko": theirs,
    "caudal, not told of ends": untold,
    "caudal without dropout": partial(ours, recipe=replace(DEFAULT, dropout=0.0)),
    "caudal by couplings": partial(ours, recipe=caudal.recipes.NSF(layers=5, hidden=64, bins=8)),
    "caudal without ends": freely,
}


@dataclass(frozen=True)
class Data:
    """Observations with draws of their true posteriors, and fresh simulations."""

    observed: Tensor
    truths: list[Tensor]
    fresh: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, task: Task, observations: int, rows: int) -> "Data":
        simulated(task, SIMULATIONS, seed=0)  # they come after these, as they did before
        observed = task.simulate(task.prior.sample((observations,)))
        truths = [task.reference(one, rows) for one in observed]
        return cls(observed, truths, simulated(task, FRESH, seed=99))


def simulated(task: Task, n: int, seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    theta = task.prior.sample((n,))
    return theta, task.simulate(theta)


def cell(task: Task, name: str, steps: int, seed: int, data: Data) -> dict:
    """The scores of a learner that has the simulations of this seed."""
    theta, x = simulated(task, SIMULATIONS, seed)
    start = time.process_time()
    draw, score = LEARNERS[name](task, theta, x, steps, seed)
    seconds = time.process_time() - start
    pairs = zip(data.observed, data.truths, strict=True)
    scores = [c2st(draw(one, len(truth)), truth) for one, truth in pairs]
    density = float(score(*data.fresh).mean())
    return {"seed": seed, "c2st": scores, "log q": density, "seconds": round(seconds, 1), **made()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--observations", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000, help="draws of each posterior")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument(
        "--learners", nargs="*", choices=list(LEARNERS), default=["caudal", "zuko"]
    )
    parser.add_argument("--again", action="store_true", help="run cells that are there again")
    options = parser.parse_args()
    path = RESULTS / "sbi.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in options.tasks:
        key = f"{name}, {options.steps} steps"
        data = Data.of(TASKS[name], options.observations, options.rows)
        for seed, learner in itertools.product(options.seeds, options.learners):
            cells = results.setdefault(key, {}).setdefault(learner, [])
            known = [each for each in cells if each["seed"] == seed]
            if known and not options.again:
                continue
            new = cell(TASKS[name], learner, options.steps, seed, data)
            print(key, learner, new, flush=True)
            others = [each for each in cells if each not in known]
            cells[:] = sorted([*others, new], key=lambda each: each["seed"])
            write_json(path, results)
            tell(results, options)
    tell(results, options)


def tell(results: dict, options: argparse.Namespace) -> None:
    header = ["task", "learner", "C2ST", "of each seed", "of each observation", "log q"]
    cells = [
        [task, learner, *_columns(found[learner])]
        for task, found in results.items()
        for learner in LEARNERS
        if found.get(learner)
    ]
    text = f"""Draws of {options.rows} beside as many of the true posterior, for
{options.observations} observations: a C2ST of 0.5 is a perfect posterior, 1 one that shares
nothing with it. {SIMULATIONS:,} simulations, batches of {BATCH}, one core. A seed is of the
simulations and the flow; means of a seed are over observations, those of an observation over
seeds. log q is the mean log-density, in nats, of {FRESH:,} further simulations, where it was
measured: the higher the nearer, over all observations and not three; of flows that have mass
outside of the prior, zuko's among them, it is lower by what is there.

± is the standard deviation between seeds, which has hardly a digit with two or three of them.
Budgets are equal in simulations and steps, not in seconds, which compare only between cells of
one commit and machine: at 0533074 caudal took 40 to 67 and zuko 23 to 72.

"caudal" is the default, and "caudal by couplings" what it was before: spline couplings without
dropout. The default is autoregressive, as zuko's flow is too, and has a dropout of a tenth, which
zuko's has not. The default was chosen on this benchmark, by seed 0 of SLCP, where it is 0.051
nearer than zuko's; the fresh seeds 1 and 2 have 0.015 and 0.023. On each task its mean lies below
zuko's. On SLCP, the hardest, it does so with each seed, and is ahead by 1.0 and 0.8 nats in log q,
part of which is zuko's mass outside of the prior; on Gaussian linear, where 0.5 can be had, it is
at chance, and zuko's is not; on two moons and the mixture the means are 0.03 and 0.04 apart, and
one seed of the mixture has the opposite order. Couplings knew the simulations of SLCP by heart,
best after 900 of 2,000 steps, and stayed where zuko's is; elsewhere they come as near. They were
run with one or two seeds, the others with the seeds that are in the table. What was uncommitted at
6019449 is a docstring.

The second observation of the Gaussian mixture, 10.14, lies beyond the end of the prior at 10,
where hardly a simulation has been, and the posterior breaks off. zuko's flow runs on over the end,
and draws outside are thrown away: what it has learned of narrow and wide posteriors elsewhere
holds there, and its density is right only up to the share of these draws. caudal's has no mass
outside, and so has to learn what an end does to a posterior. "caudal without ends" is a flow of
couplings, trained without ends and drawn from in this way."""
    facts = of_the_page("python benchmarks/sbi.py --tasks TASK --seeds SEEDS", ("torch", "zuko"))
    header += ["CPU s", "commit", "machine"]
    page = ["# Posteriors from simulations", "", *lines(facts), "", text, ""]
    write(
        RESULTS / "sbi.md",
        "\n".join([*page, *table(header, cells)]) + "\n",
    )


def _columns(cells: list[dict]) -> list[str]:
    """C2ST, log-densities and seconds of each seed; of which code, and on what machine."""
    scores = np.array([cell["c2st"] for cell in cells])  # (seeds, observations)
    densities = [cell["log q"] for cell in cells if "log q" in cell]
    of_seeds = scores.mean(1)
    spread = f" ± {of_seeds.std(ddof=1):.3f}" if len(cells) > 1 else ""
    return [
        f"**{scores.mean():.3f}**{spread}",
        ", ".join(f"{score:.3f}" for score in of_seeds),
        ", ".join(f"{score:.3f}" for score in scores.mean(0)),
        ", ".join(f"{density:.3f}" for density in densities),
        ", ".join(f"{cell['seconds']:.0f}" for cell in cells),
        *(", ".join(dict.fromkeys(cell[of] for cell in cells)) for of in ("commit", "machine")),
    ]


if __name__ == "__main__":
    main()
