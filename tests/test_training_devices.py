"""Several processes, the compiler, and machines that have neither."""

import subprocess
import sys
from functools import partial

import pytest
import torch

from caudal import Chain, InputError
from caudal.base import Normal
from caudal.bijections import Scale
from caudal.flow import Flow
from caudal.recipes import MAF
from caudal.training.devices import leads
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.run import Run


def train(devices, out, to):
    """Without batch normalisation, whose moments are those of each process's share."""
    torch.manual_seed(0)
    recipe = MAF(layers=2, hidden=(8,), batch_norm=False)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(1)) * 2 + 1
    options = {"steps": 12, "batch_size": 64, "validate_every": 6, "lr": 1e-2, "warmup": 0}
    training = Training(**options, accelerator="cpu", devices=devices)
    run = None if out is None else Run(out, recipe)
    fitted = fit(recipe.build((2,)), x, training=training, out=run)
    if leads():
        weights = torch.cat([p.detach().flatten() for p in fitted.flow.parameters()])
        torch.save((fitted.best_valid, fitted.history[-1]["train"], weights), to)


def test_two_processes_train_like_one(tmp_path):
    one, two, run = (tmp_path / name for name in ("1.pt", "2.pt", "run"))
    train(1, None, one)
    command = [sys.executable, __file__, run, two]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    (valid, loss, weights), (valid_two, loss_two, weights_two) = torch.load(one), torch.load(two)
    assert valid_two == pytest.approx(valid, abs=1e-4)
    assert loss_two == pytest.approx(loss, abs=1e-4)
    torch.testing.assert_close(weights_two, weights, atol=1e-4, rtol=1e-3)
    assert (run / "model.safetensors").exists()


def scale_flow():
    return Flow(Chain([Scale((2,))]), Normal((2,)))


class Notes:
    """Keeps what the user would see."""

    def __init__(self):
        self.notes = []

    def start(self, plan): ...
    def step(self, step, train): ...
    def validated(self, record): ...
    def finish(self, stopped): ...

    def note(self, text):
        self.notes.append(text)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_training_takes_the_same_steps(monkeypatch):
    """As a graph, which is then run operation by operation: that needs no C++ compiler."""
    monkeypatch.setattr("caudal.training.fit.why_not_compile", lambda device: None)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    x = torch.randn(400, 2)
    losses = []
    for compiled in (False, True):
        training = Training(steps=5, batch_size=64, lr=0.1, warmup=0, compile=compiled)
        losses.append(fit(scale_flow(), x, x, training=training).best_valid)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_machine_without_a_compiler_trains_all_the_same(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no g++ here\nand many more lines")

    monkeypatch.setattr(torch, "compile", broken)
    notes = Notes()
    fit(
        scale_flow(), torch.randn(400, 2), training=Training(steps=2, compile=True), reporter=notes
    )
    assert notes.notes == [
        "`compile=True`: no working compiler, going on without it (no g++ here)"
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is asked for")
def test_an_accelerator_that_is_not_there_is_refused():
    with pytest.raises(
        InputError, match='^no CUDA device here: use `accelerator="cpu"`$'
    ) as caught:
        fit(scale_flow(), torch.randn(400, 2), training=Training(accelerator="cuda"))
    assert "\n" not in str(caught.value)


def test_a_word_that_is_no_accelerator_is_refused():
    with pytest.raises(InputError, match="`accelerator` tpu: must be one of auto, cpu, cuda, mps"):
        Training(accelerator="tpu")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(2, sys.argv[1], sys.argv[2])
