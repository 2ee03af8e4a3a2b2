"""Keeping time on a machine whose speed changes: steps are planned anew, the rate still ends."""

import math
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import yaml

from caudal import Chain, Flow
from caudal.base import Normal
from caudal.bijections import Gaussianise, Scale
from caudal.losses import nll
from caudal.recipes import MAF
from caudal.training import pace
from caudal.training.clock import Budget
from caudal.training.devices import Interrupted
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.pace import Course, Pace
from caudal.training.run import Run
from caudal.training.validation import Validator

pytestmark = pytest.mark.usefixtures("one_thread")


class Clock:
    """A clock that goes as it is told."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(pace.time, "monotonic", lambda: self.now)


def test_as_many_steps_are_left_as_fit(monkeypatch):
    clock = Clock(monkeypatch)
    kept = Pace(1000.0, validation=10.0, most=700)
    clock.now = 30.0
    assert kept.steps(20, 700, 100) == 700  # too soon to tell
    clock.now = 120.0
    kept.paused(20.0)
    assert kept.steps(100, 700, 100) == 700  # a second a step
    clock.now = 320.0
    slower = kept.steps(200, 700, 100)  # two seconds a step, of which half is believed at once
    assert slower == 200 + int((950 - 320 - 20) / (1.5 + 0.2))
    clock.now = 400.0
    assert kept.steps(360, slower, 100) > slower
    assert not kept.is_over
    clock.now = 1100.1
    assert kept.is_over


def test_no_more_steps_than_were_planned_and_never_none(monkeypatch):
    clock = Clock(monkeypatch)
    kept = Pace(100.0, most=1000)
    clock.now = 10.0
    assert kept.steps(500, 1000, 1000) == 1000
    clock.now = 99.0
    assert kept.steps(600, 1000, 1000) == 601
    assert Pace().steps(600, 1000, 1000) == 1000
    assert not Pace().is_over


def test_a_machine_that_becomes_faster_takes_more_steps_up_to_those_wanted(monkeypatch):
    """The first seconds may be the slowest: a browser closes, a thread comes free."""
    clock = Clock(monkeypatch)
    kept = Pace(1000.0, most=1500)
    clock.now = 100.0
    assert kept.steps(200, 500, 10_000) == 1500  # half a second a step, where two were planned
    kept = Pace(900.0, most=5000)
    clock.now = 200.0
    grown = kept.steps(200, 500, 10_000)
    assert grown == 200 + int((100 + 0.95 * 900 - 200) / 0.5)
    course = Course().bent(200, 500)
    assert course.place(200, grown) == (200, 500)
    assert course.place(grown, grown) == (500, 500)


def test_the_rate_goes_on_from_where_it_is_and_ends_with_the_steps():
    training = Training(lr=1.0, warmup=10)
    course = Course().bent(40, 100).bent(60, 80)
    assert course.place(60, 70) == Course().bent(40, 100).place(60, 80)
    before = training.learning_rate(40, 100)
    rates = [training.learning_rate(*Course().bent(40, 100).place(s, 70)) for s in range(40, 71)]
    assert rates[0] == before
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
    assert all(a > b for a, b in zip(rates, rates[1:], strict=False))
    assert Course().place(7, 9) == (7, 9)


def test_nothing_is_planned_anew_on_a_machine_of_even_speed(monkeypatch):
    """Flows that begin fitted are validated before their first step, which is no step's time."""
    clock = Clock(monkeypatch)
    measure = Validator.measure

    def dear(validator):
        clock.now += 2
        return measure(validator)

    monkeypatch.setattr(Validator, "measure", dear)
    monkeypatch.setattr(Validator, "seconds", lambda validator: (2 / validator.valid.n_rows, 0.0))
    told = []
    reporter = SimpleNamespace(
        start=told.append, step=print, validated=print, note=told.append, finish=print
    )
    training = Training(minutes=2.0, batch_size=20, lr=1e-4, patience=0)
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    own = Gaussianise(*torch.tensor([[-math.inf] * 2, [math.inf] * 2]))
    flow = Flow(Chain([Scale((2,)), own]), Normal((2,)))
    options = {"training": training, "validation_loss": nll, "reporter": reporter}
    fitted = fit(flow, x, loss=SlowFrom(clock, 10**9), **options)
    assert len(told) == 1
    assert fitted.stopped == "steps"
    assert clock.now < 120


class SlowFrom:
    """A loss whose calls cost a second of the clock each, and three from the n-th on."""

    def __init__(self, clock, n, stop=0):
        self.clock, self.n, self.stop, self.calls = clock, n, stop, 0

    def __call__(self, flow, x, context):
        self.calls += 1
        self.clock.now += 1 if self.calls < self.n else 3
        if self.calls == self.stop:
            signal.raise_signal(signal.SIGINT)
        return nll(flow, x, context)


class SlowTo(SlowFrom):
    """The other way round: three seconds each at first, then a tenth of one."""

    def __call__(self, flow, x, context):
        self.calls += 1
        self.clock.now += 3 if self.calls < self.n else 0.1
        if self.calls == self.stop:
            signal.raise_signal(signal.SIGINT)
        return nll(flow, x, context)


def trained(clock, out, loss, resume=False):
    torch.manual_seed(0)
    flow = MAF(layers=1, hidden=(4,)).build((2,))
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    config = {"steps": None, "minutes": 1.0}
    training = Training(minutes=1.0, batch_size=20, warmup=0, validate_every=10)
    if resume:
        config = yaml.safe_load((out / "config.yaml").read_text())
        training = replace(training, minutes=None, steps=config["steps"])
    run = Run(out, config=config, resume=resume)
    told = {"training": training, "validation_loss": nll, "out": run}
    budget = None if resume else Budget(clock.now + 60.0)
    return fit(flow, x, loss=loss, budget=budget, **told)


def test_a_slow_start_leaves_no_time_unused(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    found = trained(clock, tmp_path / "run", SlowTo(clock, 6))
    assert found.stopped == "steps"
    assert found.training.steps > 300  # 16 would be planned by the first ones
    assert 45 < clock.now < 60
    assert found.history[-1]["lr"] < 0.02 * found.training.lr
    clock.now = 0.0
    with pytest.raises(Interrupted):
        trained(clock, tmp_path / "broken", SlowTo(clock, 6, stop=300))
    resumed = trained(clock, tmp_path / "broken", nll, resume=True)
    assert resumed.training.steps == found.training.steps
    assert resumed.best_valid == found.best_valid


def test_training_ends_in_time_with_its_rate_and_resumes_to_the_bit(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    loss = SlowFrom(clock, 20)
    whole = trained(clock, tmp_path / "whole", loss)
    assert whole.stopped == "steps"
    assert 25 < whole.training.steps < 50
    assert whole.history[-1]["lr"] < 0.02 * whole.training.lr
    config = yaml.safe_load((tmp_path / "whole" / "config.yaml").read_text())
    assert config == {"steps": whole.training.steps, "minutes": None}
    clock.now = 0.0
    with pytest.raises(Interrupted):
        trained(clock, tmp_path / "broken", SlowFrom(clock, 20, stop=loss.calls - 1))
    resumed = trained(clock, tmp_path / "broken", nll, resume=True)
    assert resumed.best_valid == whole.best_valid
    for a, b in zip(resumed.flow.parameters(), whole.flow.parameters(), strict=True):
        assert torch.equal(a, b)
