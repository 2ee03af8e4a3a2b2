"""Recipes as graphs of ONNX: how far ONNX Runtime's numbers are from PyTorch's, and the cost.

    python benchmarks/exports.py             # what the page does not have yet
    python benchmarks/exports.py maf-mog     # one of them again

Flows are small, and their last layers, which begin at zero, have random weights. `Model.export`
compares both for other rows than those it traced. It needs `pip install 'caudal[onnx]'`.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import caudal
from caudal.model import Model
from caudal.recipes import Recipe
from environment import RESULTS, made
from pages import Facts, Results, text

VECTOR, IMAGE, CLIP = (4,), (3, 4, 4), (1, -1)
CASES: dict[str, tuple[Recipe, tuple[int, ...]]] = {
    "nice": (caudal.recipes.NICE(hidden=(16, 16)), VECTOR),
    "realnvp": (caudal.recipes.RealNVP(layers=2, hidden=(16,)), VECTOR),
    "nsf": (caudal.recipes.NSF(layers=2, hidden=16, blocks=1), VECTOR),
    "nsf, map sinh": (caudal.recipes.NSF(layers=2, hidden=16, blocks=1, map="sinh"), VECTOR),
    "ncsf": (caudal.recipes.NCSF(layers=2, hidden=16, blocks=1), VECTOR),
    "made": (caudal.recipes.MADE(hidden=(16, 16)), VECTOR),
    "maf": (caudal.recipes.MAF(layers=2, hidden=(16,)), VECTOR),
    "maf-mog": (caudal.recipes.MAFMoG(layers=2, hidden=(16,), components=3), VECTOR),
    "nsf-ar": (caudal.recipes.NSFAR(layers=2, hidden=16, blocks=1), VECTOR),
    "iaf": (caudal.recipes.IAF(layers=2, hidden=(16,)), VECTOR),
    "nsf-iaf": (caudal.recipes.NSFIAF(layers=2, hidden=16, blocks=1), VECTOR),
    "tarflow": (caudal.recipes.TarFlow(layers=2, depth=1, width=8, heads=2), VECTOR),
    "tarflow-iaf": (caudal.recipes.TarFlowIAF(layers=2, depth=1, width=8, heads=2), VECTOR),
    "iresnet": (caudal.recipes.IResNet(blocks=2, hidden=(8, 8)), VECTOR),
    "residual-flow": (caudal.recipes.ResidualFlow(blocks=2, hidden=(8,)), VECTOR),
    "mintnet": (caudal.recipes.MintNet(layers=1, latents=4), VECTOR),
    "realnvp, images": (caudal.recipes.RealNVP(maps=4, blocks=1), IMAGE),
    "glow, images": (caudal.recipes.Glow(layers=1, maps=4), IMAGE),
    "nsf-image, images": (caudal.recipes.NSFImage(layers=1, maps=4, blocks=1), IMAGE),
    "tarflow, images": (
        caudal.recipes.TarFlow(layers=1, depth=1, width=8, heads=2, patch=2),
        IMAGE,
    ),
    "mintnet, images": (caudal.recipes.MintNet(layers=1, latents=4), IMAGE),
    "iresnet, images": (caudal.recipes.IResNet(blocks=1, maps=4), IMAGE),
    "wavenet, sound": (caudal.recipes.WaveNet(layers=2, channels=4), CLIP),
}


@dataclass(frozen=True)
class Row:
    recipe: str
    event: tuple[int, ...]
    samples: str
    difference: float | None
    kilobytes: tuple[int, ...]
    seconds: float
    refused: str
    commit: str


def measure(name: str) -> Row:
    recipe, event = CASES[name]
    torch.manual_seed(0)
    flow = recipe.build(event).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    start, refused, told = time.process_time(), "", None
    with tempfile.TemporaryDirectory() as folder:
        try:
            told = Model(flow).export(Path(folder) / "model.onnx")
        except (caudal.InputError, caudal.NumericalError) as error:
            refused = str(error)
        sizes = tuple(file.stat().st_size // 1000 for file in sorted(Path(folder).iterdir()))
    return Row(
        name,
        event,
        recipe.samples,
        None if told is None else told.difference,
        sizes,
        round(time.process_time() - start, 1),
        refused,
        made()["commit"],
    )


def page(rows: list[Row], facts: Facts) -> str:
    words = [
        "Recipes as `caudal export` writes them: the density, and samples given noise. The "
        "difference is the largest one between ONNX Runtime and PyTorch over both graphs and 7 "
        "rows, divided by 1 + the number's size, of small flows with random weights; above 0.001 "
        "nothing would be written. kB is the size of the samples, where there are some, and of "
        "the density; seconds are those of one core for both.",
        "Flows that sample by iteration have a density alone. Samples that are drawn position by "
        "position, and densities that are, hold one pass of the net in a loop of the graph, with "
        "the bisection of maf-mog as a loop within it: written out pass after pass, its samples "
        "had taken over 500 s. Made by `python benchmarks/exports.py`.",
        "The inverses of matrices that glow's samples take are Newton's iterations. Recipes that "
        "are not in the table, parallel-wavenet among them, were not run.",
    ]
    header = ["recipe", "event", "samples", "difference", "kB", "seconds", "refused", "commit"]
    table = [
        [
            row.recipe,
            " × ".join("any" if n < 0 else str(n) for n in row.event),
            row.samples,
            "" if row.difference is None else f"{row.difference:.1e}",
            ", ".join(map(str, row.kilobytes)),
            f"{row.seconds:.0f}",
            row.refused.split(". ")[0],
            row.commit,
        ]
        for row in rows
    ]
    return text("Recipes as ONNX graphs", words, facts, ("", header, table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    asked = parser.parse_args().recipes
    torch.set_num_threads(1)
    order = list(CASES).index
    libraries = ("torch", "onnx", "onnxruntime", "onnxscript")
    results = Results(
        RESULTS / "exports.json",
        Row,
        lambda row: row.recipe,
        lambda row: order(row.recipe),
        libraries,
    )
    known = {row.recipe for row in results.read()}
    for name in asked or [name for name in CASES if name not in known]:
        results.add(measure(name), page)


if __name__ == "__main__":
    main()
