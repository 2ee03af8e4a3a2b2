"""Image flows of about equal size, each trained for the same time: bits/dim of test images.

    OMP_NUM_THREADS=1 python benchmarks/budget.py                       all, three minutes each
    OMP_NUM_THREADS=1 python benchmarks/budget.py --data mnist --flow glow --seconds 60

A few steps tell how long one takes; as many are made as fit into the time, with a cosine over all
of them. Time is the processor's, of one thread. Rows of other runs stay in the files.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import caudal
from caudal.data import ImageDataset, open_images
from caudal.data.source import Rows
from caudal.recipes import Glow, IResNet, MintNet, Recipe, ResidualFlow
from caudal.report.pixels import evaluate_images
from environment import RESULTS, describe, lines, table, write, write_json
from images import cifar
from tables import DATA_DIR

BATCH, TEST, VALID = 64, 1000, 500
FLOWS: dict[str, dict[str, tuple[Recipe, float]]] = {
    "mnist": {
        "glow": (Glow(scales=2, layers=8, maps=96), 2e-3),
        "iresnet": (IResNet(scales=2, blocks=8, maps=64), 4e-3),
        "residual-flow": (ResidualFlow(scales=2, blocks=8, maps=64, dense=0), 4e-3),
        "mintnet": (MintNet(), 2e-3),
    },
    "cifar10": {
        "glow": (Glow(scales=2, layers=8, maps=80), 2e-3),
        "iresnet": (IResNet(scales=2, blocks=8, maps=48), 4e-3),
        "residual-flow": (ResidualFlow(scales=2, blocks=8, maps=48, dense=0), 4e-3),
        "mintnet": (MintNet(), 2e-3),
    },
}
"""The recipe, and its learning rate: the best of a few by hand for each."""


@dataclass
class Row:
    data: str
    flow: str
    parameters: int
    steps: int
    seconds: float
    bits: float
    two_se: float
    kind: str
    estimate_two_se: float
    bias_bound: float
    sample_seconds: float
    made: str


def run(data: str, name: str, images: ImageDataset, seconds: float) -> Row:
    recipe, rate = FLOWS[data][name]
    torch.manual_seed(0)
    flow = caudal.assemble(recipe, images.schema)
    steps = _steps_within(seconds, flow, images, rate)
    torch.manual_seed(0)
    flow = caudal.assemble(recipe, images.schema)
    start = time.process_time()
    _fit(flow, images, rate, steps)
    took = time.process_time() - start
    flow.eval()
    found = evaluate_images(flow, Rows(images.test.x[:TEST]), None, images.schema)
    start = time.process_time()
    flow.sample(64)
    return Row(
        data,
        name,
        sum(p.numel() for p in flow.parameters()),
        steps,
        took,
        found.bits_per_dim,
        found.two_se,
        found.kind,
        found.estimate_two_se or 0.0,
        found.bias_bound or 0.0,
        time.process_time() - start,
        describe()["commit"],
    )


def _steps_within(seconds: float, flow: caudal.Flow, images: ImageDataset, rate: float) -> int:
    marks = []
    for steps in (3, 13):
        start = time.process_time()
        _fit(flow, images, rate, steps)
        marks.append(time.process_time() - start)
    return max(20, math.floor(seconds * 10 / (marks[1] - marks[0])))


def _fit(flow: caudal.Flow, images: ImageDataset, rate: float, steps: int) -> None:
    training = caudal.Training(
        steps=steps,
        batch_size=BATCH,
        lr=rate,
        warmup=max(1, steps // 20),
        patience=0,
        validate_every=steps,
    )
    caudal.fit(flow, images.train, Rows(images.valid.x[:VALID]), training=training)


def report(rows: list[Row], facts: dict[str, str]) -> str:
    order = list(FLOWS)
    rows = sorted(rows, key=lambda r: (order.index(r.data), list(FLOWS[r.data]).index(r.flow)))
    cells = [
        [
            r.data,
            r.flow,
            f"{r.parameters:,}",
            f"{r.steps:,}",
            f"{r.seconds:.0f}",
            f"{r.bits:.3f} ± {r.two_se:.3f}",
            r.kind,
            f"{r.estimate_two_se:.4f}" if r.estimate_two_se else "",
            f"{r.bias_bound:.3f}" if r.bias_bound else "",
            f"{r.sample_seconds:.2f}",
            r.made,
        ]
        for r in rows
    ]
    header = [
        "data",
        "flow",
        "parameters",
        "steps",
        "CPU s",
        "test bits/dim",
        "what it is",
        "± of the estimate",
        "bias at most",
        "64 samples, s",
        "commit",
    ]
    text = [
        "# Image flows in the same time",
        "",
        f"Test bits/dim of {TEST:,} images, ± 2 s.e.; uniform dequantisation, logits, batches of "
        f"{BATCH}. Small models and little time: a check beside Glow, not the papers' figures.",
        "",
        *lines(facts),
        "",
        *table(header, cells),
    ]
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=FLOWS, nargs="*", default=list(FLOWS))
    parser.add_argument("--flow", nargs="*", default=list(FLOWS["mnist"]))
    parser.add_argument("--seconds", type=float, default=180.0)
    options = parser.parse_args()
    path = RESULTS / "budget.json"
    for data in options.data:
        source = str(DATA_DIR / data) if data == "mnist" else cifar(DATA_DIR)
        images = open_images(source, pixels="logit")
        for name in options.flow:
            new = run(data, name, images, options.seconds)
            print(new, flush=True)
            found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}
            rows = [Row(**row) for row in found["rows"]]
            rows = [r for r in rows if (r.data, r.flow) != (data, name)] + [new]
            facts = describe()
            write_json(path, {"made": facts, "rows": [asdict(r) for r in rows]})
            write(Path(path).with_suffix(".md"), report(rows, facts))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
