"""Flows of about equal size, each trained for the same time: scores of test images and rows.

    OMP_NUM_THREADS=1 python benchmarks/budget.py                       all, three minutes each
    OMP_NUM_THREADS=1 python benchmarks/budget.py --data mnist --flow glow --seconds 60

A few steps tell how long one takes; as many are made as fit into the time, with a cosine over all
of them. Time is the processor's, of one thread. Rows of other runs stay in the files.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

import caudal
from caudal.data import open_images
from caudal.data.source import Rows
from caudal.recipes import MAF, NSF, Glow, IResNet, MintNet, Recipe, ResidualFlow
from caudal.recipes.sizes import SIZES
from caudal.report import evaluate
from environment import RESULTS, lines, made, of_the_page, table, write, write_json
from images import cifar
from tables import DATA_DIR, TABLES

TEST, VALID = 400, 200
SAMPLES = {64: 64, 256: 10_000}
"""How many are drawn, by the size of the batches: of images, and of rows."""
FLOWS: dict[str, dict[str, tuple[Recipe, float]]] = {
    "mnist": {
        "glow": (Glow(scales=2, layers=8, maps=96), 4e-3),
        "iresnet": (IResNet(scales=2, blocks=8, maps=64), 4e-3),
        "residual-flow": (ResidualFlow(scales=2, blocks=8, maps=64, dense=0), 4e-3),
        "mintnet": (MintNet(), 4e-3),
    },
    "cifar10": {
        "glow": (Glow(scales=2, layers=8, maps=80), 4e-3),
        "iresnet": (IResNet(scales=2, blocks=8, maps=48), 4e-3),
        "residual-flow": (ResidualFlow(scales=2, blocks=8, maps=48, dense=0), 4e-3),
        "mintnet": (MintNet(), 4e-3),
    },
    "power": {
        "nsf": (NSF(layers=6, hidden=128), 1e-3),
        "maf": (MAF(hidden=(128, 128)), 1e-3),
        "iresnet": (IResNet(coefficient=0.98), 2e-3),
        "residual-flow": (ResidualFlow(), 2e-3),
        "mintnet": (MintNet(), 3e-3),
    },
}
"""The recipe, and its learning rate: the best of a few by hand for each; of glow its sizes'."""


@dataclass
class Row:
    data: str
    flow: str
    parameters: int
    steps: int
    seconds: float
    score: float
    two_se: float
    kind: str
    estimate_two_se: float
    bias_bound: float
    sample_seconds: float
    commit: str
    machine: str


@dataclass
class Task:
    """Rows to train on, validate on, and score; how a recipe is built for them."""

    train: Rows
    valid: Rows
    test: Rows
    batch: int
    build: Callable[[Recipe], caudal.Flow]
    score: Callable[[caudal.Flow], dict[str, Any]]


def images_task(data: str) -> Task:
    """Images as `caudal train` takes them; scores are bits/dim."""
    source = str(DATA_DIR / data) if data == "mnist" else cifar(DATA_DIR)
    images = open_images(source, pixels="logit")
    test = Rows(images.test.x[:TEST])

    def score(flow: caudal.Flow) -> dict[str, Any]:
        found = evaluate(flow, test, None, images.schema)
        return {
            "score": found.score,
            "two_se": found.two_se,
            "kind": found.kind,
            "estimate_two_se": found.estimate_two_se or 0.0,
            "bias_bound": found.bias_bound or 0.0,
        }

    def build(recipe: Recipe) -> caudal.Flow:
        return caudal.assemble(recipe, images.schema)

    valid = Rows(images.valid.x[:VALID])
    return Task(Rows(images.train.x), valid, test, 64, build, score)


def table_task(data: str) -> Task:
    """Standardised columns, as the papers have them; scores are nats a row."""
    train, valid, test = map(Rows, TABLES[data](DATA_DIR))

    @torch.no_grad()
    def score(flow: caudal.Flow) -> dict[str, Any]:
        log_prob = flow.log_prob(test.x).double()
        two_se = 2 * float(log_prob.std()) / len(log_prob) ** 0.5
        return {
            "score": float(log_prob.mean()),
            "two_se": two_se,
            "kind": flow.kind,
            "estimate_two_se": 0.0,
            "bias_bound": flow.bias_bound(),
        }

    def build(recipe: Recipe) -> caudal.Flow:
        return recipe.build((train.x.shape[1],))

    return Task(train, Rows(valid.x[:20_000]), test, 256, build, score)


