"""Students of a transformer flow of images, each taught for the same CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/image_students.py --data digits --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/image_students.py --data mnist --seconds 60

Four ways: likelihood of the teacher's samples (glow), the terms of `caudal distill`
(tarflow-iaf), and two from the teacher's own pairs of noise and sample, which have no density:
a transformer that looks both ways, whose layers learn what the teacher's make of the noise
(BiFlow), and flow matching. A run trains one teacher and all its students, as their rows compare
with those of no other teacher, and replaces the rows of the same data and seconds. Rows of other
runs stay in the file.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import budget
import caudal
import tables
from caudal.bijection import walk
from caudal.bijections import Autoregressive
from caudal.data import open_images
from caudal.recipes import Glow, Recipe, TarFlow, TarFlowIAF
from caudal.report import evaluate, measure
from caudal.report.speed import by_passes
from caudal.report.two_sample import two_sample
from caudal.training.dressing import dressing_of
from caudal.training.student import build_student
from environment import RESULTS, cpu_milliseconds, describe, made, write, write_json
from features import Features, nearest
from pages import text

PATH = RESULTS / "image_students.json"
RATE, POOL, BATCH, DRAWN = 1e-2, 16_000, 64, 1000
SEEN = 10_000
"""Training images that the features are learned from, at most."""
STEPS = (1, 2, 4, 8)
"""Euler steps of flow matching."""
Row = dict[str, Any]
Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Data:
    """Images in gray of one size, the teacher of their students, and its seconds.

    `patch` is the side of the patches of the teacher, and of students that are transformers.
    """

    side: int
    patch: int
    levels: int
    teacher: TarFlow
    seconds: float
    glow: Recipe


DATA = {
    "digits": Data(8, 2, 16, TarFlow(width=32), 60.0, Glow(layers=4, maps=32)),
    "mnist": Data(28, 4, 256, TarFlow(), 60.0, Glow(scales=2, layers=4, maps=48)),
}


@dataclass
class Lesson:
    """What all students learn from: the teacher, its samples before rounding, and their noise."""

    data: Data
    teacher: caudal.Flow
    schema: Any
    pool: Tensor
    noise: Tensor


def fit(
    parameters: Iterable[nn.Parameter], loss: Loss, n: int, rate: float, seconds: float
) -> int:
    """Adam on random batches of n rows until the CPU seconds are over; gives the steps."""
    torch.manual_seed(0)
    learned = list(parameters)
    optimiser, start, steps = torch.optim.Adam(learned, rate), time.process_time(), 0
    while (share := (time.process_time() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            warmth = min(1.0, (steps + 1) / 50)
            group["lr"] = rate * warmth * 0.5 * (1 + math.cos(math.pi * share))
        optimiser.zero_grad()
        loss(torch.randint(n, (BATCH,))).backward()
        nn.utils.clip_grad_norm_(learned, 50.0)
        optimiser.step()
        steps += 1
    return steps


def teacher(data: Data, images: Any) -> tuple[caudal.Flow, int]:
    """The teacher, trained on the images, and its steps."""
    torch.manual_seed(0)
    flow, x = caudal.assemble(data.teacher, images.schema), images.train.x
    caudal.initialize(flow, x[:2000].float())

    def loss(i: Tensor) -> Tensor:
        return -flow.log_prob(x[i].float()).mean()

    steps = fit(flow.parameters(), loss, len(x), RATE, data.seconds)
    return flow.eval().requires_grad_(False), steps


def lesson(data: Data, images: Any) -> tuple[Lesson, int]:
    """The teacher with 16,000 samples of it; and its steps."""
    flow, steps = teacher(data, images)
    lifted, generator = flow.continuous(), torch.Generator().manual_seed(7)
    pool = torch.cat([lifted.sample(1000, generator=generator) for _ in range(POOL // 1000)])
    noise = torch.cat([lifted.encode(part) for part in pool.split(1000)])
    return Lesson(data, flow, images.schema, pool, noise), steps


# --- students that are flows ---------------------------------------------------------------------


def of_samples(student: caudal.Flow, given: Lesson) -> Loss:
    """Their likelihood: KL(p to q), but for a constant."""
    flow = student.continuous()
    return lambda i: -flow.log_prob(given.pool[i]).mean()


def of_terms(student: caudal.Flow, given: Lesson) -> Loss:
    """Forward, guide and reverse, as `caudal distill` has them."""
    objective = caudal.Distillation().objective(student, given.teacher)
    dressing = caudal.Chain(dressing_of(given.teacher))

    def loss(i: Tensor) -> Tensor:
        with torch.no_grad():
            x, _ = dressing.inverse(given.pool[i])
        return objective(objective.student, x)

    return loss


FLOWS: dict[str, tuple[Callable[[Data], Recipe], float, Callable[[caudal.Flow, Lesson], Loss]]] = {
    "glow": (lambda data: data.glow, 1e-2, of_samples),
    "tarflow-iaf": (lambda data: TarFlowIAF(width=data.teacher.width), 3e-3, of_terms),
}
"""The recipe, its rate, and what it learns."""


def flow_student(name: str, given: Lesson, seconds: float) -> tuple[caudal.Flow, int]:
    choose, rate, way = FLOWS[name]
    recipe = choose(given.data)
    student = build_student(recipe, given.schema, given.teacher, seed=0)
    caudal.initialize(student, given.teacher.dequantization.lower(given.pool[:2000]))
    steps = fit(student.parameters(), way(student, given), POOL, rate, seconds)
    return student.eval(), steps


# --- students without a density ------------------------------------------------------------------


class BothWays(nn.Module):
    """A transformer without causality over the patches, given the time; `taps` layers tell."""

    def __init__(self, data: Data, width: int = 64, depth: int = 4, taps: int = 1) -> None:
        super().__init__()
        self.patch, self.tokens, self.every = data.patch, data.side // data.patch, depth // taps
        pixels = data.patch**2
        self.early = nn.ModuleList(nn.Linear(width, pixels) for _ in range(taps - 1))
        self.embed, self.last = nn.Linear(pixels, width), nn.Linear(width, pixels)
        self.place = nn.Parameter(0.5 * torch.randn(self.tokens**2, width))
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        layers = [
            nn.TransformerEncoderLayer(
                width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        ]
        self.layers, self.norm = nn.ModuleList(layers), nn.LayerNorm(width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def told(self, x: Tensor, t: Tensor) -> list[Tensor]:
        """What each tap says, of tokens (B, T, P); the last one is of the image."""
        waves = t[:, None] * math.pi * 2 ** torch.arange(8)
        time = self.time(torch.cat([waves.sin(), waves.cos()], 1))[:, None]
        tokens = in_patches(x, self.patch)
        h, said = self.embed(tokens) + self.place + time, []
        for number, layer in enumerate(self.layers, 1):
            h = layer(h)
            if number % self.every == 0 and number < len(self.layers):
                said.append(self.early[len(said)](h))
        return [*said, self.last(self.norm(h))]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = self.told(x, t)[-1]
        cells = h.transpose(1, 2).unflatten(2, (self.tokens, self.tokens))
        return nn.functional.pixel_shuffle(cells, self.patch)


def in_patches(x: Tensor, size: int) -> Tensor:
    """Images (B, 1, H, W) as tokens (B, T, P)."""
    return nn.functional.pixel_unshuffle(x, size).flatten(2).transpose(1, 2)


@torch.no_grad()
def between(given: Lesson) -> list[Tensor]:
    """What passes between the teacher's layers, as tokens (N, T, P), from the noise on."""
    states = []
    for part in given.pool.split(1000):
        steps = walk(given.teacher.bijection, part)
        at = [x for _, layer, x, _ in steps if isinstance(layer, Autoregressive)]
        states.append(at[1:][::-1])  # the first one met is next to the data
    joined = [torch.cat(parts).transpose(1, 2) for parts in zip(*states, strict=True)]
    # Every second layer has tokens, and their pixels, in the reverse order.
    return [x.flip(1, 2) if (len(joined) - k) % 2 else x for k, x in enumerate(joined)]


