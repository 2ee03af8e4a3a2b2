"""Transformer flows: scores after equal seconds, sampling, students, and noise taken off again.

    OMP_NUM_THREADS=1 python benchmarks/transformer.py sampling
    OMP_NUM_THREADS=1 python benchmarks/transformer.py scores --data digits mnist --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/transformer.py students --seconds 30
    OMP_NUM_THREADS=1 python benchmarks/transformer.py noise --seconds 60

Seconds are the processor's, of one thread. Rows of other runs stay in the file.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import budget
import caudal
import tables
from caudal.bijections import by_sweeps
from caudal.data import open_images
from caudal.data.source import Rows
from caudal.denoising import denoised
from caudal.recipes import NSFAR, Glow, MintNet, RealNVP, Recipe, TarFlow, TarFlowIAF
from caudal.report import evaluate, measure
from caudal.report.speed import by_passes, median_seconds
from caudal.training.student import build_student
from transformer_tell import PICTURE, Row, add, draw_scores

RATES: dict[str, dict[str, tuple[Recipe, float]]] = {
    "digits": {
        "glow": (Glow(layers=4, maps=32), 1e-2),
        "mintnet": (MintNet(layers=3), 6e-3),
        "tarflow": (TarFlow(width=32), 1e-2),
    },
    "mnist": {
        "glow": (Glow(scales=2, layers=4, maps=48), 1e-2),
        "mintnet": (MintNet(), 4e-3),
        "tarflow": (TarFlow(), 1e-2),
    },
    "cifar10": {
        "glow": (Glow(scales=2, layers=4, maps=48), 1e-2),
        "mintnet": (MintNet(), 4e-3),
        "tarflow": (TarFlow(), 1e-2),
    },
    "power": {"nsf-ar": (NSFAR(), 2e-3), "tarflow": (TarFlow(width=32, layers=3), 3e-3)},
    "miniboone": {"nsf-ar": (NSFAR(), 2e-3), "tarflow": (TarFlow(width=32, layers=3), 3e-3)},
}
"""The recipe and its rate: budget.py's, or the best of two or three by hand."""
STUDENTS: dict[str, tuple[Recipe, float, Row]] = {
    "tarflow-iaf": (TarFlowIAF(width=32), 3e-3, {}),
    "tarflow-iaf, guidance": (TarFlowIAF(width=32), 6e-3, {"forward": 0.0, "reverse": 0.0}),
    "glow": (Glow(layers=4, maps=32), 1e-2, {}),
    "glow, samples alone": (Glow(layers=4, maps=32), 1e-2, {"reverse": 0.0}),
    "realnvp": (RealNVP(maps=16, blocks=1, batch_norm=False), 6e-3, {}),
}
"""The recipe, its rate, and what differs from the usual terms of distillation."""
NOISE = (0.0, 12.8)
"""Deviations of the noise on pixels of 256 values; the first one is that of plain training."""
LEARNED = 10_000
"""Images that the classifier of features learns from, and as many of the test images at most."""
TOKENS = {16: (1, 8, 8), 64: (1, 16, 16), 256: (1, 32, 32)}
"""Images in patches of 2x2, by the number of patches."""


# --- scores --------------------------------------------------------------------------------------


def task_of(data: str) -> budget.Task:
    """What `budget.py` has, and the built-in digits as images."""
    if data != "digits":
        return (budget.table_task if data in tables.TABLES else budget.images_task)(data)
    return images_task("digits", pixels="logit")


def images_task(source: str, **options: Any) -> budget.Task:
    """Images opened with these options; 400 of the test images are scored."""
    images = open_images(source, **options)
    test, valid = Rows(images.test.x[: budget.TEST]), Rows(images.valid.x[: budget.VALID])

    def score(flow: caudal.Flow) -> Row:
        found = evaluate(flow, test, None, images.schema)
        return {"score": found.score, "two_se": found.two_se}

    def build(recipe: Recipe) -> caudal.Flow:
        return caudal.assemble(recipe, images.schema)

    return budget.Task(Rows(images.train.x), valid, test, 64, build, score)


