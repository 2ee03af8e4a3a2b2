"""Transformer flows: scores after equal seconds, sampling, and noise taken off again.

    OMP_NUM_THREADS=1 python benchmarks/transformer.py sampling
    OMP_NUM_THREADS=1 python benchmarks/transformer.py scores --data digits mnist --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/transformer.py segments
    OMP_NUM_THREADS=1 python benchmarks/transformer.py memory
    OMP_NUM_THREADS=1 python benchmarks/transformer.py noise --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/transformer.py orders --data digits power --steps 800

Seconds are the processor's, of one thread. Rows of other runs stay in the file.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import budget
import caudal
import image_students
import scale
import tables
import transformer_orders
import transformer_segments
from caudal.bijections import by_sweeps
from caudal.conditioning.completion import completes
from caudal.data import open_images
from caudal.data.source import Rows
from caudal.denoising import denoised
from caudal.recipes import NSF, NSFAR, Glow, MintNet, Recipe, TarFlow
from caudal.recipes.presets import PRESETS
from caudal.report import evaluate
from caudal.report.speed import by_passes, median_seconds
from features import Features, nearest
from transformer_tell import HALVES, PICTURE, SAMPLES, Row, add, draw_rows, draw_scores

RATES: dict[str, dict[str, tuple[Recipe, float]]] = {
    "digits": {
        "glow": (Glow(layers=4, maps=32), 4e-3),
        "mintnet": (MintNet(layers=3), 6e-3),
        "tarflow": (TarFlow(width=32), 1e-2),
    },
    "mnist": {
        "glow": (Glow(scales=2, layers=4, maps=48), 4e-3),
        "mintnet": (MintNet(), 4e-3),
        "tarflow": (TarFlow(), 1e-2),
        "tarflow, independent pixels": (TarFlow(couplings=0), 1e-2),
        "glow, medium": (Glow(scales=2, layers=6, maps=64), 4e-3),
        "tarflow, medium": (TarFlow(layers=4, depth=1, width=80), 4e-3),
        "tarflow, large": (TarFlow(layers=6, depth=1, width=96), 3e-3),
    },
    "cifar10": {
        "glow": (Glow(scales=2, layers=4, maps=48), 4e-3),
        "mintnet": (MintNet(), 4e-3),
        "tarflow": (TarFlow(), 1e-2),
    },
    "power": {"nsf-ar": (NSFAR(), 2e-3), "tarflow": (TarFlow(width=32, layers=3), 3e-3)},
    "miniboone": {"nsf-ar": (NSFAR(), 2e-3), "tarflow": (TarFlow(width=32, layers=3), 3e-3)},
}
"""The recipe and its rate: budget.py's, that of its size, or the best of two or three by hand."""
NOISE = (0.0, 12.8)
"""Deviations of the noise on pixels of 256 values; the first one is that of plain training."""
LEARNED = 10_000
"""Images that the classifier of features learns from, and as many of the test images at most."""
WAYS = {True: "weights and moves", False: "in order"}
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
        row["optimizer"] = budget.optimizer_of(recipe)
        add(row | {"score": found["score"], "two_se": found["two_se"]})


def trained(
    task: budget.Task, recipe: Recipe, rate: float, seconds: float
) -> tuple[caudal.Flow, int, float]:
    """The flow after that many seconds, as planned from a few steps; the steps; the seconds."""
    torch.manual_seed(0)
    steps = budget._steps_within(seconds, task, recipe, rate)
    torch.manual_seed(0)
    flow, start = task.build(recipe), time.process_time()
    budget._fit(flow, recipe, task, rate, steps)
    return flow, steps, time.process_time() - start


# --- sampling ------------------------------------------------------------------------------------


@torch.no_grad()
def sampling(rows: int) -> None:
    """Times of a flow that is not trained, but away from the identity by noise in its weights.

    How many sweeps there are depends on how strongly tokens depend on each other; passes and steps
    take as long for any weights.
    """
    for tokens, shape in TOKENS.items():
        flow = away_from_start(shape)
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


@torch.no_grad()
def away_from_start(shape: tuple[int, ...]) -> caudal.Flow:
    torch.manual_seed(0)
    flow = TarFlow(patch=2, map="affine").build(shape, standardise=False).eval()
    for parameter in flow.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return flow


