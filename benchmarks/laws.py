"""What a sample is given those before it: three output laws of WaveNet, on speech, in equal steps.

    OMP_NUM_THREADS=1 python benchmarks/laws.py

Same net, same batches, same clips of spoken digits; bits a sample of its own test clips.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import torch

import caudal
from caudal import Training
from caudal.data import Dataset
from caudal.data.audio import open_audio
from caudal.losses import nll_per_element
from caudal.recipes import WaveNet
from caudal.report import Autoregression, evaluate
from environment import RESULTS, describe, lines, table, write, write_json
from tables import DATA_DIR

LAWS = ("gaussian", "logistics", "softmax")
NET = {"layers": 12, "cycle": 6, "channels": 48, "hop": 64}
Cell = dict[str, Any]


def digits(folder: Path) -> Dataset:
    how = {"hop": NET["hop"], "window": 256, "seconds": 0.25, "test": "*_[0-4].*"}
    return open_audio(folder, prediction=0, **how)  # which one of the laws could not have


def taught(law: str, data: Dataset, steps: int, limit: int | None = None) -> Cell:
    """A teacher after so many steps, and what its test clips take."""
    torch.manual_seed(0)
    flow = caudal.assemble(WaveNet(law=law, **NET), data.schema)
    training = Training(
        steps=steps,
        batch_size=16,
        lr=2e-3,
        warmup=max(1, min(100, steps // 4)),
        validate_every=steps,
        patience=0,
        ema=0.99,
    )
    start = time.process_time()
    fitted = caudal.fit(flow, data.train, data.valid, training=training, loss=nll_per_element)
    seconds = time.process_time() - start
    baseline = Autoregression.fit(None, data.train, data.schema)
    found = evaluate(
        fitted.flow,
        data.test,
        baseline,
        data.schema,
        limit=limit,
    )
    parameters = sum(p.numel() for p in flow.parameters())
    return {"law": law, "seconds": seconds, "parameters": parameters, **found.to_dict()}


def report(facts: dict[str, str], cells: list[Cell], steps: int) -> str:
    header = ["law", "parameters", "bits/sample", "discretised", "below AR(32)", "CPU s"]
    rows = [
        [
            cell["law"],
            f"{cell['parameters']:,}",
            f"{cell['bits_per_sample']:.3f} ± {cell['two_se']:.3f}",
            f"{cell['discretized_bits_per_sample']:.3f} ± {cell['discretized_two_se']:.3f}",
            f"{cell['gain']:.3f} ± {cell['gain_two_se']:.3f}",
            f"{cell['seconds']:.0f}",
        ]
        for cell in cells
    ]
    first = cells[0]
    return "\n".join(
        [
            "# Output laws of WaveNet",
            "",
            *lines(facts),
            "",
            f"Spoken digits at 8 kHz, given 64 mels every {NET['hop']} samples; {NET['layers']} "
            f"layers of {NET['channels']} channels, {steps} steps",
            "of 16 crops of a quarter of a second, one seed. Bits of 16-bit samples of "
            f"{first['rows']} test clips, ± two standard",
            "errors over clips: a bound by uniform noise, and the noise-free mass of each step. "
            "A Gaussian autoregression of order",
            f"32 takes {first['gaussian_bits_per_sample']:.3f}, a uniform model 16. The "
            "softmax has 256 bins of the mu-law, flat within each.",
            "",
            *table(header, rows),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    folder = DATA_DIR / "fsdd"
    if not folder.exists():
        raise SystemExit(f"{folder} is not there: put the Free Spoken Digit Dataset there")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    data = digits(folder)
    cells = [taught(law, data, options.steps) for law in LAWS]
    facts = describe()
    write_json(RESULTS / "laws.json", {"facts": facts, "cells": cells})
    write(RESULTS / "laws.md", report(facts, cells, options.steps))
    print(report(facts, cells, options.steps))


if __name__ == "__main__":
    main()
