"""Several levels of noise: a transformer flow that is given the level, and walks down from it.

    OMP_NUM_THREADS=1 python benchmarks/transformer_levels.py --seconds 120

MNIST by the recipe `tarflow`, learned for equal seconds of the processor: without noise, with
noise of one level, and with noise whose level is drawn for each image and is the flow's context
(iTARFlow, arXiv:2604.20041). Samples are measured as they are drawn, and with the noise taken off
in one step or many. Rows of other runs stay in the file.
"""

import argparse
import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import budget
import caudal
import tables
import transformer
from caudal.data import open_images
from caudal.denoising import denoised
from environment import RESULTS, made, of_the_page
from features import Features, nearest
from noise_levels import HIGHEST, LOWEST, Noisy, levelled, noisy, stairs, walk
from pages import Results, text
from transformer_tell import PICTURES, draw_groups

LEARNED, DRAWN = transformer.LEARNED, 1000
ONE = 12.8
"""The level of the flow that has one."""
STAIRS = (
    (5.0, 1, False),
    (ONE, 1, False),
    (ONE, 4, False),
    (30.0, 6, False),
    (HIGHEST, 8, False),
    (HIGHEST, 16, False),
    (HIGHEST, 16, True),
)
"""Where a walk starts, its steps, and whether they are drawn."""
SHOWN, STAGES = 5, (0, 4, 8, 12, 16)
"""Which walk the picture has, and the stages of it."""
PICTURE = PICTURES / "levels.png"
TRAININGS = ("no flow", "no noise", "one level", "levels")
Drawn = list[np.ndarray]


@dataclass
class Row:
    """A flow after its seconds: densities of noisy test images, and how good samples are.

    Attributes:
        values: bits/dim of each of the test images, by the level of the noise that was put on
            them.
        ways: of each way to samples its words and measures.
    """

    training: str
    budget: float
    parameters: int = 0
    steps: int = 0
    seconds: float = 0.0
    values: dict[str, list[float]] = field(default_factory=dict)
    ways: list[dict[str, Any]] = field(default_factory=list)
    commit: str = ""
    machine: str = ""


class Judge:
    """Test images, training images, and the features in which samples are compared with them."""

    def __init__(self, source: str) -> None:
        labelled = open_images(source, context=["class"])
        self.source, self.train = source, labelled.train.x
        self.valid, self.test = labelled.valid.x, labelled.test.x
        self.real, self.held = (x[:LEARNED].numpy() for x in (self.train, self.test))
        self.features = Features(self.real, labelled.train.context[:LEARNED], 256)

    def measures(self, drawn: np.ndarray) -> dict[str, float]:
        precision, recall = self.features.precision_recall(drawn, self.held)
        return {
            "kernel": self.features.distance(drawn, self.held),
            "nearest": nearest(drawn, self.real),
            "precision": precision,
            "recall": recall,
        }

    def others(self, std: float) -> Tensor:
        """Validation images with noise: what a flow should draw."""
        return noisy(self.valid[:DRAWN], std, seeded(2))


# --- a training ----------------------------------------------------------------------------------


def trial(name: str, judge: Judge, seconds: float) -> tuple[Row, Drawn]:
    """The row of one training, and the samples of it for the picture."""
    row = Row(name, seconds, **made())
    if name == "no flow":
        add(row, judge, "images themselves", judge.others(0.0), time.process_time())
        return row, []
    recipe, rate = transformer.RATES["mnist"]["tarflow"]
    flow, row.steps, row.seconds = transformer.trained(task(name, judge), recipe, rate, seconds)
    flow = (flow.eval() if name == "levels" else flow.eval().continuous()).requires_grad_(False)
    row.parameters, row.values = transformer.size_of(flow), values_of(name, flow, judge)
    return row, {"no noise": plain, "one level": by_one, "levels": by_levels}[name](
        flow, judge, row
    )


