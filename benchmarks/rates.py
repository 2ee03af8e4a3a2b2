"""Learning rates of the sizes of images, compared by validation images.

    OMP_NUM_THREADS=1 python benchmarks/rates.py mnist tarflow --size medium --seconds 120 \
        --rates 8e-3 4e-3 2e-3
    OMP_NUM_THREADS=1 python benchmarks/rates.py cifar10 glow --rates 1e-2 4e-3

`caudal.train` as it is, for so many seconds of the processor; nothing sees the test images. Rows
of other runs stay in the file.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import caudal
from caudal.modality import Voice, modality
from caudal.model.settings import settings
from environment import RESULTS, made
from images import cifar
from pages import Facts, Results, text
from tables import DATA_DIR

LOOKED_AT = 1000
"""The first images that `caudal.train` validates on, by some of which it chooses the weights."""


@dataclass
class Row:
    """Bits/dim, and by how much they are more than those at the best rate of its comparison."""

    data: str
    recipe: str
    size: str
    seconds: float
    rate: float
    steps: int
    score: float
    two_se: float
    behind: float
    behind_2se: float
    commit: str
    machine: str


def validation(recipe: str, data: dict[str, Any]) -> Tensor:
    """What `caudal.train` validates on, which is held out of its training images by its seed."""
    kind: Any = modality("images")
    asked = settings(recipe, kind, data)
    return kind.open(asked.data, asked.recipe, None, Voice()).valid.x[:LOOKED_AT]


@torch.no_grad()
def bits(flow: caudal.Flow, x: Tensor) -> Tensor:
    """Bits/dim of each image, with the same uniform noise whenever it is called."""
    lifted, flow = x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0)), flow.eval()
    log_prob = torch.cat([flow.continuous().log_prob(part) for part in lifted.split(100)])
    return -log_prob.double() / (x[0].numel() * math.log(2))


def compare(
    source: str, data: str, recipe: str, size: str, seconds: float, rates: list[float]
) -> list[Row]:
    asked = {"data": source, "size": size, "minutes": seconds / 60}
    held, found = validation(recipe, asked), {}
    for rate in rates:
        model = caudal.train(recipe, source, size=size, lr=rate, minutes=seconds / 60)
        scores = bits(model.flow, held)
        print(rate, model.fitted.history[-1]["step"], float(scores.mean()), flush=True)
        found[rate] = model.fitted.history[-1]["step"], scores
    best = min((scores for _, scores in found.values()), key=lambda scores: float(scores.mean()))
    rows = []
    for rate, (steps, scores) in found.items():
        pairs = [*_two_se(scores), *_two_se(scores - best)]
        rows.append(Row(data, recipe, size, seconds, rate, steps, *pairs, **made()))
    return rows


def _two_se(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), 2 * float(values.std()) / len(values) ** 0.5


def page(rows: list[Row], facts: Facts) -> str:
    words = [
        "What rate a size of images learns best at, by validation images: `caudal.train` as it "
        "is but for the rate, for so many seconds of the processor, and then bits/dim of the "
        f"first {LOOKED_AT:,} images that it validates on, less is better. *Behind* is by how "
        "much they are more than those of the best rate beside, image by image. ± is 2 s.e. over "
        "images. One seed, whose chance is not in the errors. Other work on the machine makes "
        "steps take longer, so that there are fewer of them: look at their column. Test images "
        "were not looked at.",
        "`python benchmarks/rates.py DATA RECIPE --size SIZE --seconds SECONDS --rates RATES`",
    ]
    header = ["data", "recipe", "size", "CPU s", "rate", "steps", "bits/dim", "behind", "commit"]
    cells = [
        [
            row.data,
            row.recipe,
            row.size,
            f"{row.seconds:.0f}",
            f"{row.rate:.0e}".replace("e-0", "e-"),
            f"{row.steps:,}",
            f"{row.score:.3f} ± {row.two_se:.3f}",
            f"{row.behind:.3f} ± {row.behind_2se:.3f}" if row.behind else "",
            row.commit,
        ]
        for row in rows
    ]
    kept = {name: facts[name] for name in ("machine", "threads", "libraries")}
    return text("Learning rates by validation images", words, kept, ("", header, cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", choices=["mnist", "cifar10"])
    parser.add_argument("recipe", choices=["tarflow", "glow"])
    parser.add_argument("--size", choices=["small", "medium", "large"], default="small")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    options = parser.parse_args()
    source = str(options.data_dir / "mnist")
    if options.data == "cifar10":
        source = cifar(options.data_dir)
    results = Results(
        RESULTS / "rates.json",
        Row,
        lambda row: (row.data, row.recipe, row.size, row.seconds, row.rate),
        lambda row: (row.data, row.recipe, row.size, row.seconds, -row.rate),
        ("torch",),
    )
    asked = options.data, options.recipe, options.size, options.seconds, options.rates
    for row in compare(source, *asked):
        results.add(row, page)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # caudal plans by the clock on the wall, which runs on while others have the core.
    time.monotonic = time.perf_counter = time.process_time
    main()
