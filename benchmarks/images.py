"""Glow beside normflows, of equal size, on equal steps: speed in one run, bits/dim on real images.

    python benchmarks/images.py                     speed and quality
    python benchmarks/images.py --part speed        one of the two; the other stays as it was
    python benchmarks/images.py --library caudal    quality of one library; the other stays
    python benchmarks/images.py --run RUN ...       adds the curves of finished runs

In each repetition both libraries run once, in turn; a ratio is the median over the repetitions of
ours / normflows'. Quality: the same images in the same order, the same noise, learning rate and
schedule; both get pixels as v / 256 - 1/2, or as logits, by the same code outside of them.
"""

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from caudal import initialize
from caudal.bijections import Logit
from caudal.data import open_images
from caudal.recipes import Glow
from caudal.recipes.presets import PRESETS
from environment import RESULTS, describe, lines, table, write, write_json
from tables import DATA_DIR

BATCH = 64
RATE = 1e-3
TEST = 2000
SIZES = {
    "mnist": [(2, 4, 64), (2, 8, 128)],
    "cifar10": [(2, 4, 64), (3, 8, 128)],
}
"""Scales, steps a scale, maps of the nets."""
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
QUALITY = {"mnist": (2, 4, 64), "cifar10": (3, 4, 64)}
WORK = ("train", "log_prob", "sample")


def ours(
    shape: tuple[int, int, int], size: tuple[int, int, int], coupling: str = "affine"
) -> nn.Module:
    scales, layers, maps = size
    return Glow(scales=scales, layers=layers, maps=maps, coupling=coupling).build(shape)


class Peer(nn.Module):
    """Normflows' Glow: affine, sigmoid scales, LU convolutions, trainable priors of its levels."""

    def __init__(self, shape: tuple[int, int, int], size: tuple[int, int, int]) -> None:
        import normflows

        super().__init__()
        scales, layers, maps = size
        flows, merges = [], [normflows.flows.Merge() for _ in range(scales - 1)]
        for level in range(scales):
            wide = shape[0] * 2 ** (scales + 1 - level)
            blocks = [
                normflows.flows.GlowBlock(wide, maps, split_mode="channel") for _ in range(layers)
            ]
            flows.append([*blocks, normflows.flows.Squeeze()])
        priors = [normflows.distributions.GlowBase(left) for left in _left(shape, scales)]
        self.flow = normflows.MultiscaleFlow(priors, flows, merges, class_cond=False)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x, None)

    def sample(self, n: int) -> Tensor:
        return self.flow.sample(n)[0]


