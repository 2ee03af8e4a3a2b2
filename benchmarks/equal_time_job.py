"""What the workers of `equal_time.py` share: the data, the clock, the race, and what they tell.

A worker is a process that trains one flow. It is pinned to the one core that it shares with the
other libraries, and its clock is the CPU time of the process, which does not run while they do.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

VALIDATED, VALIDATED_IMAGES = 2000, 200  # at most, of peers
SCALE = 256.0  # values of a pixel


class Job(NamedTuple):
    """One training, from the command line of a worker."""

    library: str
    folder: str
    budgets: list[float]
    seed: int
    core: int


@dataclass(frozen=True)
class Problem:
    """The rows (N, D), or images (N, H, W, C) in uint8, that every library gets.

    Peers get `units`: standardised columns, or pixels from 0 to 1. Scores are those of the values
    themselves, so that they compare; tables tell them for standardised columns, as papers do.
    """

    folder: Path

    @cached_property
    def told_in(self) -> str:
        """The unit of scores: nats or bits/dim."""
        return (self.folder / "unit").read_text(encoding="utf-8")

    @property
    def images(self) -> bool:
        return self.part("train").dtype == np.uint8

    def part(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        both = np.vstack([self.part("train"), self.part("valid")])
        return both.mean(0), both.std(0)

    @property
    def log_scale(self) -> float:
        """The log-density of values is that of their units less this."""
        if self.images:
            return math.log(SCALE) * self.part("train")[0].size
        return float(np.log(self.moments[1]).sum())

    def continuous(self, name: str) -> np.ndarray:
        """Values without steps: rows have their noise already, pixels get the same each time."""
        values = self.part(name)
        if not self.images:
            return np.asarray(values)
        rng = np.random.default_rng(0)
        return values + rng.random(values.shape, np.float32)

    def units(self, name: str) -> np.ndarray:
        """Those values standardised, or images (N, C, H, W) from 0 to 1, in float32."""
        values = self.continuous(name)
        if self.images:
            return (values.transpose(0, 3, 1, 2) / SCALE).astype(np.float32)
        mean, std = self.moments
        return ((values - mean) / std).astype(np.float32)

    def told(self, log_prob: np.ndarray) -> tuple[float, float]:
        """Mean and standard error over rows of log-densities of values, in the unit they have."""
        log_prob = np.asarray(log_prob, np.float64)
        if self.told_in == "nats":
            scores = log_prob + self.log_scale
        else:
            scores = -log_prob / (math.log(2) * self.part("test")[0].size)
        return float(scores.mean()), float(scores.std() / len(scores) ** 0.5)


class Clock:
    """CPU seconds of this process since it was made, less those while it was paused."""

    def __init__(self) -> None:
        self._start, self._paused = time.process_time(), 0.0

    @property
    def seconds(self) -> float:
        return time.process_time() - self._start - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self._paused += time.process_time() - start


class Learner(Protocol):
    """A flow of some library in training."""

    batch: int
    anneals: bool
    """Whether its rate goes down to zero; then each budget is a training of its own."""
    parameters: int

    def step(self, rows: np.ndarray, done: float) -> None:
        """One step on the training rows of these numbers, at a share `done` of the time."""

    def snapshot(self) -> Any:
        """The flow as it is now."""

    def log_prob(self, flow: Any, x: np.ndarray) -> np.ndarray:
        """Of rows in their units, under a snapshot."""


def race(learner: Learner, problem: Problem, job: Job) -> None:
    """Trains until the budgets are spent; tells, at each of them, the best weights until then.

    Best by validation, which, as the test, costs a peer no time. It is done whenever the time has
    grown by a seventh, by a second at least, and at each budget. A step that has begun is
    finished: a flow of slow steps takes longer than a small budget, and its cell says how long.
    """
    most = VALIDATED_IMAGES if problem.images else VALIDATED
    valid, test = problem.units("valid")[:most], problem.units("test")
    best, highest, due, budgets = learner.snapshot(), -math.inf, 1.0, sorted(job.budgets)
    clock = Clock()
    for steps, rows in enumerate(batches(len(problem.part("train")), learner.batch, job.seed), 1):
        learner.step(rows, min(1.0, clock.seconds / budgets[-1]))
        spent = clock.seconds
        if spent >= min(due, budgets[0]):
            with clock.paused():
                flow = learner.snapshot()
                value = float(learner.log_prob(flow, valid).mean())
                if value > highest:  # NaN never is
                    best, highest = flow, value
            due = spent + max(1.0, spent / 7)
        while budgets and spent >= budgets[0]:
            with clock.paused():
                log_prob = learner.log_prob(best, test) - problem.log_scale
                run = {"parameters": learner.parameters, "steps": steps, "seconds": spent}
                tell(problem, job, budgets.pop(0), log_prob, **run, valid=highest)
        if not budgets:
            return


def batches(rows: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Shuffled epoch by epoch; the last rows of an epoch are left out if they fill no batch."""
    rng, size = np.random.default_rng(seed), min(size, rows)
    while True:
        order = rng.permutation(rows)
        yield from np.split(order[: rows - rows % size], rows // size)


def tell(problem: Problem, job: Job, budget: float, log_prob: np.ndarray, **run: Any) -> None:
    """A line with the score of log-densities of the test values; see `equal_time.Cell`."""
    score, rows_se = problem.told(log_prob)
    cell = {
        "data": problem.folder.name,
        "library": job.library,
        "budget": budget,
        "seed": job.seed,
        "score": score,
        "rows_se": rows_se,
        "unit": problem.told_in,
        **run,
    }
    print(json.dumps(cell), flush=True)


def work(run: Callable[[Job, Problem], None]) -> None:
    """The main function of a worker: on its core, the job of its command line."""
    job = Job(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {job.core})
    run(job, Problem(Path(job.folder)))
