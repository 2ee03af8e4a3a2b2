"""What streaming costs, what memory a step takes, and what a second process costs.

    taskset -c 0 python benchmarks/scale.py

Times are processor time, of all processes together, so that neighbours on the machine do not
matter. The second process runs on the same machine and talks over gloo; no GPU is used.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.autograd.graph import saved_tensors_hooks

from caudal.data import ParquetRows, open_data
from caudal.data.source import Batch
from caudal.flow import Flow
from caudal.losses import nll
from caudal.numerics import own_randomness, recomputing
from caudal.recipes import NSF, PRESETS, Glow, Recipe, find_recipe
from caudal.training import fit as fit_module
from caudal.training.engine import Engine
from caudal.training.options import Strategy, Training
from caudal.training.shares import local
from environment import RESULTS, describe, lines, table, write

COLUMNS, SHARDS = 8, 8


def rows_file(folder: Path, rows: int) -> None:
    """One table, in a file and in shards."""
    values = np.random.default_rng(0).normal(size=(rows, COLUMNS)).astype(np.float32)
    whole = pa.table({f"x{i}": values[:, i] for i in range(COLUMNS)})
    pq.write_table(whole, folder / "whole.parquet", row_group_size=rows // 32)
    (folder / "shards").mkdir()
    for number in range(SHARDS):
        part = whole.slice(number * rows // SHARDS, rows // SHARDS)
        path = folder / "shards" / f"{number}.parquet"
        pq.write_table(part, path, row_group_size=rows // 32)


def training(batches: Iterator, batch_size: int) -> float:
    """Rows a second of processor time, through a loss, its gradient and a step of Adam."""
    torch.manual_seed(0)
    flow = NSF(layers=2, hidden=32, blocks=1).build((COLUMNS,))
    optimizer = torch.optim.AdamW(flow.parameters(), fused=True)
    count, start = 0, time.process_time()
    for batch in batches:
        flow.log_prob(batch.x).mean().neg().backward()
        optimizer.step()
        optimizer.zero_grad()
        count += len(batch.x)
    assert count > batch_size
    return count / (time.process_time() - start)


def streaming(rows: int, batch_size: int) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows_file(folder, rows)
        half = rows * COLUMNS * 4  # bytes, so that the table is streamed
        ways = {
            "in memory": open_data(str(folder / "whole.parquet")),
            "streamed": open_data(str(folder / "whole.parquet"), memory=half),
            f"streamed from {SHARDS} files": open_data(str(folder / "shards"), memory=half),
        }
        speeds: dict[str, float] = {}
        for what, data in ways.items():
            source = data.train
            assert isinstance(source, ParquetRows) == what.startswith("streamed")
            speeds[what] = training(source.shuffled(batch_size, seed=0), batch_size)
    first = speeds["in memory"]
    return [[what, f"{v:,.0f}", f"{v / first:.0%}"] for what, v in speeds.items()]


def reading(rows: int, batch_size: int) -> list[list[str]]:
    """What each process does by itself: it reads all rows, of which it takes its share."""
    told = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows_file(folder, rows)
        for what, memory in (("in memory", 1 << 30), ("streamed", rows * COLUMNS * 4)):
            start = time.process_time()
            source = open_data(str(folder / "whole.parquet"), memory=memory).train
            opened = time.process_time() - start
            start = time.process_time()
            count = sum(len(batch.x) for batch in source.shuffled(batch_size, seed=0))
            speed = count / (time.process_time() - start)
            held = 0 if isinstance(source, ParquetRows) else source.x.nbytes / source.n_rows
            told.append([what, f"{opened / rows * 1e6:.2f}", f"{held:.0f}", f"{speed:,.0f}"])
    return told


def kept(flow: Flow, x: torch.Tensor, context: torch.Tensor | None, recompute: bool) -> int:
    """Bytes that the graph of a loss keeps, weights aside."""
    weights = {p.untyped_storage().data_ptr() for p in flow.parameters()}
    sizes: dict[int, int] = {}
    alive = []  # an address is not given twice while it is held

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor.detach())
        return tensor

    hooks = saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, recomputing(recompute), own_randomness():
        nll(flow, x, context).mean()
    return sum(sizes.values())


def memory() -> list[list[str]]:
    """Kept by the graph at three depths, and what keeping each layer's input alone comes to."""
    made: dict[str, tuple[type[Recipe], dict, tuple[int, ...], int]] = {
        "nsf": (NSF, {"hidden": 64}, (8,), 256),
        "glow": (Glow, {"maps": 128, "scales": 1}, (3, 16, 16), 8),
    }
    rows = []
    for name, (recipe, fields, shape, batch) in made.items():
        for depth in (2, 4, 8):
            torch.manual_seed(0)
            flow, x = recipe(**fields, layers=depth).build(shape), torch.rand(batch, *shape)
            plain, again = (kept(flow, x, None, on) / 1e6 for on in (False, True))
            rows.append([f"{name}, {depth} layers", f"{plain:.2f}", f"{again:.2f}"])
    return rows