def aligned(given: Lesson, seconds: float) -> tuple[BothWays, int]:
    """From noise to pixels in [-1, 1] in one pass, told what the teacher has between its layers.

    Reference: BiFlow (2025), arXiv:2512.10953 (hidden alignment).
    """
    torch.manual_seed(0)
    states = between(given)
    net = BothWays(given.data, taps=len(states) + 1)
    aims = [*states, in_patches(given.pool * (2 / given.schema.levels) - 1, given.data.patch)]

    def loss(i: Tensor) -> Tensor:
        said = net.told(given.noise[i], torch.zeros(len(i)))
        pairs = zip(said, aims, strict=True)
        return torch.stack([(tap - aim[i]).square().mean() for tap, aim in pairs]).sum()

    return net.train(), fit(net.parameters(), loss, len(given.pool), 2e-3, seconds)


def matched(given: Lesson, seconds: float) -> tuple[BothWays, int]:
    """Straight paths from the teacher's noise to its pixels in [-1, 1]; a quarter of them at 0.

    Reference: The coupling within (2026), arXiv:2603.09014.
    """
    torch.manual_seed(0)
    net, pixels = BothWays(given.data), given.pool / given.schema.levels * 2 - 1

    def loss(i: Tensor) -> Tensor:
        t = torch.rand(len(i)) * (torch.rand(len(i)) > 0.25)
        at = t[:, None, None, None]
        x = (1 - at) * given.noise[i] + at * pixels[i]
        return (net(x, t) - (pixels[i] - given.noise[i])).square().mean()

    return net.train(), fit(net.parameters(), loss, len(given.pool), 2e-3, seconds)


