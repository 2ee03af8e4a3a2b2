"""A worker of `synthetic.py`: learns one table within its time, and writes samples of it.

Its clock is the CPU time of the process, pinned to one core. CTGAN and TVAE are as documented:
they are told the discrete columns, and train for 300 epochs, or as many as begin in time.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

EPOCHS = 300


class Job(NamedTuple):
    """One training, from the command line of a worker."""

    model: str
    train: str
    test: str
    discrete: list[str]
    minutes: float
    seed: int
    rows: int
    out: str
    core: int


class Learned(NamedTuple):
    """A model: how to draw rows, what training took, and its score of the test rows in nats."""

    draw: Callable[[int], pd.DataFrame]
    how: str
    seconds: float
    log_prob: float | None = None


def frame(job: Job) -> pd.DataFrame:
    """The training rows; words are left as they are, "?" too."""
    return pd.read_csv(job.train, dtype=dict.fromkeys(job.discrete, str), keep_default_na=False)


def ours(job: Job) -> Learned:
    """The defaults of caudal, and the time."""
    import caudal

    caudal.train("nsf", frame(job).head(200), steps=1)  # what is imported when first used
    # caudal plans by the clock on the wall, which runs on while others have the core.
    time.monotonic = time.perf_counter = time.process_time
    begun = time.process_time()
    options = {"minutes": job.minutes, "seed": job.seed, "accelerator": "cpu"}
    model = caudal.train(data=job.train, **options)
    seconds = time.process_time() - begun
    how = f"{model.recipe.name}, {model.fitted.history[-1]['step']:,} steps"
    score = model.evaluate(job.test).score_inside
    return Learned(lambda n: model.sample(n, seed=job.seed).to_pandas(), how, seconds, score)


def copula(job: Job) -> Learned:
    """Where caudal's training starts."""
    import caudal

    begun = time.process_time()
    model = caudal.train("nsf", job.train, layers=0, steps=1, seed=job.seed, accelerator="cpu")
    seconds = time.process_time() - begun
    score = model.evaluate(job.test).score_inside
    return Learned(lambda n: model.sample(n, seed=job.seed).to_pandas(), "", seconds, score)


def factorised(job: Job) -> Learned:
    """Each column drawn by itself."""
    rows, rng = frame(job), np.random.default_rng(job.seed)

    def draw(n: int) -> pd.DataFrame:
        return pd.DataFrame({name: rng.choice(rows[name], n) for name in rows})

    return Learned(draw, "", 0.0)


def peer(job: Job) -> Learned:
    """CTGAN or TVAE (Xu, Skoularidou, Cuesta-Infante, Veeramachaneni, 2019, arXiv:1907.00503)."""
    import ctgan

    kind, rows, done = getattr(ctgan, job.model), frame(job), 0
    torch.manual_seed(job.seed)
    np.random.seed(job.seed)
    begun = time.process_time()

    def in_time(epochs: range, **_: Any) -> Iterator[int]:
        nonlocal done
        for done in epochs:
            if time.process_time() - begun >= 60 * job.minutes:
                return
            yield done
        done = len(epochs)

    # Both go through their epochs by the bar that shows them.
    sys.modules[kind.__module__].tqdm = in_time
    model = kind(epochs=EPOCHS, enable_gpu=False)
    model.fit(rows, job.discrete)
    return Learned(model.sample, f"{done} epochs", time.process_time() - begun)


MODELS: dict[str, Callable[[Job], Learned]] = {
    "caudal": ours,
    "CTGAN": peer,
    "TVAE": peer,
    "copula": copula,
    "factorised": factorised,
}


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {job.core})
    torch.set_num_threads(1)
    learned = MODELS[job.model](job)
    begun = time.process_time()
    learned.draw(job.rows).to_csv(job.out, index=False)
    drawing = time.process_time() - begun
    told = {"how": learned.how, "seconds": learned.seconds, "drawing": drawing}
    print(json.dumps(told | {"log_prob": learned.log_prob}), flush=True)


if __name__ == "__main__":
    main()
