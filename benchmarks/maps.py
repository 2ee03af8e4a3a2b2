"""Analytic bijections beside splines, as the maps of one recipe, after equal seconds of a core.

    OMP_NUM_THREADS=1 python benchmarks/maps.py --seconds 20

The recipe is nsf with its own nets, masks and linear maps; only the elementwise map of its
couplings changes. Adam, batches of 512 rows, a rate that falls along a cosine with the time. Cells
that the .json file has already are not run again.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import caudal
from caudal.elementwise import Elementwise, RationalQuadraticSpline, SinhConjugation
from environment import RESULTS
from pages import Facts, Results, text
from tables import DATA_DIR, Table, california_housing, magic, power

BATCH, RATE = 512, 2e-3
LOADERS = {"POWER": power, "California": california_housing, "magic": magic}
MAPS: dict[str, Elementwise] = {
    "spline of 8 bins": RationalQuadraticSpline(8, 3.0),
    "4 sinh conjugations": SinhConjugation(4),
    "8 sinh conjugations": SinhConjugation(8),
}


@dataclass
class Row:
    table: str
    map: str
    seconds: float
    steps: int
    log_prob: float
    two_se: float


class Bent(caudal.recipes.NSF):
    """The recipe with another map in its couplings."""

    chosen: Elementwise

    def _layer(self, spline: Any, *sizes: int) -> caudal.Bijection:
        return super()._layer(self.chosen, *sizes)  # type: ignore[arg-type]


def run(table: Table, name: str, map: str, seconds: float) -> Row:
    """Trains one flow for so many seconds of one processor."""
    torch.manual_seed(0)
    recipe = type("Bent", (Bent,), {"chosen": MAPS[map]})()
    flow = recipe.build((table.features,), standardise=False)
    optimiser = torch.optim.Adam(flow.parameters(), lr=RATE)
    start, steps = time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * spent)) / 2
        rows = torch.randint(len(table.train), (BATCH,))
        loss = -flow.log_prob(table.train[rows]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimiser.step()
        steps += 1
    scores = _scores(flow.eval(), table.test)
    error = 2 * float(scores.std()) / math.sqrt(len(scores))
    return Row(name, map, seconds, steps, float(scores.mean()), error)


@torch.no_grad()
def _scores(flow: caudal.Flow, x: Tensor) -> Tensor:
    return torch.cat([flow.log_prob(part) for part in x.split(4096)]).double()


def page(rows: list[Row], facts: Facts) -> str:
    words = [
        "Nats a test row, more is better, of nsf with one or the other map in its couplings. Sinh "
        "conjugations ([2601.10774](https://arxiv.org/abs/2601.10774)) are smooth on the whole "
        "line and have their inverse in closed form; a spline bends within an interval, and its "
        "second derivative jumps at its knots. One seed, which moves a score by a few hundredths."
    ]
    head = ["table", "map", "seconds", "steps", "log p", "± 2 s.e."]
    cells = [
        [
            row.table,
            row.map,
            f"{row.seconds:g}",
            f"{row.steps:,}",
            f"{row.log_prob:.3f}",
            f"{row.two_se:.3f}",
        ]
        for row in rows
    ]
    return text("Smooth maps beside splines", words, facts, ("", head, cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    options = parser.parse_args()
    torch.set_num_threads(1)
    order = list(LOADERS), list(MAPS)
    results = Results(
        RESULTS / "maps.json",
        Row,
        lambda row: (row.table, row.map, row.seconds),
        lambda row: (order[0].index(row.table), order[1].index(row.map), row.seconds),
        ("torch",),
    )
    done = {(row.table, row.map, row.seconds) for row in results.read()}
    for name, loader in LOADERS.items():
        table = loader(options.data_dir)
        for map in MAPS:
            if (name, map, options.seconds) not in done:
                results.add(run(table, name, map, options.seconds), page)


if __name__ == "__main__":
    main()
