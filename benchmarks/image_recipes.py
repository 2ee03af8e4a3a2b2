"""Every recipe of images as it comes, after the same few seconds of a core, beside one Gaussian.

    OMP_NUM_THREADS=1 python benchmarks/image_recipes.py --data mnist cifar10 --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/image_recipes.py --data cifar10 --pixels logit
    OMP_NUM_THREADS=1 python benchmarks/image_recipes.py --flow realnvp --optimizer adam

Sizes, optimisers, rates, batches and pixels are those of `caudal train` for so much time. The
learning rate falls along a cosine of the seconds that passed, so that no step is planned and none
is measured; statistics that flows begin from are not in the time. Rows of other runs stay in the
file.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch

import budget
import caudal
from caudal.bijections import ZCA
from caudal.data.source import Rows
from caudal.modality import Voice, modality
from caudal.model import choices
from caudal.model.settings import settings
from caudal.recipes import MAF
from caudal.report import evaluate
from caudal.training.options import make_optimizer
from caudal.training.rows import initial_rows
from environment import RESULTS, describe, made, write, write_json
from images import cifar
from pages import text
from tables import DATA_DIR

PATH = RESULTS / "image_recipes.json"
FLOWS = ["gaussian", "nice", "realnvp", "glow", "nsf-image", "mintnet", "iresnet", "residual-flow"]
FLOWS += ["tarflow", "maf"]
NOTHING = MAF(layers=0)
"""Of white pixels it is the Gaussian of their logits."""
KEYS = ("data", "flow", "pixels", "seconds", "optimizer")
Row = dict[str, Any]


def run(data: str, name: str, seconds: float, chosen: Row, whitened: Row) -> Row:
    """One row with chosen options; `whitened` keeps what whitening takes for the next one."""
    kind: Any = modality("images")
    source = str(budget.DATA_DIR / data) if data == "mnist" else cifar(budget.DATA_DIR)
    recipe = NOTHING if name == "gaussian" else name
    asked = settings(recipe, kind, {"data": source, "minutes": seconds / 60, **chosen})
    dataset = kind.open(asked.data, asked.recipe, None, Voice())
    if name != "gaussian":
        asked = choices.suited(asked, dataset)
    torch.manual_seed(0)
    flow = caudal.assemble(asked.recipe, dataset.schema)
    begin(flow, Rows(dataset.train.x), whitened)
    steps = 0
    if name != "gaussian":
        steps = learn(flow, dataset.train.x, asked.training, seconds)
        caudal.calibrate(flow, dataset.train.x[:2000].float())
    found = evaluate(flow.eval(), Rows(dataset.test.x[: budget.TEST]), None, dataset.schema)
    size = sum(p.numel() for p in flow.parameters())
    row = {"data": data, "flow": name, "pixels": dataset.schema.pixels, "seconds": seconds}
    row |= {"optimizer": asked.training.optimizer, "parameters": size if steps else 0}
    row |= {"steps": steps, **made()}
    return {**row, "score": found.score, "two_se": found.two_se}


def begin(flow: caudal.Flow, rows: Rows, whitened: Row) -> None:
    """Takes the statistics that flows begin from, of whitening only once."""
    whitening = next((part for part in flow.modules() if isinstance(part, ZCA)), None)
    first = whitening is not None and not whitened
    if whitening is not None and whitened:
        whitening.load_state_dict(whitened)
        whitening.observe = lambda *_, **__: None  # type: ignore[method-assign]
    some = initial_rows(rows, 0, flow).x if first else rows.x[:2000]
    caudal.initialize(flow, some.float(), few=2000)
    if whitening is not None and first:
        whitened.update(whitening.state_dict())


def learn(flow: caudal.Flow, x: torch.Tensor, training: caudal.Training, seconds: float) -> int:
    """Steps as those of `caudal train`, as many as the seconds have; returns how many."""
    optimizer, steps, parameters = make_optimizer(flow.train(), training), 0, [*flow.parameters()]
    start = time.process_time()
    while (done := (time.process_time() - start) / seconds) < 1:
        batch = x[torch.randint(len(x), (training.batch_size,))].float()
        (-flow.log_prob(batch).mean()).backward()
        if training.clip:
            torch.nn.utils.clip_grad_norm_(parameters, training.clip)
        warm = min(1.0, (steps + 1) / 20)
        for group in optimizer.param_groups:
            group["lr"] = training.lr * warm * 0.5 * (1 + math.cos(math.pi * done))
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    return steps


def key_of(row: Row) -> Row:
    """What a row is of; rows of before the optimiser was written down are Adam's."""
    return {"optimizer": "adam"} | {name: row[name] for name in KEYS if name in row}


def page(rows: list[Row], facts: dict[str, str]) -> str:
    columns = ["data", "flow", "pixels", "CPU s", "optimizer", "parameters", "steps", "bits/dim"]
    columns.append("commit")
    cells = [
        [
            *(str(row[name]) for name in ("data", "flow", "pixels")),
            f"{row['seconds']:.0f}",
            key_of(row)["optimizer"] if row["steps"] else "",
            *(f"{row[name]:,}" for name in ("parameters", "steps")),
            f"{row['score']:.3f} ± {row['two_se']:.3f}",
            row["commit"],
        ]
        for row in sorted(rows, key=lambda row: (row["data"], row["seconds"], row["score"]))
    ]
    about = [
        "Each recipe as `caudal train` has it for so much time, after so many seconds of one "
        f"core, on {budget.TEST} test images: bits/dim, less is better, ± is 2 s.e. One seed. "
        "The Gaussian is that of the logits, by the covariance of ten images for each element "
        "of one. Statistics that flows begin from are not in the time.",
    ]
    command = "`python benchmarks/image_recipes.py --data DATA --flow FLOW --seconds SECONDS`"
    kept = {name: fact for name, fact in facts.items() if name in ("threads", "libraries")}
    return text("Recipes of images in the same time", about, kept, (command, columns, cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["mnist", "cifar10"], nargs="*", default=["mnist"])
    parser.add_argument("--flow", choices=FLOWS, nargs="*", default=FLOWS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pixels", choices=["unit", "centred", "logit", "white"])
    parser.add_argument("--optimizer", choices=["adam", "muon"])
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    options = parser.parse_args()
    budget.DATA_DIR = options.data_dir
    given = {"pixels": options.pixels, "optimizer": options.optimizer}
    chosen = {option: value for option, value in given.items() if value}
    for name in options.data:
        whitened: Row = {}
        for flow in options.flow:
            new = run(name, flow, options.seconds, chosen, whitened)
            print(new, flush=True)
            rows = json.loads(PATH.read_text("utf-8"))["rows"] if PATH.exists() else []
            others = [row for row in rows if key_of(row) != key_of(new)]
            facts = describe(("torch",))
            write_json(PATH, {"made": facts, "rows": [*others, new]})
            write(PATH.with_suffix(".md"), page([*others, new], facts))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