@torch.no_grad()
def straight(net: BothWays, data: Data, n: int) -> Tensor:
    """N images in one pass."""
    x = net(torch.randn(n, 1, data.side, data.side), torch.zeros(n))
    return whole(x, data.levels)


@torch.no_grad()
def integrated(net: BothWays, steps: int, data: Data, n: int) -> Tensor:
    """N images by Euler's method."""
    x = torch.randn(n, 1, data.side, data.side)
    for k in range(steps):
        x = x + net(x, torch.full((n,), k / steps)) / steps
    return whole(x, data.levels)


def whole(x: Tensor, levels: int) -> Tensor:
    """Pixels in [-1, 1] as whole values."""
    return ((x + 1) * levels / 2).floor().clamp(0, levels - 1)


# --- measuring -----------------------------------------------------------------------------------


def run(name: str, students: list[str], seconds: float) -> None:
    """A teacher, and these students of it; they take the place of all rows of as many seconds."""
    data = DATA[name]
    source = name if name == "digits" else str(budget.DATA_DIR / name)
    images, labelled = open_images(source, pixels="logit"), open_images(source, context=["class"])
    real, held = images.train.x[:SEEN].numpy(), images.test.x.numpy()
    features = Features(real, labelled.train.context[:SEEN], data.levels)
    rows: list[Row] = []
    start = made()

    def near(drawn: np.ndarray) -> Row:
        precision, recall = features.precision_recall(drawn, held)
        kernel = features.distance(drawn, held)
        return {"kernel": kernel, "precision": precision, "recall": recall}

    def add(new: Row) -> Row:
        rows.append({"data": name, "seconds": seconds, **key, **new, **start})
        print(rows[-1], flush=True)
        keep(rows)
        return rows[-1]

    given, steps = lesson(data, images)
    theirs, key = given.teacher.sample(DRAWN), {"teacher_steps": steps}

    def tell(student: str, steps: int, draw: Callable[[int], Tensor], **more: Any) -> Row:
        torch.manual_seed(5)
        drawn = draw(DRAWN).numpy()
        row: Row = {"student": student, "steps": steps, **more, **near(drawn)}
        row["nearest"] = nearest(drawn, real)
        both = [x.reshape(len(x), -1).astype(float) for x in (theirs.numpy(), drawn)]
        row["auc"] = two_sample(*both, None, 0).auc
        row["ms"] = cpu_milliseconds(lambda: draw(64))
        return add(row)

    score = evaluate(given.teacher, images.test, None, images.schema).score
    key["teacher_kernel"] = tell("teacher", steps, given.teacher.sample, score=score)["kernel"]
    add({"student": IN_PLACE, **near(real[:DRAWN])})
    naive = by_passes(given.teacher)
    took = cpu_milliseconds(torch.no_grad()(lambda: naive.sample(64)))
    add({"student": "teacher, a pass for each step", "ms": took})
    if "both ways" in students:
        net, steps = aligned(given, seconds)
        tell("both ways, layer by layer", steps, lambda n: straight(net.eval(), data, n))
    for student in [student for student in FLOWS if student in students]:
        flow, steps = flow_student(student, given, seconds)
        tell(student, steps, flow.sample, **divergences(flow, given.teacher))
    if "flow matching" in students:
        net, steps = matched(given, seconds)
        for n in STEPS:
            student = f"flow matching, {n} step{'s' * (n > 1)}"
            tell(student, steps, lambda many, n=n: integrated(net.eval(), n, data, many))


