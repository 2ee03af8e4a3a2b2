"""A worker of `equal_time.py`: caudal with its defaults, and the two classical baselines.

caudal gets the values as they are, in files, as its user has them. All that `caudal.train` does is
in its time: reading, fitting where training starts, validation.
"""

import time

import numpy as np
import torch
from torch import Tensor

import caudal
from caudal.base import Normal
from caudal.bijections import Correlate, Gaussianise, Logit, Rescale
from caudal.data import ImageSchema
from caudal.data.source import Rows
from caudal.report import PixelGaussian
from equal_time_job import SCALE, Clock, Job, Problem, tell, work


def train(problem: Problem, seconds: float, seed: int) -> caudal.Model:
    paths = [str(problem.folder / f"{part}.npy") for part in ("train", "valid", "test")]
    data = dict(zip(("data", "valid", "test"), paths, strict=True))
    minutes = seconds / 60
    return caudal.train(**data, minutes=minutes, seed=seed, accelerator="cpu")


def import_all(problem: Problem) -> None:
    """One step on a few values: what caudal imports when it is first used is not counted."""
    few = np.array(problem.part("train")[:64])
    size = {"scales": 2, "layers": 1, "maps": 4} if problem.images else {}
    caudal.train("glow" if problem.images else "nsf", few, steps=1, accelerator="cpu", **size)


def ours(job: Job, problem: Problem) -> None:
    import_all(problem)
    for budget in job.budgets:
        clock = Clock()
        model = train(problem, budget, job.seed)
        seconds = clock.seconds
        parameters = sum(p.numel() for p in model.flow.parameters())
        run = {"parameters": parameters, "steps": model.fitted.history[-1]["step"]}
        tell(problem, job, budget, log_prob(model.flow, problem), **run, seconds=seconds)


@torch.no_grad()
def log_prob(flow: caudal.Flow, problem: Problem) -> np.ndarray:
    """Of the test values without steps, the same that peers are tested with."""
    flow = flow.eval().continuous()
    chunks = values(problem, "test").float().split(100 if problem.images else 1000)
    return torch.cat([flow.log_prob(chunk) for chunk in chunks]).double().numpy()


def values(problem: Problem, part: str) -> Tensor:
    """Rows, or images (N, C, H, W)."""
    found = torch.from_numpy(np.array(problem.continuous(part)))
    return found.permute(0, 3, 1, 2) if problem.images else found


def gaussian(problem: Problem) -> tuple[np.ndarray, int]:
    """A full covariance, of columns or of logits; log-densities, and its number of parameters."""
    if problem.images:
        return _of_logits(problem)
    train = values(problem, "train")
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov(correction=0))
    features = train.shape[1]
    return normal.log_prob(values(problem, "test")).numpy(), features * (features + 3) // 2


def _of_logits(problem: Problem) -> tuple[np.ndarray, int]:
    images = torch.from_numpy(np.array(problem.part("train"))).permute(0, 3, 1, 2)
    fitted = PixelGaussian.fit(None, Rows(images), ImageSchema(tuple(images.shape[1:])))
    lifted = values(problem, "test").double()
    map_to = caudal.Chain([Logit(fitted.alpha), Rescale(1 / SCALE)])
    y, log_det = map_to.inverse(lifted)
    features = lifted[0].numel()
    found = fitted.gaussian.log_density(y.flatten(1)) + log_det
    return found.numpy(), features * (features + 3) // 2


def copula(problem: Problem) -> tuple[np.ndarray, int]:
    """Where the training of caudal's tables starts."""
    train = values(problem, "train").float()
    features = train.shape[1]
    ends = torch.full((features,), torch.inf)
    flow = caudal.Flow(
        caudal.Chain([Correlate(features), Gaussianise(-ends, ends)]), Normal((features,))
    )
    caudal.initialize(flow, train)
    return log_prob(flow, problem), 0


def run(job: Job, problem: Problem) -> None:
    torch.set_num_threads(1)
    # caudal plans by the clock on the wall, which runs on while others have the core.
    time.monotonic = time.perf_counter = time.process_time
    if job.library == "caudal":
        return ours(job, problem)
    clock = Clock()
    found, parameters = {"Gaussian": gaussian, "copula": copula}[job.library](problem)
    tell(problem, job, 0, found, parameters=parameters, steps=0, seconds=clock.seconds)
    return None


if __name__ == "__main__":
    work(run)