def task(name: str, judge: Judge) -> budget.Task:
    if name == "levels":
        train, valid = Noisy(judge.train), Noisy(judge.valid[: budget.VALID])
        build = partial(levelled, judge.train)
        return budget.Task(train, valid, valid, 64, build, lambda flow: {})
    std = ONE if name == "one level" else 0.0
    pixels = "centred" if std else "logit"
    return transformer.images_task(judge.source, pixels=pixels, pixel_noise=std)


def values_of(name: str, flow: caudal.Flow, judge: Judge) -> dict[str, list[float]]:
    """The flow of one level has one density; that of several, one for each that it is given."""
    given = name == "levels"
    levels = {"no noise": (), "one level": (ONE,), "levels": (LOWEST, ONE, HIGHEST)}[name]
    test, found = judge.test[: budget.TEST], {}
    for std in (0.0, *levels):
        y = noisy(test, std, seeded(1))  # the same for all flows
        found[f"{std:g}"] = bits(flow, y, max(std, LOWEST) if given else None)
    return found


@torch.no_grad()
def bits(flow: caudal.Flow, y: Tensor, level: float | None) -> list[float]:
    """Bits/dim of each image."""
    nats = torch.cat([flow.log_prob(part, told(level)) for part in y.split(100)]).double()
    return [round(b, 5) for b in (-nats / y[0].numel() / math.log(2)).tolist()]


# --- ways to samples -----------------------------------------------------------------------------


def plain(flow: caudal.Flow, judge: Judge, row: Row) -> Drawn:
    start = time.process_time()
    y = drawn(flow)
    add(row, judge, "as drawn", y, start)
    return [whole(y)]


def by_one(flow: caudal.Flow, judge: Judge, row: Row) -> Drawn:
    start = time.process_time()
    y = drawn(flow)
    drawing = time.process_time() - start
    add(row, judge, "as drawn", y, start)
    start = time.process_time() - drawing
    clean = denoised(flow, y, ONE)
    add(row, judge, "1 step", clean, start)
    start = time.process_time()
    add(row, judge, "1 step, of images", denoised(flow, judge.others(ONE), ONE), start)
    return [whole(y), whole(clean)]


def by_levels(flow: caudal.Flow, judge: Judge, row: Row) -> Drawn:
    """Walks from several levels, and one of real images with noise, which tells them apart."""
    shown: Drawn = []
    for i, (std, steps, random) in enumerate(STAIRS):
        start, levels = time.process_time(), stairs(std, steps)
        stages = list(walk(flow, drawn(flow, std), levels, seeded(3) if random else None))
        words = f"{steps} {'drawn ' if random else ''}step{'s' if steps > 1 else ''}"
        add(row, judge, f"{words} from {std:g}", stages[-1], start)
        if i == SHOWN:
            shown = [whole(stages[stage]) for stage in STAGES]
    start = time.process_time()
    *_, clean = walk(flow, judge.others(HIGHEST), stairs(HIGHEST, 8))
    add(row, judge, f"8 steps from {HIGHEST:g}, of images", clean, start)
    return shown


def add(row: Row, judge: Judge, words: str, y: Tensor, start: float) -> None:
    """Puts a way in the row: its seconds since `start`, of 64 images, and its measures."""
    took = (time.process_time() - start) * 64 / len(y)
    row.ways.append({"way": words, "seconds": took, **judge.measures(whole(y))})
    print(row.training, row.ways[-1], flush=True)


def drawn(flow: caudal.Flow, std: float | None = None) -> Tensor:
    return flow.sample(DRAWN, told(std), generator=seeded(0))


def told(std: float | None) -> Tensor | None:
    """The context of a flow that is given that level."""
    return None if std is None else torch.tensor([math.log(std)])