def scores(data: str, names: list[str] | None, seconds: float) -> None:
    task = task_of(data)
    for name in names or RATES[data]:
        recipe, rate = RATES[data][name]
        flow, steps, took = trained(task, recipe, rate, seconds)
        found = task.score(flow.eval())
        row = {"part": "scores", "data": data, "flow": name, "budget": seconds}
        row |= {"parameters": size_of(flow), "steps": steps, "seconds": took}
        add(row | {"score": found["score"], "two_se": found["two_se"]})


def trained(
    task: budget.Task, recipe: Recipe, rate: float, seconds: float
) -> tuple[caudal.Flow, int, float]:
    """The flow after that many seconds, as planned from a few steps; the steps; the seconds."""
    torch.manual_seed(0)
    steps = budget._steps_within(seconds, task, recipe, rate)
    torch.manual_seed(0)
    flow, start = task.build(recipe), time.process_time()
    budget._fit(flow, task, rate, steps)
    return flow, steps, time.process_time() - start


# --- sampling ------------------------------------------------------------------------------------


@torch.no_grad()
def sampling(rows: int) -> None:
    """Times of a flow that is not trained, but away from the identity by noise in its weights.

    How many sweeps there are depends on how strongly tokens depend on each other; passes and steps
    take as long for any weights.
    """
    for tokens, shape in TOKENS.items():
        torch.manual_seed(0)
        flow = TarFlow(patch=2, map="affine").build(shape, standardise=False).eval()
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        x = flow.sample(rows)

        def swept(flow: caudal.Flow = flow) -> Tensor:
            with by_sweeps(flow):
                return flow.sample(rows)

        row: Row = {"part": "sampling", "tokens": tokens, "rows": rows}
        row["pass"] = median_seconds(lambda flow=flow, x=x: flow.log_prob(x), 1.0)
        row["steps"] = median_seconds(lambda flow=flow: flow.sample(rows), 1.0)
        row["sweeps"] = median_seconds(swept, 1.0)
        if tokens < 256 or rows == 1:
            naive = by_passes(flow)
            row["naive"] = median_seconds(lambda naive=naive: naive.sample(rows), 1.0)
        add(row)


# --- students ------------------------------------------------------------------------------------


def students(seconds: float, names: list[str] | None) -> None:
    """Students of the digits' teacher, each trained for the same time on the same samples."""
    task, schema = task_of("digits"), open_images("digits", pixels="logit").schema
    teacher, _, _ = trained(task, *RATES["digits"]["tarflow"], 2 * seconds)
    teacher.eval()
    real, held = (rows.x.numpy() for rows in (task.train, task.test))
    features = Features(real, open_images("digits", context=["class"]).train.context)
    theirs = teacher.sample(1000).numpy()
    row: Row = {"part": "students", "flow": "its teacher", "budget": seconds}
    row["score"] = task.score(teacher)["score"]
    row["kernel"] = features.distance(theirs, held)
    row["nearest"] = nearest(theirs, real)
    row["sample_ms"] = 1e3 * median_seconds(lambda: teacher.sample(64), 1.0)
    add(row)
    for name in names or STUDENTS:
        flow, steps = taught(name, teacher, schema, seconds)
        found = measure(flow, teacher, n=1000)
        drawn = flow.sample(1000).numpy()
        row = {"part": "students", "flow": name, "budget": seconds}
        row |= {"parameters": size_of(flow), "steps": steps}
        row |= {"forward": found.forward_kl, "reverse": found.reverse_kl, "ess": found.ess}
        row |= {"auc": found.auc, "kernel": features.distance(drawn, held)}
        row["nearest"] = nearest(drawn, real)
        row["sample_ms"] = 1e3 * median_seconds(lambda flow=flow: flow.sample(64), 1.0)
        add(row)


