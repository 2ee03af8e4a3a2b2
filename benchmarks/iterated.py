"""What is iterated: residual flows beside normflows', and autoregressive sampling by sweeps.

    python benchmarks/iterated.py                   all parts
    python benchmarks/iterated.py --part peer       one of peer, pictures, sweeps; others stay

Seconds are those of the CPU, of one thread. The libraries take turns within each repetition, and
ratios are medians over repetitions, ours / normflows': below 1, ours is faster.
"""

import argparse
import copy
import functools
import json
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from caudal import calibrate, initialize
from caudal.bijections import Autoregressive, by_sweeps
from caudal.data import open_images
from caudal.data.builtin import SHAPES
from caudal.nets import Rerun
from caudal.recipes import MAF, NSFAR
from environment import RESULTS, ROOT, describe, lines, table, write, write_json
from images import lift
from residual import BUILD, Peer, exact_log_prob, forward, inverse, transplanted
from sampling import without_numba
from tables import DATA_DIR, Table, digits, power

BATCH, RATE = 256, 1e-3
SIZE = (16, 128)
"""Blocks, and units of each of the two hidden layers of a block."""
SHAPE = (8, 128)
"""The same, of pictures."""
LAYERS = {"maf": (5, 256), "nsf-ar": (2, 128)}
LONG = 10.0  # seconds: what takes longer is not repeated
PARTS = ("peer", "pictures", "sweeps")
Run = Callable[[], object]


# --- beside normflows ------------------------------------------------------------------------


def trained(
    data: Table, size: tuple[int, int], names: list[str], steps: int, rate: float = RATE
) -> tuple[dict, dict]:
    """Flows after equal steps on equal batches, taken in turns; seconds of the steps."""
    x, flows, steppers = data.train, {}, {}
    for name in names:
        torch.manual_seed(0)
        flow = flows[name] = BUILD[name](x.shape[1], size).train()
        flow.log_prob(x[:BATCH]) if isinstance(flow, Peer) else initialize(flow, x[:BATCH])
        steppers[name] = _stepper(flow, steps, rate)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        batch = x[torch.randint(len(x), (BATCH,), generator=generator)]
        for name in names:
            seconds[name].append(_timed(functools.partial(steppers[name], batch)))
    for flow in flows.values():
        flow.eval()
        if not isinstance(flow, Peer):
            calibrate(flow, x)
    return flows, seconds