def divergences(student: caudal.Flow, teacher: caudal.Flow) -> Row:
    """Both, the effective size, and how many of the teacher's images have a density of 0.

    Under the student, and under the teacher itself once its images are float32: where a pixel is
    so near the end of its range that it is rounded to it.
    """
    found = measure(student, teacher, n=DRAWN)
    images = teacher.continuous().sample(DRAWN, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        scores = [
            torch.cat([flow.continuous().log_prob(part) for part in images.split(100)])
            for flow in (student, teacher)
        ]
    zero, own = (float((score == -torch.inf).double().mean()) for score in scores)
    kl = {"forward": found.forward_kl, "reverse": found.reverse_kl, "ess": found.ess}
    return {**kl, "zero": zero, "zero_own": own}


IN_PLACE = "training images in their place"


def keep(new: list[Row]) -> None:
    """Puts the rows of a run in the place of those of the same data and seconds."""
    facts = describe(("torch",))
    rows = json.loads(PATH.read_text("utf-8"))["rows"] if PATH.exists() else []
    rows = [row for row in rows if key_of(row) != key_of(new[0])] + new
    rows.sort(key=key_of)
    write_json(PATH, {"made": facts, "rows": rows})
    write(PATH.with_suffix(".md"), page(rows, facts))


def key_of(row: Row) -> tuple[str, float]:
    return row["data"], row["seconds"]


COLUMNS = {
    "student": ("student", ""),
    "steps": ("steps", ",.0f"),
    "forward": ("KL(p to q)", ".2f"),
    "reverse": ("KL(q to p)", ".2f"),
    "ess": ("effective size", ".4f"),
    "zero": ("density 0", ".1%"),
    "zero_own": ("density 0 of p", ".1%"),
    "auc": ("AUC", ".3f"),
    "kernel": ("kernel distance", ".0f"),
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "nearest": ("nearest", ".1f"),
    "ms": ("64 images, ms", ".0f"),
    "commit": ("commit", ""),
    "machine": ("machine", ""),
}


def page(rows: list[Row], facts: dict[str, str]) -> str:
    tables = []
    for data, seconds in dict.fromkeys(map(key_of, rows)):
        mine = [row for row in rows if key_of(row) == (data, seconds)]
        cells = [
            [format(row[name], form) if name in row else "" for name, (_, form) in COLUMNS.items()]
            for row in mine
        ]
        title = f"{data}, {seconds:.0f} s each, of a teacher of {mine[0]['teacher_steps']:,} steps"
        tables.append((title, [head for head, _ in COLUMNS.values()], cells))
    return text(
        "Students of a transformer flow",
        [
            f"A `tarflow` p of the 8x8 digits, trained for {DATA['digits'].seconds:.0f} s, or of "
            f"MNIST, for {DATA['mnist'].seconds:.0f} s, and students "
            f"q that learn from {POOL:,} of its samples, each for the same CPU seconds of one "
            "thread: as many steps as the machine makes in them. All rows of a table have one "
            "teacher, and those of two tables do not compare. Divergences are of images before "
            "rounding, in nats an image; flow matching has no density.",
            "*Density 0*: the share of the teacher's images that have none under the student, "
            "and under the teacher itself. A pixel so near to black or white that float32 rounds "
            "it to the end of its range has no logit, and an image with such a pixel has density "
            "0 under every flow of logits, whatever it learned; one of them makes a divergence "
            "infinite, and the effective size means little.",
            "AUC is of a classifier that tells images of student and teacher "
            f"apart. The kernel distance (squared) of {DRAWN:,} samples is from the test images, "
            f"in features of a small classifier trained on {SEEN:,} training images at most. "
            "Precision is the share of samples that lie among the test images there, recall that "
            "of test images that lie among samples, by the third neighbour (arXiv:1904.06991), "
            "of as many of both: 170 of the digits, 1,000 of MNIST. Training images stand beside "
            "for comparison; they are no bound: blurred samples can have more precision, and "
            "scattered ones more recall. Nearest is the median distance to a training image, in "
            "steps of a pixel. The milliseconds are the processor's. One seed.",
            "`python benchmarks/image_students.py --data DATA --seconds S`",
        ],
        {name: fact for name, fact in facts.items() if name in ("threads", "libraries")},
        *tables,
    )


def main() -> None:
    every = ["both ways", "flow matching", *FLOWS]
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=DATA, default="digits")
    parser.add_argument("--student", nargs="*", choices=every, default=every)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--data-dir", type=Path, default=tables.DATA_DIR)
    options = parser.parse_args()
    budget.DATA_DIR = options.data_dir
    run(options.data, options.student, options.seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