def run(data: str, name: str, task: Task, seconds: float) -> Row:
    recipe, rate = FLOWS[data][name]
    torch.manual_seed(0)
    steps = _steps_within(seconds, task, recipe, rate)
    torch.manual_seed(0)
    flow = task.build(recipe)
    start = time.process_time()
    _fit(flow, recipe, task, rate, steps)
    took = time.process_time() - start
    found = task.score(flow.eval())
    start = time.process_time()
    flow.sample(SAMPLES[task.batch])
    sampling = time.process_time() - start
    size = sum(p.numel() for p in flow.parameters())
    return Row(data, name, size, steps, took, **found, sample_seconds=sampling, **made())


def _steps_within(seconds: float, task: Task, recipe: Recipe, rate: float) -> int:
    flow, marks = task.build(recipe), []
    for steps in (2, 2, 12):  # the first one loads what training takes
        start = time.process_time()
        _fit(flow, recipe, task, rate, steps)
        marks.append(time.process_time() - start)
    return max(20, math.floor(seconds * 10 / (marks[2] - marks[1])))


def _fit(flow: caudal.Flow, recipe: Recipe, task: Task, rate: float, steps: int) -> None:
    training = caudal.Training(
        steps=steps,
        batch_size=task.batch,
        lr=rate,
        warmup=max(1, steps // 20),
        patience=0,
        validate_every=steps,
        optimizer=optimizer_of(recipe),
    )
    caudal.fit(flow, task.train, task.valid, training=training)


def optimizer_of(recipe: Recipe) -> str:
    """That of the small size."""
    return str(SIZES.get(recipe.name, {}).get("small", {}).get("optimizer", "adam"))


def cells(row: Row) -> list[str]:
    return [
        row.data,
        row.flow,
        f"{row.parameters:,}",
        f"{row.steps:,}",
        f"{row.seconds:.0f}",
        f"{row.score:.3f} ± {row.two_se:.3f}",
        row.kind,
        f"{row.estimate_two_se:.4f}" if row.estimate_two_se else "",
        f"{row.bias_bound:.3f}" if row.bias_bound else "",
        f"{row.sample_seconds:.2f}",
        row.commit,
        row.machine,
    ]


COMMAND = "python benchmarks/budget.py --data DATA --flow FLOW --seconds SECONDS"
HEADER = [
    "data",
    "flow",
    "parameters",
    "steps",
    "CPU s",
    "test score",
    "what it is",
    "± of the estimate",
    "bias at most",
    "sampling, s",
    "commit",
    "machine",
]


def report(rows: list[Row]) -> str:
    order = [(data, flow) for data, flows in FLOWS.items() for flow in flows]
    rows = sorted(rows, key=lambda r: order.index((r.data, r.flow)))
    parts = [[cells(r) for r in rows if (r.data == "power") == tables] for tables in (False, True)]
    text = [
        "# Flows in the same time",
        "",
        "About equal parameters and equal seconds of one thread, few of both: a check beside Glow "
        "and spline flows, not the papers' figures. ± is 2 s.e. The rows of Glow are by Adam at "
        "1e-2: made again, it learns by Muon at 4e-3, as its sizes do.",
        "",
        *lines(of_the_page(COMMAND, ("torch",))),
        "",
        f"## Images: bits/dim of {TEST:,} test images, less is better; sampling is of 64",
        "",
        *table(HEADER, parts[0]),
        "",
        "## Tables: nats a test row, more is better; sampling is of 10,000",
        "",
        *table(HEADER, parts[1]),
    ]
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=FLOWS, nargs="*", default=list(FLOWS))
    parser.add_argument("--flow", nargs="*")
    parser.add_argument("--seconds", type=float, default=180.0)
    options = parser.parse_args()
    path = RESULTS / "budget.json"
    for data in options.data:
        task = table_task(data) if data == "power" else images_task(data)
        for name in options.flow or FLOWS[data]:
            new = run(data, name, task, options.seconds)
            print(new, flush=True)
            found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}
            rows = [Row(**row) for row in found["rows"]]
            rows = [r for r in rows if (r.data, r.flow) != (data, name)] + [new]
            write_json(path, {"rows": [asdict(r) for r in rows]})
            write(path.with_suffix(".md"), report(rows))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
