"""The page of transformer.py, and its picture: scores against seconds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caudal.report.style import DATA, QUIET, house_style
from caudal.report.style import SAMPLES as ORANGE
from environment import RESULTS, describe, made, write, write_json
from pages import text

PATH = RESULTS / "transformer.json"
PICTURES = RESULTS.parents[1] / "docs" / "images"
PICTURE, SAMPLES = PICTURES / "transformer.png", PICTURES / "denoised.png"
HALVES = PICTURES / "completed.png"
SHOWN = 16
Row = dict[str, Any]
PANELS = {"digits": "8x8 digits", "mnist": "MNIST", "cifar10": "CIFAR-10"}
COLOURS = {"tarflow": ORANGE, "glow": DATA, "mintnet": QUIET}
KEYS = ("part", "data", "flow", "budget", "tokens", "rows", "noise", "steps", "way", "optimizer")


def add(new: Row) -> None:
    """Puts a row in its place, and writes the page of all of them."""
    facts = describe(("torch",))
    new |= made()
    print(new, flush=True)
    rows = json.loads(PATH.read_text("utf-8"))["rows"] if PATH.exists() else []
    rows = [row for row in rows if key_of(row) != key_of(new)] + [new]
    write_json(PATH, {"made": facts, "rows": rows})
    write(PATH.with_suffix(".md"), page(rows, facts))


def key_of(row: Row) -> list[Any]:
    """What a row is of; where seconds were asked for, the steps are a result."""
    return [row.get(name) for name in KEYS if not (name == "steps" and "budget" in row)]


def draw_scores(path: Path) -> None:
    """A panel for each data set of images with scores after different times."""
    import matplotlib.pyplot as plt

    rows = [row for row in json.loads(PATH.read_text("utf-8"))["rows"] if row["part"] == "scores"]
    rows = list({(r["data"], r["flow"], r["budget"]): r for r in rows}.values())
    names = [data for data in PANELS if len({r["budget"] for r in rows if r["data"] == data}) > 1]
    with house_style():
        figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3.0), squeeze=False)
        for axis, data in zip(axes[0], names, strict=True):
            _panel(axis, [row for row in rows if row["data"] == data], PANELS[data])
        figure.tight_layout()
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def draw_rows(path: Path, drawn: Sequence[np.ndarray]) -> None:
    """The first samples (N, 1, H, W) of each way, in a row each, twice their size."""
    draw_groups(path, [drawn])


def draw_groups(path: Path, groups: Sequence[Sequence[np.ndarray]]) -> None:
    """Ways in groups, with a white line between these."""
    sheets = [
        np.concatenate([np.concatenate([*x[:SHOWN, 0].astype(np.uint8)], 1) for x in drawn])
        for drawn in groups
    ]
    line = np.full((4, sheets[0].shape[1]), 255, np.uint8)
    parts = [part for sheet in sheets for part in (line, sheet)][1:]
    Image.fromarray(np.concatenate(parts).repeat(2, 0).repeat(2, 1)).save(path, optimize=True)


def _panel(axis: Any, rows: Sequence[Row], title: str) -> None:
    for flow, colour in COLOURS.items():
        names = {flow, f"{flow}, medium", f"{flow}, large"}  # sizes go with the seconds
        mine = sorted((row for row in rows if row["flow"] in names), key=lambda r: -r["score"])
        best = {row["budget"]: row for row in mine}  # the last of each, which has the fewest bits
        mine = sorted(best.values(), key=lambda row: row["seconds"])
        if not mine:
            continue
        x, y, bars = zip(*((r["seconds"], r["score"], r["two_se"]) for r in mine), strict=True)
        axis.errorbar(x, y, bars, marker="o", ms=3.5, lw=1.6, color=colour, label=flow)
    axis.set(xscale="log", title=title, xlabel="CPU seconds of one thread", ylabel="bits/dim")
    ticks = sorted({row["budget"] for row in rows})
    axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axis.minorticks_off()
    axis.legend()


def page(rows: list[Row], facts: dict[str, str]) -> str:
    def cells(part: str, *columns: Callable[[Row], str]) -> list[list[str]]:
        return [[column(row) for column in columns] for row in rows if row["part"] == part]

    def of(name: str, form: str = "", scale: float = 1.0) -> Callable[[Row], str]:
        def column(row: Row) -> str:
            value = row.get(name)
            if value is None:
                return ""
            return format(scale * value if form else value, form)

        return column

    return text(
        "Transformer flows",
        [
            "The recipe `tarflow` beside others, in minutes of one core. Scores "
            "of images are bits/dim of test images (of MNIST and CIFAR-10 of 400), less is "
            "better; of tables nats a test row, more is better. ± is 2 s.e. One seed.",
            "Sampling is of the default sizes with affine maps, in patches of 2x2, with weights "
            "away from the start; a pass is that of `log_prob`.",
            "Segments are processor times of the autoregressive layers alone: of a pass, of "
            "cached steps, of sweeps until nothing moves, of sweeps until no number moves by more "
            "than 0.001, and of such sweeps in segments of the tokens one after the other, with "
            "the keys and values of those before kept (arXiv:2505.12849). The row of commit "
            "979e536 was made by a script that is not kept, which called what the command calls.",
            "Memory is what the graph of the loss keeps of an image.",
            "Noise is Gaussian, of so many steps of 256 values, on the images of MNIST that are "
            "learned; without it pixels are logits. Scores are of images without noise. The "
            "kernel distance (squared) of 1,000 samples is from the test images, in features of a "
            "small classifier trained on 10,000 training images, and nearest is the median "
            "distance to one of these, in steps of a pixel.",
            "Orders: `flips` turns the order of the tokens after each layer, `any` has learned "
            "all; the score is in the order of the data, then the mean of those in 7 others, and "
            "that of the mean density of all 8. Of at most 2,000 test items. Tables begin at "
            "their copula.",
            "Given: 3 of 6 columns, others in each row, of 200 test rows, drawn 32 times given "
            "the rest; errors of the mean are in deviations of the column.",
            "Steps of scores and noise are planned from a few of them, and other work on the "
            "machine shifts both the plan and the seconds: look at the column of those that were "
            "taken. Each row was made at its commit by the command of its section, with what "
            "stands in its columns.",
        ],
        {name: fact for name, fact in facts.items() if name in ("threads", "libraries")},
        (
            _section("Scores", "scores --data DATA --flow FLOW --seconds SECONDS"),
            [
                "data",
                "flow",
                "optimizer",
                "planned s",
                "CPU s",
                "parameters",
                "steps",
                "score",
                "commit",
                "machine",
            ],
            cells(
                "scores",
                of("data"),
                of("flow"),
                of("optimizer"),
                of("budget", ".0f"),
                of("seconds", ".0f"),
                of("parameters", ",.0f"),
                of("steps", ",.0f"),
                lambda row: f"{row['score']:.3f} ± {row['two_se']:.3f}",
                of("commit"),
                of("machine"),
            ),
        ),
        (
            _section("Sampling", "sampling --rows IMAGES"),
            [
                "tokens",
                "images",
                "pass, ms",
                "steps",
                "sweeps",
                "naive",
                "steps / pass",
                "commit",
                "machine",
            ],
            cells(
                "sampling",
                of("tokens"),
                of("rows"),
                *(of(name, ".1f", 1e3) for name in ("pass", "steps", "sweeps", "naive")),
                lambda row: f"{row['steps'] / row['pass']:.1f}",
                of("commit"),
                of("machine"),
            ),
        ),
        (
            _section("Segments", "segments"),
            [
                *["trained on", "tokens", "images", "pass, ms", "steps", "sweeps", "to 0.001"],
                *["in 2 segments", "4", "8", "the best for each layer"],
                *["sweeps of each layer", "commit", "machine"],
            ],
            cells(
                "segments",
                lambda row: (
                    f"{row['data']}, {row['budget']:.0f} s" if "data" in row else "nothing"
                ),
                of("tokens"),
                of("rows"),
                *(of(name, ".1f") for name in ("pass", "steps", "sweeps")),
                *(lambda row, k=k: f"{row['segments'][k]:.1f}" for k in range(4)),
                of("chosen", ".1f"),
                lambda row: ", ".join(f"{n:.0f}" for n in row["swept"]),
                of("commit"),
                of("machine"),
            ),
        ),
        (
            _section("Memory", "memory"),
            [
                "preset",
                "parameters",
                "MB of an image",
                "`--recompute`",
                "bf16",
                "commit",
                "machine",
            ],
            cells(
                "memory",
                of("data"),
                of("parameters", ",.0f"),
                *(of(name, ".1f") for name in ("plain", "recompute", "bf16")),
                of("commit"),
                of("machine"),
            ),
        ),
        (
            _section("Noise", "noise --std STD --seconds SECONDS"),
            [
                *["noise", "planned s", "CPU s", "steps", "bits/dim", "kernel distance"],
                *["nearest", "denoised: kernel distance", "nearest", "commit", "machine"],
            ],
            cells(
                "noise",
                of("noise", "g"),
                of("budget", ".0f"),
                of("seconds", ".0f"),
                of("steps", ",.0f"),
                lambda row: f"{row['score']:.3f} ± {row['two_se']:.3f}",
                of("kernel", ".1f"),
                of("kernel_nearest", ".0f"),
                of("denoised", ".1f"),
                of("denoised_nearest", ".0f"),
                of("commit"),
                of("machine"),
            ),
        ),
        (
            _section("Orders", "orders --data DATA --steps STEPS"),
            [
                *["data", "order", "parameters", "steps", "CPU s", "score", "in other orders"],
                *["mean density of 8", "commit", "machine"],
            ],
            cells(
                "orders",
                of("data"),
                of("flow"),
                of("parameters", ",.0f"),
                of("steps", ",.0f"),
                of("seconds", ".0f"),
                lambda row: f"{row['score']:.3f} ± {row['two_se']:.3f}",
                of("others", ".3f"),
                of("mixed", ".3f"),
                of("commit"),
                of("machine"),
            ),
        ),
        (
            _section("Given", "orders --data DATA --steps STEPS"),
            [
                *[
                    "data",
                    "order",
                    "draws",
                    "steps",
                    "training, CPU s",
                    "ms a draw",
                    "effective size",
                ],
                *["error of the mean", "CRPS", "commit", "machine"],
            ],
            cells(
                "given",
                of("data"),
                of("flow"),
                of("way"),
                of("steps", ",.0f"),
                of("seconds", ".0f"),
                of("draw", ".2f", 1e3),
                lambda row: "exact" if row["ess"] is None else f"{row['ess']:.0%}",
                of("rmse", ".3f"),
                of("crps", ".3f"),
                of("commit"),
                of("machine"),
            ),
        ),
    )


def _section(title: str, options: str) -> str:
    return f"{title}\n\n`python benchmarks/transformer.py {options}`"