def _left(shape: tuple[int, int, int], scales: int) -> list[tuple[int, int, int]]:
    """The shapes of what each level leaves to its prior, from the deepest up."""
    channels, height, width = shape
    found = [(channels * 2 ** (scales + 1), height // 2**scales, width // 2**scales)]
    for level in range(1, scales):
        unit = 2 ** (scales - level)
        found.append((channels * unit, height // unit, width // unit))
    return found


BUILD: dict[str, Callable[..., nn.Module]] = {"caudal": ours, "normflows": Peer}
WAYS = {"caudal": ours, "caudal, gated": partial(ours, coupling="gated"), "normflows": Peer}
"""Of the quality: normflows' couplings are gated."""


def parameters(flow: nn.Module) -> int:
    return sum(p.numel() for p in flow.parameters())


# --- speed -----------------------------------------------------------------------------------


@dataclass
class Cell:
    """Seconds of each repetition, by library."""

    data: str
    size: tuple[int, int, int]
    work: str
    parameters: dict[str, int]
    seconds: dict[str, list[float]]

    @property
    def ratio(self) -> float:
        """Ours / normflows': below 1, ours is faster."""
        pairs = zip(self.seconds["caudal"], self.seconds["normflows"], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def row(self) -> list[str]:
        name = "L={} K={} {} maps".format(*self.size)
        medians = [f"{1e3 * statistics.median(self.seconds[k]):.1f}" for k in BUILD]
        sizes = " / ".join(f"{self.parameters[k]:,}" for k in BUILD)
        ratio = f"{self.ratio:.2f}"
        bold = ratio if self.ratio < 1 else f"**{ratio}**"
        return [f"{self.data} {name}", self.work, *medians, bold, sizes]


def speed(repetitions: int) -> Iterator[Cell]:
    for data, sizes in SIZES.items():
        for size in sizes:
            flows = {k: build(SHAPES[data], size) for k, build in BUILD.items()}
            x = torch.rand(BATCH, *SHAPES[data]) - 0.5
            initialize(flows["caudal"], x)
            flows["normflows"].log_prob(x)  # its own initialisation, in its first pass
            counts = {k: parameters(flow) for k, flow in flows.items()}
            for work in WORK:
                runs = {k: _work(work, flow, x) for k, flow in flows.items()}
                seconds = _interleaved(runs, repetitions)
                yield Cell(data, size, work, counts, seconds)


def _work(work: str, flow: nn.Module, x: Tensor) -> Callable[[], object]:
    if work == "log_prob":
        return torch.no_grad()(lambda: flow.eval().log_prob(x))
    if work == "sample":
        return torch.no_grad()(lambda: flow.eval().sample(len(x)))
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        (-flow.train().log_prob(x).mean()).backward()
        optimiser.step()

    return step


def _interleaved(runs: dict[str, Callable[[], object]], n: int) -> dict[str, list[float]]:
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(n):
        names = list(runs) if repetition % 2 else list(runs)[::-1]
        for name in names:
            start = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


# --- quality ---------------------------------------------------------------------------------


@dataclass
class Score:
    """Test bits/dim of one flow after its steps."""

    data: str
    pixels: str
    library: str
    steps: int
    parameters: int
    bits: float
    two_se: float
    seconds: float


def quality(folder: Path, steps: int, libraries: list[str], seed: int = 0) -> Iterator[Score]:
    for data, size in QUALITY.items():
        images = open_images(str(folder / data) if data == "mnist" else cifar(folder))
        train, test = images.train.x, images.test.x[:TEST]
        for pixels in ("centred", "logit"):
            for library in libraries:
                torch.manual_seed(seed)
                flow = WAYS[library](SHAPES[data], size)
                yield _trained(flow, library, data, pixels, train, test, steps)


def _trained(
    flow: nn.Module,
    library: str,
    data: str,
    pixels: str,
    train: Tensor,
    test: Tensor,
    steps: int,
) -> Score:
    generator = torch.Generator().manual_seed(1)
    first, _ = lift(train[:256], pixels, generator)
    if library == "normflows":
        flow.log_prob(first)  # its own initialisation, in its first pass
    else:
        initialize(flow, first)
    optimiser = torch.optim.Adam(flow.parameters(), lr=RATE, fused=True)
    start = time.perf_counter()
    for step in range(steps):
        rows = torch.randint(len(train), (BATCH,), generator=generator)
        x, log_det = lift(train[rows], pixels, generator)
        warm = min(1.0, (step + 1) / 100)
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad()
        (-(flow.train().log_prob(x) + log_det).mean()).backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 50.0)
        optimiser.step()
    took = time.perf_counter() - start
    bits = _bits(flow.eval(), test, pixels)
    mean, error = float(bits.mean()), 2 * float(bits.std()) / len(bits) ** 0.5
    return Score(data, pixels, library, steps, parameters(flow), mean, error, took)


def lift(images: Tensor, pixels: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Dequantised pixels as a flow takes them, and the log-det from values in [0, 256]."""
    x = images.float()
    x = ((x + torch.rand(x.shape, generator=generator)) / 256).clamp(max=1 - 2**-17)
    constant = -math.log(256) * x[0].numel()
    if pixels == "centred":
        return x - 0.5, x.new_full((len(x),), constant)
    y, log_det = Logit(0.05).inverse(x)
    return y, log_det + constant


@torch.no_grad()
def _bits(flow: nn.Module, test: Tensor, pixels: str) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    found = []
    for images in test.split(200):
        x, log_det = lift(images, pixels, generator)
        found.append(-(flow.log_prob(x) + log_det).double() / (x[0].numel() * math.log(2)))
    return torch.cat(found)


def cifar(folder: Path) -> str:
    """CIFAR-10 as one file of images and one of tests, unpacked beside the checkout if need be."""
    import subprocess
    import sys
    import tempfile

    out = Path(tempfile.gettempdir()) / "caudal-cifar10"
    if not (out / "train.npz").exists():
        script = folder / "cifar10" / "unpack_cifar10.py"
        subprocess.run([sys.executable, script, out], check=True, cwd=script.parent)
    return str(out / "train.npz")


# --- the page --------------------------------------------------------------------------------


def curve(run: Path) -> dict[str, Any]:
    """What a finished run says of itself."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = [r for r in records if "valid" in r]
    return {
        "name": run.name,
        "evaluation": json.loads((run / "eval.json").read_text()),
        "points": [[p["step"], p["seconds"], p["valid"]] for p in points],
    }


def _curve_lines(found: dict[str, Any]) -> list[str]:
    e = found["evaluation"]
    per = e["elements"] * math.log(2)
    points = found["points"]
    places = {round(i * (len(points) - 1) / 7) for i in range(8)}
    chosen = [points[place] for place in sorted(places)]
    rows = [[f"{step:,}", f"{s / 60:.1f}", f"{valid / per:.4f}"] for step, s, valid in chosen]
    return [
        f"### {found['name']}",
        "",
        f"Test: {e['bits_per_dim']:.4f} ± {e['two_se']:.4f} bits/dim ({e['kind']}) over "
        f"{e['rows']:,} images; one Gaussian {e['gaussian_bits_per_dim']:.4f}. Its command is on "
        f"the page of its recipe, in `docs/papers`.",
        "",
        *table(["step", "minutes", "validation bits/dim"], rows),
        "",
    ]


def report(found: dict[str, Any]) -> str:
    speeds = [Cell(**cell) for cell in found.get("speed", {}).get("cells", [])]
    scores = [Score(**score) for score in found.get("quality", {}).get("scores", [])]
    text = ["# Image flows", ""]
    text += ["## Paper sizes", "", *_paper_sizes(), ""]
    if speeds:
        text += ["## Speed beside normflows: equal Glow", "", *lines(found["speed"]["facts"]), ""]
        head = ["model", "work, 64 images", "caudal ms", "normflows ms", "ratio", "parameters"]
        text += [*table(head, [cell.row() for cell in speeds]), ""]
    if scores:
        facts = found["quality"]["facts"]
        text += ["## bits/dim beside normflows: equal steps and batches", "", *lines(facts), ""]
        head = ["data", "pixels", "library", "steps", "parameters", "test bits/dim", "seconds"]
        rows = [
            [
                s.data,
                s.pixels,
                s.library,
                f"{s.steps:,}",
                f"{s.parameters:,}",
                f"{s.bits:.4f} ± {s.two_se:.4f}",
                f"{s.seconds:.0f}",
            ]
            for s in scores
        ]
        text += [*table(head, rows), ""]
    if found.get("runs"):
        text += ["## Runs on a CPU", ""]
        for run in found["runs"]:
            text += _curve_lines(run)
    return "\n".join(text).rstrip() + "\n"


def _paper_sizes() -> list[str]:
    rows = [
        [f"{recipe} {name}", preset.size, f"{preset.parameters:,}", f"{preset.bits_per_dim:.2f}"]
        for recipe, presets in PRESETS.items()
        for name, preset in presets.items()
        if preset.bits_per_dim is not None
    ]
    head = ["preset", "images", "parameters here", "bits/dim the paper reports"]
    return table(head, rows)


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("speed", "quality", "runs"), action="append")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--library", choices=WAYS, action="append", help="the others stay")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = options.out / "images.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    parts = options.part or ["speed", "quality"]
    if "speed" in parts:
        cells = [asdict(cell) for cell in speed(options.repetitions)]
        found["speed"] = {"facts": describe(), "cells": cells}
    if "quality" in parts:
        libraries = options.library or list(WAYS)
        old = found.get("quality", {}).get("scores", [])
        scores = [score for score in old if score["library"] not in libraries]
        for score in quality(options.data_dir, options.steps, libraries):
            print(score, flush=True)
            scores.append(asdict(score))
        scores.sort(key=lambda s: (s["data"], s["pixels"], s["library"]))
        found["quality"] = {"facts": describe(), "scores": scores}
    if options.run:
        found["runs"] = [curve(run) for run in options.run]
    write_json(path, found)
    write(options.out / "images.md", report(found))
    print(report(found))


if __name__ == "__main__":
    main()