def segments() -> None:
    """Sweeps in segments, of flows that are not trained and of the teacher of image_students.py.

    Of 64 images of 256 tokens sweeps take ten seconds, and the table of sampling has them.
    """
    data = image_students.DATA["mnist"]
    images = open_images(str(budget.DATA_DIR / "mnist"), pixels="logit")
    learned = image_students.teacher(data, images)[0]
    trained = {"data": "mnist", "budget": data.seconds}
    for key, flow, rows in (
        ({}, away_from_start(TOKENS[64]), 1),
        ({}, away_from_start(TOKENS[64]), 64),
        ({}, away_from_start(TOKENS[256]), 1),
        (trained, learned, 1),
        (trained, learned, 64),
    ):
        add({"part": "segments", **key, **transformer_segments.trial(flow, rows)})


def memory() -> None:
    """What the graph of a loss keeps of a further image, by the presets for one accelerator."""
    for data, shape in {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}.items():
        torch.manual_seed(0)
        flow = replace(TarFlow(), **PRESETS["tarflow"][data].fields).build(shape)
        one, two = torch.rand(1, *shape), torch.rand(2, *shape)
        row: Row = {"part": "memory", "data": data, "parameters": size_of(flow)}
        for name, again, half in (("plain", 0, 0), ("recompute", 1, 0), ("bf16", 0, 1)):
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(half)):
                both = [scale.kept(flow, x, None, bool(again)) for x in (one, two)]
            row[name] = (both[1] - both[0]) / 1e6  # without the copies of the weights
        add(row)


# --- noise ---------------------------------------------------------------------------------------


def noise(seconds: float, stds: list[float]) -> None:
    """MNIST learned with and without noise: samples as they are, and with the noise taken off."""
    source = str(budget.DATA_DIR / "mnist")
    labelled = open_images(source, context=["class"])
    some = labelled.train.context[:LEARNED]
    real, held = (rows.x[:LEARNED].numpy() for rows in (labelled.train, labelled.test))
    features = Features(real, some, 256)
    recipe, rate = RATES["mnist"]["tarflow"]
    shown = []
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
            shown.append(drawn)
        add(row)
    draw_rows(SAMPLES, shown)


# --- orders --------------------------------------------------------------------------------------


def orders(data: str, steps: int, names: list[str] | None) -> None:
    """Any order beside flips after as many steps.

    Of MNIST also digits whose halves are drawn; of tables half of the columns given the others,
    for which there is nsf beside.
    """
    is_table = data in tables.TABLES
    task = transformer_orders.table_task(data) if is_table else task_of(data)
    usual, rate = RATES[data]["tarflow"]
    assert isinstance(usual, TarFlow)
    recipes: dict[str, tuple[Recipe, float]] = {
        "any": (replace(usual, order="any"), rate),
        "flips": (usual, rate),
        **({"nsf": (NSF(), 5e-3)} if is_table else {}),
    }
    for order in names or recipes:
        recipe, rate = recipes[order]
        flow, took = after(steps, task, recipe, rate)
        row: Row = {"data": data, "flow": order, "steps": steps, "seconds": took}
        found = transformer_orders.scores(flow, task.test.x)
        add({"part": "orders", **row, "parameters": size_of(flow), **found})
        if order == "any" and data == "mnist":
            transformer_orders.draw_completions(HALVES, flow, task.test.x)
        for weighed in (True, False) if is_table else ():
            if completes(flow) or weighed:
                drawn = transformer_orders.given(flow, task.test.x, weighed)
                add({"part": "given", "way": WAYS[weighed], **row, **drawn})


def after(steps: int, task: budget.Task, recipe: Recipe, rate: float) -> tuple[caudal.Flow, float]:
    """The flow after so many steps, and the seconds that they took."""
    torch.manual_seed(0)
    flow, start = task.build(recipe), time.process_time()
    budget._fit(flow, recipe, task, rate, steps)
    return flow.eval(), time.process_time() - start


def size_of(flow: caudal.Flow) -> int:
    return sum(p.numel() for p in flow.parameters())


def main() -> None:
    parser = argparse.ArgumentParser()
    parts = ("scores", "sampling", "segments", "memory", "noise", "orders", "picture")
    parser.add_argument("part", choices=parts)
    parser.add_argument("--data", choices=RATES, nargs="*", default=list(RATES))
    parser.add_argument("--flow", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--std", type=float, nargs="*", default=NOISE)
    parser.add_argument("--data-dir", type=Path, default=tables.DATA_DIR)
    options = parser.parse_args()
    budget.DATA_DIR = options.data_dir
    if options.part == "sampling":
        sampling(options.rows)
    elif options.part == "segments":
        segments()
    elif options.part == "memory":
        memory()
    elif options.part == "noise":
        noise(options.seconds, options.std)
    elif options.part == "picture":
        draw_scores(PICTURE)
    elif options.part == "orders":
        for data in options.data:
            orders(data, options.steps, options.flow)
    else:
        for data in options.data:
            scores(data, options.flow, options.seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