def whole(y: Tensor) -> np.ndarray:
    """Images of whole numbers from 0 to 255."""
    return y.floor().clamp(0, 255).numpy().astype(np.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- the page ------------------------------------------------------------------------------------

COMMAND = "python benchmarks/transformer_levels.py --seconds SECONDS --training TRAINING"
SAID = [
    "The recipe `tarflow` on MNIST, learned for equal seconds of one thread: without noise, with "
    f"Gaussian noise of {ONE:g} of 256 values of a pixel, and with noise of a level that is drawn "
    f"for each image, from {LOWEST:g} to {HIGHEST:g} with equal chances for equal ratios, and "
    "given to the flow (iTARFlow, arXiv:2604.20041). One seed.",
    "Densities are of 400 test images with noise put on them, the same for all flows: of the "
    "flow's own level where it is given levels (of images without noise, the lowest), and in bits "
    "a pixel of noisy images, which are not comparable between levels. ± is 2 s.e.; the "
    "difference, image by image, is from the flow of one level.",
    f"Samples are measured as in `transformer.py noise`, {DRAWN:,} of each: the squared kernel "
    "distance from the test images in features of a small classifier, the median distance to the "
    "nearest of 10,000 training images, and precision and recall in the same features. A step at "
    "one level takes all noise off by Tweedie's formula. Steps from a level begin at a sample of "
    f"the flow there and go down to {LOWEST:g} by equal ratios; drawn steps add noise again. *Of "
    "images* says that validation images with noise stand in the place of samples: what is amiss "
    "there is the steps' alone. *Images themselves* are validation images.",
]


def page(rows: list[Row], facts: dict[str, str]) -> str:
    densities, samples = [], []
    for row in rows:
        rival = next((r for r in rows if (r.training, r.budget) == ("one level", row.budget)), row)
        learned = [row.training, f"{row.budget:.0f}"]
        for level in row.values:
            pair = [torch.tensor(r.values[level]) for r in (row, rival) if level in r.values]
            against = mean(pair[0] - pair[1]) if len(pair) == 2 and rival is not row else ""
            size = [f"{row.seconds:.0f}", f"{row.steps:,}", f"{row.parameters:,}"]
            densities.append(
                [*learned, *size, level, mean(pair[0]), against, row.commit, row.machine]
            )
        for way in row.ways:
            numbers = [f"{way['kernel']:,.0f}", f"{way['nearest']:,.0f}"]
            numbers += [f"{way['precision']:.2f}", f"{way['recall']:.2f}"]
            told = row.parameters and way["seconds"] is not None  # one was timed with judging
            numbers.append(f"{way['seconds']:.2f}" if told else "")
            samples.append([*learned, way["way"], *numbers, row.commit, row.machine])
    head = ["learned with", "planned s"]
    return text(
        "Several levels of noise",
        SAID,
        of_the_page(COMMAND, ("torch",)),
        (
            "Samples",
            [*head, "way", "kernel distance", "nearest", "precision", "recall", "s of 64 images"]
            + ["commit", "machine"],
            samples,
        ),
        (
            "Densities of noisy images",
            [*head, "CPU s", "steps", "parameters", "noise", "bits/dim", "less one level"]
            + ["commit", "machine"],
            densities,
        ),
    )


def mean(values: Tensor) -> str:
    two_se = 2 * float(values.double().std()) / len(values) ** 0.5
    return f"{float(values.double().mean()):.3f} ± {two_se:.3f}".replace("-", "−")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--training", choices=TRAININGS, nargs="*", default=TRAININGS)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--data-dir", type=Path, default=tables.DATA_DIR)
    options = parser.parse_args()
    budget.DATA_DIR = options.data_dir
    results = Results(
        RESULTS / "transformer_levels.json",
        Row,
        lambda row: (row.training, row.budget),
        lambda row: (row.budget, TRAININGS.index(row.training)),
        ("torch",),
    )
    judge, shown = Judge(str(budget.DATA_DIR / "mnist")), list[Drawn]()
    for name in options.training:
        row, some = trial(name, judge, 0.0 if name == "no flow" else options.seconds)
        results.add(row, page)
        shown += [some] if some else []
    if set(options.training) == set(TRAININGS):
        draw_groups(PICTURE, shown)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