class Counting(Engine):
    """Prints at the end what a process holds of weights and moments, and seconds of its steps."""

    begun = 0.0

    def step(self, step: int, batch: Batch) -> None:
        super().step(step, batch)
        if step == 1:  # the first two also allocate
            self.begun = time.process_time()

    def leave(self, weights: Mapping[str, torch.Tensor] | None = None) -> None:
        states = self.optimizer.state
        held = [*states, *(s[k] for s in states.values() for k in ("exp_avg", "exp_avg_sq"))]
        seconds = time.process_time() - self.begun
        sys.stdout.write(f"{sum(local(t).nbytes for t in held) / 1e6} {seconds}\n")
        sys.stdout.flush()
        super().leave(weights)


def job(devices: int, steps: int, batch_size: int, strategy: Strategy) -> None:
    """Trains on rows in memory."""
    torch.manual_seed(0)
    x = torch.randn(20_000, COLUMNS)
    flow = NSF(layers=4, hidden=64).build((COLUMNS,))
    options = Training(
        steps=steps,
        batch_size=batch_size,
        validate_every=steps,
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
    )
    fit_module.Engine = Counting  # type: ignore[misc]
    fit_module.fit(flow, x, x[:256], training=options)


def processes(steps: int, batch_size: int) -> list[list[str]]:
    """Processor time of a step of one process and of two together; what one of them holds."""
    rows, first = [], 0.0
    for devices, strategy in ((1, "ddp"), (2, "ddp"), (2, "fsdp")):
        words = [str(devices), str(steps), str(batch_size), strategy]
        command = [sys.executable, __file__, "--job", *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
        each = sum(seconds for _, seconds in told) / (steps - 2)
        first, held = first or each, max(megabytes for megabytes, _ in told)
        how = f"{devices}, `--strategy {strategy}`" if devices > 1 else "1"
        rows.append([how, f"{1000 * each:.1f}", f"{first / each:.0%}", f"{held:.2f}"])
    return rows


def arithmetic() -> list[list[str]]:
    """The papers' presets: what training them takes, by parameters and by what one row keeps."""
    rows = []
    for name, which, shape, length in (
        ("glow", "cifar10", (3, 32, 32), 1),
        ("wavenet", "parallel-wavenet", (1, -1), 4096),
    ):
        flow = replace(find_recipe(name)(), **PRESETS[name][which].fields).build(shape)
        count = sum(p.numel() for p in flow.parameters())
        x = torch.rand(1, *(length if n == -1 else n for n in shape)) - 0.5
        plain, again = (kept(flow, x, None, on) / 1e6 for on in (False, True))
        state = 16 * count / 1e6  # weights, gradient and Adam's two moments, of 4 bytes each
        words = [f"{count / 1e6:.1f} M", f"{state:.0f}", f"{plain:.0f}", f"{again:.0f}"]
        rows.append([f"{name} {which}", *words])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--job", nargs=4, default=None)
    parser.add_argument("--processes", action="store_true", help="print what these cost, alone")
    parser.add_argument("--reading", action="store_true", help="write what reading costs, alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.job:
        devices, steps, batch_size, strategy = options.job
        job(int(devices), int(steps), int(batch_size), strategy)
        return
    heads = ["processes", "ms", "efficiency", "MB held"]
    if options.processes:
        print("\n".join(table(heads, processes(options.steps, 512))))
        return
    if options.reading:
        text = [
            "# Reading",
            "",
            *lines(describe(("torch", "pyarrow"))),
            "",
            "What reading costs each process, in processor time: to open a table of 8 columns,",
            "to hold a row of its training part, and to go through it shuffled, without a flow.",
            "",
            *table(
                ["rows", "seconds to open a million", "bytes a row", "rows/s of a pass"],
                reading(options.rows, 256),
            ),
        ]
        write(RESULTS / "reading.md", "\n".join(text) + "\n")
        print("\n".join(text))
        return
    text = [
        "# Scale",
        "",
        *lines(describe(("torch", "pyarrow"))),
        "",
        "Rows a second of processor time, in training a small nsf of 8 columns in batches of 256.",
        "",
        *table(["rows", "rows/s", "of in memory"], streaming(options.rows, 256)),
        "",
        "MB that the graph of a step keeps, without and with `--recompute`, of nsf at 256 rows",
        "and of glow at 8 images of 16x16. What one layer keeps comes on top, while it is redone.",
        "",
        *table(["flow", "kept", "recomputed"], memory()),
        "",
        "The papers' presets, in MB: 16 bytes a parameter for weights, gradient and moments, and",
        "what the graph keeps of one image, or of 4,096 samples of sound, without a spectrum. A",
        "wavenet is one layer, so that redoing it keeps nothing until it takes as much as before.",
        "",
        *table(["preset", "parameters", "state", "kept", "recomputed"], arithmetic()),
        "",
        "Processor time of a step of 512 rows, of all processes together, in ms; what is lost to",
        "100 % is the talk between processes. On a busy machine it is known to a fifth or so. MB",
        "are those of weights and moments in a process.",
        "",
        *table(heads, processes(options.steps, 512)),
    ]
    write(RESULTS / "scale.md", "\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
