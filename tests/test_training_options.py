"""Options, learning rate, seeds, moving average: the small parts, against hand computation."""

import math

import pytest
import torch
from torch import nn

from caudal.errors import InputError
from caudal.numerics import own_randomness, redirected, seed_own
from caudal.training.meter import Meter, is_point
from caudal.training.options import MovingAverage, Training
from caudal.training.seeds import mix


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "`epochs` 0: must be a whole number, at least 1"),
        ({"steps": 0}, "`steps` 0"),
        ({"batch_size": 0}, "`batch_size` 0"),
        ({"lr": 0.0}, r"`lr` 0.0: must be a positive number"),
        ({"lr": math.inf}, "`lr` inf"),
        ({"clip": -1.0}, "`clip` -1.0"),
        ({"ema": 1.0}, r"`ema` 1.0: must be a number in \[0, 1\)"),
        ({"patience": -1}, "`patience` -1"),
        ({"validate_every": 0}, "`validate_every` 0"),
        ({"devices": 0}, "`devices` 0"),
        ({"epochs": 1.5}, "`epochs` 1.5: must be a whole number"),
        ({"steps": "9"}, "`steps` 9: must be a whole number"),
        ({"clip": None}, "`clip` None: must be a number"),
        ({"cosine": 1}, "`cosine` 1: must be True or False"),
        ({"precision": "16-mixed"}, "`precision` 16-mixed: must be one of 32-true, 64-true, bf16"),
        ({"accelerator": "foo"}, "`accelerator` foo: must be one of auto, cpu, cuda, mps"),
        ({"seed": 10**20}, r"`seed` 1\d+: must be a whole number from -2\^63"),
        ({"devices": 3}, "`batch_size` 256: must be a multiple of 3"),
    ],
)
def test_refuses_options_out_of_range(options, words):
    with pytest.raises(InputError, match=words):
        Training(**options)


def test_learning_rate_rises_in_a_line_and_falls_along_a_cosine():
    training = Training(lr=0.4, warmup=4)
    rates = [training.learning_rate(step, 104) for step in range(104)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[54] == pytest.approx(0.2)
    assert rates[29] == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))
    assert rates[-1] == pytest.approx(0.2 * (1 + math.cos(math.pi * 0.99)))
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_learning_rate_may_stay():
    training = Training(lr=0.4, warmup=0, cosine=False)
    assert {training.learning_rate(step, 10) for step in range(10)} == {0.4}


def test_a_long_warmup_is_cut_to_a_tenth_of_a_short_run():
    assert Training(lr=1.0, warmup=10_000).learning_rate(9, 100) == 1.0


def test_moving_average_by_hand():
    module = nn.Linear(1, 1, bias=False)
    weight = module.weight
    with torch.no_grad():
        weight.fill_(1.0)
        average = MovingAverage(module, decay=0.15)
        weight.fill_(2.0)
        average.update(0)  # decay 1/10
        weight.fill_(4.0)
        average.update(1)  # decay 0.15, as 2/11 is more
    first = 0.1 * 1 + 0.9 * 2
    expected = 0.15 * first + 0.85 * 4
    assert average.state_dict()["weight"].item() == pytest.approx(expected)
    with average.swapped_in():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == 4.0


def test_seeds_are_functions_of_all_their_numbers():
    seeds = {mix(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(1, 2) == mix(1, 2)


def test_training_leaves_the_callers_randomness_alone():
    before = torch.get_rng_state()
    with own_randomness(torch.device("cpu")), redirected():
        seed_own(5)
        first = torch.rand(3)
        seed_own(5)
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_meter_means_since_the_last_point_and_validation():
    meter = Meter()
    for value in (1.0, 2.0, 6.0):
        meter.add(torch.tensor(value), torch.tensor(10 * value))
    assert meter.drain() == pytest.approx((3.0, 30.0))
    meter.add(torch.tensor(7.0), torch.tensor(0.0))
    assert meter.validation() == pytest.approx((4.0, 22.5))


def test_meter_says_which_steps_were_not_finite():
    meter = Meter()
    for value in (1.0, math.nan):
        meter.add(torch.tensor(value), torch.tensor(1.0))
    assert [math.isfinite(value) for value in meter.unchecked()] == [True, False]
    assert meter.unchecked() == []


def test_the_curve_thins_out():
    points = [step for step in range(1, 4097) if is_point(step)]
    assert points[:256] == list(range(1, 257))
    assert sum(2048 < point <= 4096 for point in points) == 128