def taught(
    name: str, teacher: caudal.Flow, schema: Any, seconds: float
) -> tuple[caudal.Flow, int]:
    """A student after that many seconds, and its steps."""
    recipe, rate, terms = STUDENTS[name]
    options = caudal.Distillation(pool=4000, **terms)

    def learn(steps: int) -> tuple[caudal.Flow, float]:
        student = build_student(recipe, schema, teacher, seed=0)
        training = caudal.Training(
            steps=steps, batch_size=64, lr=rate, warmup=max(1, steps // 20), validate_every=steps
        )
        training = replace(training, patience=0)
        start = time.process_time()
        caudal.distill(student, teacher, options=options, training=training)
        return student.eval(), time.process_time() - start

    _, few = learn(2)
    _, more = learn(12)
    steps = max(20, math.floor(seconds * 10 / (more - few)))
    return learn(steps)[0], steps


class Features:
    """Features of a small classifier that is trained on the training images of `levels` values.

    They take the place of Inception's, which is of photographs, and is no part of this project. So
    the distance is a kernel distance of these features, and no KID or FID.
    """

    def __init__(self, images: np.ndarray, labels: Tensor, levels: int = 16) -> None:
        torch.manual_seed(0)
        self.levels, inputs = levels, images[0].size
        self.net = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
        head = nn.Linear(32, 10)
        x, y = self._rows(images), labels.flatten().long()
        optimiser = torch.optim.Adam([*self.net.parameters(), *head.parameters()], 2e-3)
        for _ in range(300):
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(self.net(x)), y).backward()
            optimiser.step()

    def _rows(self, images: np.ndarray) -> Tensor:
        return torch.as_tensor(images).float().flatten(1) / self.levels

    @torch.no_grad()
    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """The unbiased squared maximum mean discrepancy, by the kernel (1 + <u, v> / d)^3."""
        u, v = self.net(self._rows(a)).double(), self.net(self._rows(b)).double()

        def kernel(s: Tensor, t: Tensor) -> Tensor:
            return (1 + s @ t.T / u.shape[1]) ** 3

        def within(s: Tensor) -> Tensor:
            k = kernel(s, s)
            return (k.sum() - k.diagonal().sum()) / (len(s) * (len(s) - 1))

        return float(within(u) + within(v) - 2 * kernel(u, v).mean())


def nearest(samples: np.ndarray, train: np.ndarray) -> float:
    """The median distance of a sample to the nearest training image, in steps of a pixel."""
    a, b = (torch.as_tensor(x).float().flatten(1) for x in (samples, train))
    return float(torch.cdist(a, b).min(1).values.median())


# --- noise ---------------------------------------------------------------------------------------


def noise(seconds: float, stds: list[float]) -> None:
    """MNIST learned with and without noise: samples as they are, and with the noise taken off."""
    source = str(budget.DATA_DIR / "mnist")
    labelled = open_images(source, context=["class"])
    some = labelled.train.context[:LEARNED]
    real, held = (rows.x[:LEARNED].numpy() for rows in (labelled.train, labelled.test))
    features = Features(real, some, 256)
    recipe, rate = RATES["mnist"]["tarflow"]
    for std in stds:
        task = images_task(source, pixels="centred" if std else "logit", pixel_noise=std)
        flow, steps, took = trained(task, recipe, rate, seconds)
        lifted, generator = flow.eval().continuous(), torch.Generator().manual_seed(0)
        found = task.score(flow)
        row: Row = {"part": "noise", "data": "mnist", "noise": std, "budget": seconds}
        row |= {
            "steps": steps,
            "seconds": took,
            "score": found["score"],
            "two_se": found["two_se"],
        }
        y = lifted.sample(1000, generator=generator)
        ways = {"kernel": y} | ({"denoised": denoised(lifted, y, std)} if std else {})
        for name, x in ways.items():
            drawn = flow.dequantization.lower(x).numpy()
            row[name] = features.distance(drawn, held)
            row[f"{name}_nearest"] = nearest(drawn, real)
        add(row)


def size_of(flow: caudal.Flow) -> int:
    return sum(p.numel() for p in flow.parameters())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("scores", "sampling", "students", "noise", "picture"))
    parser.add_argument("--data", choices=RATES, nargs="*", default=list(RATES))
    parser.add_argument("--flow", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--std", type=float, nargs="*", default=NOISE)
    parser.add_argument("--data-dir", type=Path, default=tables.DATA_DIR)
    options = parser.parse_args()
    budget.DATA_DIR = options.data_dir
    if options.part == "sampling":
        sampling(options.rows)
    elif options.part == "students":
        students(options.seconds, options.flow)
    elif options.part == "noise":
        noise(options.seconds, options.std)
    elif options.part == "picture":
        draw_scores(PICTURE)
    else:
        for data in options.data:
            scores(data, options.flow, options.seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
