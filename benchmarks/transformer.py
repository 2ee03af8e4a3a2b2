"""Transformer flows: scores after equal seconds, times of sampling, and students of images.

    OMP_NUM_THREADS=1 python benchmarks/transformer.py sampling
    OMP_NUM_THREADS=1 python benchmarks/transformer.py scores --data digits mnist --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/transformer.py students --seconds 30

Seconds are the processor's, of one thread. Rows of other runs stay in the file.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
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
from caudal.recipes import NSFAR, Glow, MintNet, RealNVP, Recipe, TarFlow, TarFlowIAF
from caudal.report import evaluate, measure
from caudal.report.speed import by_passes, median_seconds
from caudal.training.student import build_student
from environment import RESULTS, describe, write, write_json
from pages import text

PATH = RESULTS / "transformer.json"
Row = dict[str, Any]
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
TOKENS = {16: (1, 8, 8), 64: (1, 16, 16), 256: (1, 32, 32)}
"""Images in patches of 2x2, by the number of patches."""


# --- scores --------------------------------------------------------------------------------------


def task_of(data: str) -> budget.Task:
    """What `budget.py` has, and the built-in digits as images."""
    if data != "digits":
        return (budget.table_task if data in tables.TABLES else budget.images_task)(data)
    images = open_images("digits", pixels="logit")

    def score(flow: caudal.Flow) -> Row:
        found = evaluate(flow, images.test, None, images.schema)
        return {"score": found.score, "two_se": found.two_se}

    def build(recipe: Recipe) -> caudal.Flow:
        return caudal.assemble(recipe, images.schema)

    train = Rows(images.train.x)
    return budget.Task(train, images.valid, images.test, 64, build, score)


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
    """Features of a small classifier that is trained on the training images.

    They take the place of Inception's, which is of photographs, and is no part of this project. So
    the distance is a kernel distance of these features, and no KID or FID.
    """

    def __init__(self, images: np.ndarray, labels: Tensor) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
        head = nn.Linear(32, 10)
        x, y = self._rows(images), labels.flatten().long()
        optimiser = torch.optim.Adam([*self.net.parameters(), *head.parameters()], 2e-3)
        for _ in range(300):
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(self.net(x)), y).backward()
            optimiser.step()

    def _rows(self, images: np.ndarray) -> Tensor:
        return torch.as_tensor(images).float().flatten(1) / 16

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


# --- the page ------------------------------------------------------------------------------------


def size_of(flow: caudal.Flow) -> int:
    return sum(p.numel() for p in flow.parameters())


KEYS = ("part", "data", "flow", "budget", "tokens", "rows")


def add(new: Row) -> None:
    """Puts a row in its place, and writes the page of all of them."""
    facts = describe(("torch",))
    new |= {"commit": facts["commit"].split()[0]}
    print(new, flush=True)
    rows = json.loads(PATH.read_text("utf-8"))["rows"] if PATH.exists() else []
    key = [new.get(name) for name in KEYS]
    rows = [row for row in rows if [row.get(name) for name in KEYS] != key] + [new]
    write_json(PATH, {"made": facts, "rows": rows})
    write(PATH.with_suffix(".md"), page(rows, facts))


def page(rows: list[Row], facts: dict[str, str]) -> str:
    def cells(part: str, *columns: Callable[[Row], str]) -> list[list[str]]:
        return [[column(row) for column in columns] for row in rows if row["part"] == part]

    def of(name: str, form: str = "", scale: float = 1.0) -> Callable[[Row], str]:
        def column(row: Row) -> str:
            value = row.get(name)
            if value is None:
                return ""
            return format(scale * value if form else value, form)

        return column

    return text(
        "Transformer flows",
        [
            "The recipe `tarflow` and its students beside others, in minutes of one core. Scores "
            "of images are bits/dim of test images (of MNIST and CIFAR-10 of 400), less is "
            "better; of tables nats a test row, more is better. ± is 2 s.e. One seed.",
            "Sampling is of the default sizes with affine maps, in patches of 2x2, with weights "
            "away from the start; a pass is that of `log_prob`. Students of the 8x8 digits learn "
            "from 4,000 samples of a teacher p that was trained for twice their time; the kernel "
            "distance (squared) is from the test images, in features of a small classifier "
            "trained on the training images, and nearest is the median distance to a training "
            "image. Of the teacher there are the bits/dim of the test images.",
            "Steps are planned from a few of them, and other work on the machine shifts both the "
            "plan and the seconds: look at the column of those that were taken. Each row was made "
            "at its commit by the command of its section, with what stands in its columns.",
        ],
        {name: fact for name, fact in facts.items() if name not in ("command", "commit", "date")},
        (
            _section("Scores", "scores --data DATA --flow FLOW --seconds SECONDS"),
            ["data", "flow", "planned s", "CPU s", "parameters", "steps", "score", "commit"],
            cells(
                "scores",
                of("data"),
                of("flow"),
                of("budget", ".0f"),
                of("seconds", ".0f"),
                of("parameters", ",.0f"),
                of("steps", ",.0f"),
                lambda row: f"{row['score']:.3f} ± {row['two_se']:.3f}",
                of("commit"),
            ),
        ),
        (
            _section("Sampling", "sampling --rows IMAGES"),
            ["tokens", "images", "pass, ms", "steps", "sweeps", "naive", "steps / pass", "commit"],
            cells(
                "sampling",
                of("tokens"),
                of("rows"),
                *(of(name, ".1f", 1e3) for name in ("pass", "steps", "sweeps", "naive")),
                lambda row: f"{row['steps'] / row['pass']:.1f}",
                of("commit"),
            ),
        ),
        (
            _section("Students", "students --flow FLOW --seconds SECONDS"),
            [
                *[
                    "flow",
                    "planned s",
                    "parameters",
                    "steps",
                    "KL(p to q)",
                    "KL(q to p)",
                    "effective size",
                ],
                *["AUC", "kernel distance", "nearest", "64 images, ms", "bits/dim", "commit"],
            ],
            cells(
                "students",
                of("flow"),
                of("budget", ".0f"),
                of("parameters", ",.0f"),
                of("steps", ",.0f"),
                of("forward", ".2f"),
                of("reverse", ".2f"),
                of("ess", ".3f"),
                of("auc", ".3f"),
                of("kernel", ".1f"),
                of("nearest", ".1f"),
                of("sample_ms", ".1f"),
                of("score", ".3f"),
                of("commit"),
            ),
        ),
    )


def _section(title: str, options: str) -> str:
    return f"{title}\n\n`python benchmarks/transformer.py {options}`"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("scores", "sampling", "students"))
    parser.add_argument("--data", choices=RATES, nargs="*", default=list(RATES))
    parser.add_argument("--flow", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--data-dir", type=Path, default=tables.DATA_DIR)
    options = parser.parse_args()
    budget.DATA_DIR = options.data_dir
    if options.part == "sampling":
        sampling(options.rows)
    elif options.part == "students":
        students(options.seconds, options.flow)
    else:
        for data in options.data:
            scores(data, options.flow, options.seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