def _stepper(flow: nn.Module, steps: int, rate: float = RATE) -> Callable[[Tensor], None]:
    optimiser = torch.optim.Adam(flow.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def step(x: Tensor) -> None:
        optimiser.zero_grad()
        (-flow.log_prob(x).mean()).backward()
        optimiser.step()
        if isinstance(flow, Peer):
            flow.iterate()
        schedule.step()

    return step


def _timed(run: Run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _in_turns(runs: dict[str, Run], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each repetition; what takes long is run once."""
    seconds = {name: [_timed(run)] for name, run in runs.items()}
    short = [name for name in runs if seconds[name][0] < LONG]
    for name in short:
        seconds[name] = []
    for _ in range(repetitions):
        for name in short:
            seconds[name].append(_timed(runs[name]))
    return seconds


def _cell(data: str, work: str, way: str, seconds: dict, first: str, note: str) -> dict[str, Any]:
    mine, theirs = seconds[first], seconds[way]
    ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=False))
    ms = 1e3 * statistics.median(theirs)
    return {"data": data, "work": work, "way": way, "ms": ms, "ratio": ratio, "note": note}


@torch.no_grad()
def peer(folder: Path, steps: int, repetitions: int) -> list[dict[str, Any]]:
    cells = []
    for name, data in {"moons, 2": shape("moons"), "digits, 64": digits(folder)}.items():
        ways = ["caudal", "normflows", "normflows, brute force"][: 3 if data.features == 2 else 2]
        with torch.enable_grad():
            flows, seconds = trained(data, SIZE, ways, steps)
        for way in ways:
            count = sum(p.numel() for p in flows[way].parameters())
            note = f"{count:,} parameters"
            cells.append(_cell(name, "training step", way, seconds, "caudal", note))
        ours = flows["caudal"]
        flows = {"caudal": ours, "normflows": transplanted(ours, data.features, SIZE)}
        x = data.test[:BATCH]
        with torch.enable_grad():
            truth = exact_log_prob(ours, x)
        if data.features > 2:
            precise = flows["normflows, exact trace"] = copy.deepcopy(flows["normflows"])
            for block in precise.blocks:
                block.exact_trace = True
        runs = {way: functools.partial(flow.log_prob, x) for way, flow in flows.items()}
        seconds = _in_turns(runs, repetitions)
        for way, run in runs.items():
            once, again = run(), run()
            error = (once - truth).square().mean().sqrt()
            note = f"{error:.1e} from slogdet, {(once - again).abs().max():.1e} between two calls"
            cells.append(_cell(name, "log_prob", way, seconds, "caudal", note))
        flows.pop("normflows, exact trace", None)
        tight = flows["normflows, tightened"] = copy.deepcopy(flows["normflows"])
        for block in tight.blocks:
            solver = block._inverse_fixed_point
            block._inverse_fixed_point = functools.partial(solver, atol=1e-11, rtol=1e-11)
        z = torch.randn(BATCH, data.features, generator=torch.Generator().manual_seed(2))
        runs = {way: functools.partial(forward, flow, z) for way, flow in flows.items()}
        seconds = _in_turns(runs, repetitions)
        for way, flow in flows.items():
            found = inverse(copy.deepcopy(flow).double(), runs[way]().double())
            note = f"equation off by {(found - z).abs().max():.1e}"
            cells.append(_cell(name, "samples", way, seconds, "caudal", note))
    return cells


# --- pictures --------------------------------------------------------------------------------


EDGE = 2.4
PICTURES = ("checkerboard", "pinwheel", "moons")


def shape(name: str, rows: int = 50_000) -> Table:
    """Points of a 2-D shape, standardised."""
    points = torch.from_numpy(SHAPES[name](np.random.default_rng(0), rows)).float()
    points = (points - points.mean(0)) / points.std(0)
    train, val, test = points.split([rows - rows // 5, rows // 10, rows // 10])
    return Table(train, val, test)


def pictures(steps: int, points: int, path: Path) -> list[dict[str, Any]]:
    """Heat maps of densities, a row for each shape; the points themselves first."""
    from caudal.report.style import DENSITY, bare, grid, house_style

    ways = {"caudal": "residual-flow", "caudal, iresnet": "iresnet", "normflows": "normflows"}
    side = torch.linspace(-4.5, 4.5, points)
    mesh, area = torch.cartesian_prod(side, side), float(side[1] - side[0]) ** 2
    found = []
    with house_style():
        figure, axes = grid(len(PICTURES) * (1 + len(ways)), 1 + len(ways), height=2.4)
        panels = iter(axes)
        for name in PICTURES:
            data = shape(name)
            flows, seconds = trained(data, SHAPE, list(ways), steps, rate=5e-3)
            panel, held_out = next(panels), data.test
            edges = np.linspace(-EDGE, EDGE, 81)
            panel.hist2d(*data.train.T.numpy(), edges, cmap=DENSITY)
            panel.set_title(f"{name}: points")
            for way in ways:
                with torch.no_grad():
                    score = torch.cat([flows[way].log_prob(p) for p in held_out.split(2048)])
                    density = torch.cat([flows[way].log_prob(p) for p in mesh.split(2048)]).exp()
                nats, integral = float(score.mean()), float(density.double().sum()) * area
                two_se = 2 * float(score.std()) / len(score) ** 0.5
                row = {"data": name, "way": way, "nats": nats, "two_se": two_se}
                found.append({**row, "integral": integral, "seconds": sum(seconds[way])})
                panel = next(panels)
                image = density.view(points, points).T.numpy()
                most = float(density.quantile(0.995))
                panel.imshow(image, DENSITY, origin="lower", extent=(-4.5, 4.5) * 2, vmax=most)
                panel.set_title(f"{ways[way]}: {nats:.3f} nats")
        for panel in axes:
            bare(panel)
            panel.set(aspect="equal", xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
    return found


# --- sweeps ----------------------------------------------------------------------------------


def tables_of(folder: Path) -> dict[str, Callable[[], Table]]:
    def mnist() -> Table:
        generator = torch.Generator().manual_seed(0)
        images = open_images(str(folder / "mnist")).train.x[:20_000]
        x = lift(images, "logit", generator)[0].flatten(1)
        return Table(x[:-2000], x[-2000:-1000], x[-1000:])

    return {"power": lambda: power(folder), "digits": lambda: digits(folder), "mnist": mnist}


def autoregressive(kind: str, data: Table, steps: int) -> nn.Module:
    layers, hidden = LAYERS[kind]
    maf = MAF(layers, (hidden, hidden), batch_norm=False)
    recipe = maf if kind == "maf" else NSFAR(layers, hidden=hidden)
    torch.manual_seed(0)
    flow = recipe.build((data.features,)).train()
    initialize(flow, data.train[:4096])
    step, generator = _stepper(flow, steps), torch.Generator().manual_seed(1)
    for _ in range(steps):
        step(data.train[torch.randint(len(data.train), (128,), generator=generator)])
    return flow.eval()


@torch.no_grad()
def sweeps(
    tables: dict[str, Callable[[], Table]], steps: int, repetitions: int
) -> list[dict[str, Any]]:
    """256 rows of trained flows by each way, and how far they are from the plain steps."""
    found = []
    for name, load in tables.items():
        data = load()
        for kind in LAYERS:
            # A step of 784 columns of 23 parameters takes half a second.
            few = steps // 3 if (name, kind) == ("mnist", "nsf-ar") else steps
            with torch.enable_grad():
                flow = autoregressive(kind, data, few)
            z = torch.randn(BATCH, data.features, generator=torch.Generator().manual_seed(2))
            again = copy.deepcopy(flow)
            layers = [part for part in again.modules() if isinstance(part, Autoregressive)]
            for layer in layers:
                layer.net = Rerun(layer.net)

            def sample(way: str, flow=flow, again=again, z=z) -> Tensor:  # noqa: ANN001
                chosen = again if way == "naive" else flow
                context = {"steps": without_numba, "sweeps": lambda: by_sweeps(flow)}
                with context.get(way, nullcontext)():
                    return chosen.bijection.forward(z)[0]

            runs = {
                way: functools.partial(sample, way)
                for way in ("compiled", "steps", "naive", "sweeps")
            }
            runs["compiled"]()  # which compiles
            seconds = _in_turns(runs, repetitions)
            counts = _count_sweeps(runs["sweeps"])
            truth = runs["steps"]()
            for way in runs:
                difference = float((runs[way]() - truth).abs().max()) if way != "naive" else None
                cell = _cell(f"{name}, {data.features}", kind, way, seconds, "steps", "")
                shown = ", ".join(map(str, counts)) if way == "sweeps" else ""
                found.append({**cell, "difference": difference, "sweeps": shown})
    return found


def _count_sweeps(run: Run) -> list[int]:
    """Of each layer, those till its last row had converged."""
    counts: dict[int, int] = {}
    sweep = Autoregressive._sweep

    def counted(self: Autoregressive, *given: Any) -> tuple[Tensor, Tensor]:
        counts[id(self)] = counts.get(id(self), 0) + 1
        return sweep(self, *given)

    Autoregressive._sweep = counted
    try:
        run()
    finally:
        Autoregressive._sweep = sweep
    return list(counts.values())


# --- the page --------------------------------------------------------------------------------


NOTES = {
    "peer": """16 blocks of hidden units (128, 128), LipSwish and coefficient 0.98, ActNorms
between, the same batches, in both. Each library's defaults for the rest: normflows estimates the
log-det in training, and where there are more than two columns in evaluation. A training step is
forward, backward, Adam and, of normflows, 5 power iterations. Then normflows is given the weights
that ours has come to, so that log_prob and samples are of one and the same function: the root mean
square error of log_prob, in nats, against autograd's slogdet in float64, and how far two calls are
apart; and how well the equation of samples, f(x) = z, is solved. *Tightened* is normflows'
iteration with tolerances of 1e-11, for it compares them with squares of steps; after 1000 steps it
stops and says nothing. *Exact trace* and *brute force* are options of it.""",
    "pictures": """8 blocks of hidden units (128, 128), equal steps and batches of 256, the same
learning rate. Seconds are those of training. The integral is over [-4.5, 4.5]^2. The picture:
`docs/images/residual-2d.png`.""",
    "sweeps": """256 rows of trained flows. *compiled* is what a user gets, with Numba where it
pays; *steps* is without it; *naive* runs the whole net at each position; *sweeps* is `by_sweeps`.
Sweeps are counted until the last row has converged, the one that finds that out included.""",
}
TITLES = {
    "peer": "Residual flows beside normflows: equal size, steps and batches",
    "pictures": "Densities in the plane",
    "sweeps": "Autoregressive sampling: sweeps beside steps",
}
Format = Callable[[dict[str, Any]], str]
COLUMNS: dict[str, dict[str, Format]] = {
    "peer": {
        "data": lambda c: c["data"],
        "work, 256 rows": lambda c: c["work"],
        "library": lambda c: c["way"],
        "ms": lambda c: f"{c['ms']:.1f}",
        "caudal / it": lambda c: (
            f"{c['ratio']:.2f}" if c["ratio"] <= 1 else f"**{c['ratio']:.2f}**"
        ),
        "accuracy": lambda c: c["note"],
    },
    "pictures": {
        "shape": lambda c: c["data"],
        "flow": lambda c: c["way"],
        "held-out nats": lambda c: f"{c['nats']:.4f} ± {c['two_se']:.4f}",
        "integral": lambda c: f"{c['integral']:.5f}",
        "seconds": lambda c: f"{c['seconds']:.0f}",
    },
    "sweeps": {
        "data": lambda c: c["data"],
        "flow": lambda c: c["work"],
        "way": lambda c: c["way"],
        "ms": lambda c: f"{c['ms']:.1f}",
        "steps / it": lambda c: f"{c['ratio']:.2f}",
        "max diff": lambda c: "" if c["difference"] is None else f"{c['difference']:.1e}",
        "sweeps of each layer": lambda c: c["sweeps"],
    },
}


def report(found: dict[str, Any]) -> str:
    text = ["# What is iterated", ""]
    for part in (part for part in PARTS if part in found):
        text += [f"## {TITLES[part]}", "", *lines(found[part]["facts"]), "", NOTES[part], ""]
        columns = COLUMNS[part]
        rows = [[show(cell) for show in columns.values()] for cell in found[part]["cells"]]
        text += [*table(list(columns), rows), ""]
    return "\n".join(text).rstrip() + "\n"


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--steps", type=int, default=300, help="of training, peer and sweeps")
    parser.add_argument("--picture-steps", type=int, default=800)
    parser.add_argument("--points", type=int, default=450, help="of a side of the pictures")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/images/residual-2d.png")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path, steps, repetitions = options.out / "iterated.json", options.steps, options.repetitions
    found = json.loads(path.read_text()) if path.exists() else {}
    work = {
        "peer": lambda: peer(options.data_dir, steps, repetitions),
        "pictures": lambda: pictures(options.picture_steps, options.points, options.picture),
        "sweeps": lambda: sweeps(tables_of(options.data_dir), steps, repetitions),
    }
    for part in options.part or PARTS:
        cells = work[part]()
        found[part] = {"facts": describe(), "cells": cells}
        write_json(path, found)
        write(path.with_suffix(".md"), report(found))
    print(report(found))


if __name__ == "__main__":
    main()
