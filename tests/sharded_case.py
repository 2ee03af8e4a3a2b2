"""What two processes train with `strategy="fsdp"`, and one without: every way to use a flow.

As a script it starts two, which leave NAME.pt and run folders in the folder that it is given; the
second one dies in the end.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from caudal import bijection
from caudal.flow import Flow
from caudal.recipes import NSF, Glow, WaveNet
from caudal.training import fit as fit_module
from caudal.training import sharding, validation
from caudal.training.devices import Interrupted
from caudal.training.engine import Engine
from caudal.training.options import Training
from caudal.training.processes import leads
from caudal.training.run import Run
from caudal.training.shares import local
from processes_case import TRAINING, At, die, interrupt

sharding.LEAST = 64  # so that layers of these small flows are gathered one by one
LONG = {"steps": 40, "validate_every": 8}


def _noise(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def _built(recipe, *shapes):
    torch.manual_seed(0)
    flow: Flow = recipe.build(*shapes)
    return flow


def options(devices, **changes) -> Training:
    return replace(TRAINING, devices=devices, strategy="fsdp", **changes)


def vectors(devices, out=None, loss=None, resume=False, watch=None, **changes):
    """Splines, a context, weights that decay, an average, and a gradient that is shortened."""
    flow = _built(NSF(layers=2, hidden=9, blocks=1), (3,), (2,))
    x, context = _noise(200, 3, seed=1).exp(), _noise(200, 2, seed=2)
    changes = {"ema": 0.9, "clip": 0.5, "weight_decay": 0.1, "batch_size": 32, **changes}
    how = {"training": options(devices, **changes), "watch": watch}
    how |= {} if loss is None else {"loss": loss}
    run = None if out is None else Run(out, resume=resume)
    return fit_module.fit(flow, (x, context), (x[:65], context[:65]), out=run, **how)


@patch.object(bijection, "_IMAGES", (4, 0))
def images(devices):
    """Couplings within views, statistics from data, activations computed again.

    Of the rows to validate one process has a row more than the other, and than a piece.
    """
    flow = _built(Glow(scales=2, layers=2, maps=5), (1, 8, 8))
    x = _noise(40, 1, 8, 8, seed=1).sigmoid()
    training = options(devices, batch_size=4, recompute=True, accumulate=2)
    return fit_module.fit(flow, x, x[:9], training=training)


@patch.object(validation, "_ROWS", 8)
def sound(devices):
    """A causal net, whose fast ways look at its weights, trained by Muon.

    The last row to validate is the first process's.
    """
    flow = _built(WaveNet(layers=3, cycle=2, channels=4, law="logistics"), (1, -1))
    x = _noise(48, 1, 32, seed=1).tanh() / 2
    return fit_module.fit(
        flow, x, x[:9], training=options(devices, batch_size=8, optimizer="muon")
    )


CASES = {"vectors": vectors, "images": images, "sound": sound}


class Counting(Engine):
    """Writes down at the end which part of all weights and moments this process has."""

    def leave(self, weights=None):
        states = self.optimizer.state
        held = [*states, *(s[k] for s in states.values() for k in ("exp_avg", "exp_avg_sq"))]
        share = sum(local(t).numel() for t in held) / sum(t.numel() for t in held)
        Path(sys.argv[1], f"held-{os.getpid()}").write_text(str(share))
        super().leave(weights)


def main(folder):
    for name, case in CASES.items():
        fitted = case(2)
        if leads():
            torch.save((fitted.history, fitted.flow.state_dict()), folder / f"{name}.pt")
    try:
        vectors(2, folder / "broken", At(20, interrupt), **LONG)
    except Interrupted as error:
        print(error, flush=True)
    seen = []
    fit_module.Engine = Counting
    fitted = vectors(2, folder / "broken", resume=True, watch=seen.append, **LONG)
    fit_module.Engine = Engine
    if leads():
        print("watched", seen, flush=True)
        torch.save((fitted.history, fitted.flow.state_dict()), folder / "resumed.pt")
    vectors(2, folder / "killed", At(20, die), **LONG)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
