"""Guided samples of a transformer flow of the 8x8 digits, which is given the class.

OMP_NUM_THREADS=1 python benchmarks/guidance.py --seconds 30
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

import caudal
from caudal.data import open_images
from caudal.guided import guided
from caudal.recipes import TarFlow
from caudal.report import evaluate
from environment import RESULTS, ROOT, describe, made, write, write_json
from features import Features, nearest
from image_students import RATE, fit
from pages import text

PATH = RESULTS / "guidance.json"
PICTURE = ROOT / "docs" / "images" / "guidance.png"
WEIGHTS, SHOWN = (0.0, 0.5, 1.0, 2.0, 4.0), (0.0, 1.0, 2.0)
DROPPED, DRAWN, ROWS, SCALE = 0.1, 100, 6, 4
"""Labels withheld; samples of each class; those of the picture, and how large it is."""


def run(seconds: float) -> None:
    images = open_images("digits", pixels="logit", context=["class"], drop_context=DROPPED)
    train, test = images.train, images.test
    torch.manual_seed(0)
    flow, x, labels = (
        caudal.assemble(TarFlow(width=32), images.schema),
        train.x.float(),
        train.context,
    )
    caudal.initialize(flow, x, labels)
    steps = fit(
        flow.parameters(),
        lambda i: -flow.log_prob(x[i], labels[i]).mean(),
        len(x),
        RATE,
        seconds,
    )
    flow.eval()
    given = evaluate(flow, test, None, images.schema)
    alone = evaluate(guided(flow, -1.0), test, None, images.schema)
    real, held = train.x.numpy(), test.x.numpy()
    features = Features(real, labels)
    judge = KNeighborsClassifier(3).fit(real.reshape(len(real), -1), labels.flatten())
    asked, drawn = torch.arange(10.0).repeat(DRAWN).unsqueeze(1), {}
    rows = []
    for weight in WEIGHTS:
        generator = torch.Generator().manual_seed(1)
        drawn[weight] = guided(flow, weight).sample(len(asked), asked, generator=generator)
        samples = drawn[weight].numpy()
        right = judge.score(samples.reshape(len(samples), -1), asked.flatten())
        precision, recall = features.precision_recall(samples, held)
        cells = [f"{right:.3f}", f"{features.distance(samples, held):.0f}", f"{precision:.2f}"]
        rows.append([f"{weight:g}", *cells, f"{recall:.2f}", f"{nearest(samples, real):.1f}"])
    draw(PICTURE, [drawn[weight] for weight in SHOWN])
    right = judge.score(held.reshape(len(held), -1), test.context.flatten())
    facts = describe(("torch",))
    told = [
        f"A `tarflow` of the 8x8 digits that is given the class, which is withheld from "
        f"{DROPPED:.0%} of the images in training ({steps:,} steps in {seconds:.0f} CPU s of one "
        f"thread). Bits/dim of test images: {given.score:.3f} ± {given.two_se:.3f} given the "
        f"class, {alone.score:.3f} without it; they are the flow's own, and guidance has none.",
        f"Of {DRAWN} samples of each class: the share that a classifier by the 3 nearest training "
        f"images puts into the class that was asked for (of the test images {right:.3f}), the "
        f"kernel distance (squared) of all samples from the test images, in features of a small "
        f"classifier, precision and recall there of as many samples as there are test images "
        f"(arXiv:1904.06991), and the median distance to a training image, in steps of a pixel. "
        f"One seed.",
    ]
    head = ["guidance", "right class", "kernel distance", "precision", "recall", "nearest"]
    write_json(PATH, {"made": facts | made(), "told": told, "rows": rows})
    write(PATH.with_suffix(".md"), text("Guidance", told, facts, ("", head, rows)))
    print(PATH.with_suffix(".md").read_text("utf-8"))


def draw(path: Path, sheets: list[Tensor]) -> None:
    """A sheet for each weight beside each other, a column for each class."""
    blocks = []
    for samples in sheets:
        digits = np.pad(samples[: 10 * ROWS, 0].numpy(), ((0, 0), (1, 1), (1, 1)))
        grid = digits.reshape(ROWS, 10, 10, 10).transpose(0, 2, 1, 3).reshape(10 * ROWS, 100)
        blocks += [grid * (255 / 15), np.full((10 * ROWS, 5), 255.0)]
    sheet = np.concatenate(blocks[:-1], 1).round().astype(np.uint8)
    Image.fromarray(sheet.repeat(SCALE, 0).repeat(SCALE, 1)).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    run(parser.parse_args().seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
