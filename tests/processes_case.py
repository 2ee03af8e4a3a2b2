"""What one process and two train: each kind of part that several processes could get wrong.

As a script it starts two, which leave NAME.pt and run folders in the folder that it is given; the
second one dies in the end.
"""

import os
import signal
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import distributed as dist

import caudal
from caudal.losses import nll
from caudal.modality import assemble
from caudal.recipes import RealNVP, register
from caudal.training.devices import Interrupted
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.processes import leads
from caudal.training.run import Run
from caudal.training.together import together
from training_case import SCHEMA, Everything, rows

TRAINING = Training(
    steps=12,
    batch_size=32,
    warmup=0,
    validate_every=6,
    patience=0,
    accelerator="cpu",
    precision="64-true",  # in which the order of sums tells nothing
)


def table(devices, out=None, loss=nll, **options):
    """Steps, gaps, a context, dropout, batch normalisation and an average of the weights."""
    register(Everything)
    torch.manual_seed(0)
    flow = assemble(Everything(), SCHEMA)
    training = replace(TRAINING, devices=devices, ema=0.9, **options.pop("training", {}))
    run = None if out is None else Run(out, Everything(), SCHEMA, **options)
    parts = {"training": training, "loss": loss, "validation_loss": nll, "out": run}
    return fit(flow, rows(264, 1), rows(201, 2), **parts)


def images(devices):
    """Images, some of them mirrored, and nets with batch normalisation."""
    torch.manual_seed(0)
    x = torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    flow = RealNVP(scales=1, maps=4, blocks=1).build((1, 8, 8))
    training = replace(TRAINING, devices=devices, flips=True, batch_size=16)
    return fit(flow, x, x[:33], training=training)


def use(run, out):
    """Rows are drawn, scored and evaluated."""
    model = caudal.load(run)
    model.write_samples(out / "drawn.csv", n=101, seed=3, given=("kind=a",))
    dist.is_initialized() and dist.barrier()
    model.score(out / "drawn.csv", out / "scored.csv")


def write_numbers(folder):
    """A table, the same in each process."""
    data = folder / f"numbers{os.environ.get('LOCAL_RANK', '')}.csv"
    numbers = np.random.default_rng(0).integers(0, 9, (700, 3)).astype(str)
    data.write_text("\n".join(map(",".join, [["a", "b", "c"], *numbers.tolist()])))
    return data


def learn(devices, out, data):
    """A table with steps is learned from its file, evaluated, and judged for alarms."""
    options = {f.name: getattr(TRAINING, f.name) for f in fields(Training)} | {"devices": devices}
    how = {"hidden": 8, "layers": 1, "report": False, **options}
    caudal.train("maf", str(data), out=out, **how)


class At:
    """A loss that calls a function at its n-th training batch."""

    def __init__(self, n, call):
        self.n, self.call, self.calls = n, call, 0

    def __call__(self, flow, x, context):
        self.calls += flow.training
        if self.calls == self.n and flow.training:
            self.call()
        return nll(flow, x, context)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def die():
    if not leads():
        os.kill(os.getpid(), signal.SIGKILL)


LONG = {"training": {"steps": 64, "validate_every": 8}}


def main(folder):
    for name, case in {"table": table, "images": images}.items():
        fitted = case(2)
        if leads():
            torch.save((fitted.history, fitted.flow.state_dict()), folder / f"{name}.pt")
    try:
        table(2, folder / "broken", At(20, interrupt), **LONG)
    except Interrupted as error:
        print(error, flush=True)
    fitted = table(2, folder / "broken", resume=True, **LONG)
    if leads():
        torch.save((fitted.history, fitted.flow.state_dict()), folder / "resumed.pt")
    os.environ["LOCAL_WORLD_SIZE"] = "2"  # as torchrun says it
    with together():
        use(folder / "broken", folder / "two")
    learn(2, folder / "learned", write_numbers(folder))
    table(2, folder / "killed", At(20, die), **LONG)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
