"""The compiler, accelerators, and machines that have neither."""

from functools import partial

import pytest
import torch

from caudal import Chain, InputError
from caudal.base import Normal
from caudal.bijections import Scale
from caudal.flow import Flow
from caudal.training.fit import fit
from caudal.training.options import Training


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
