"""Training by the clock: what is planned, what measuring leaves alone, how a run is repeated."""

import math
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import caudal
from caudal.base import Normal
from caudal.bijection import Chain
from caudal.bijections import Scale
from caudal.cli.train import read_options
from caudal.data import ImageSchema, Rows
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modality import modality
from caudal.model.choices import stands_for_data, suited, usual_recipe
from caudal.model.rest import Rest
from caudal.model.settings import settings
from caudal.recipes import MAF, NSF, NSFAR, TarFlow
from caudal.report import PixelGaussian
from caudal.training import cautions, clock
from caudal.training import fit as fitting
from caudal.training.clock import Budget, Speed, plan, seconds_of
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.pace import Pace
from caudal.training.progress import Silent
from caudal.training.trainer import Trainer
from command_line import caudal as command
from command_line import folder, people, people_csv, refused, shapes

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(n):
    return Rows(torch.zeros(n, 2))


def planned(training, speed, seconds, first=0, n=10_000, valid=1000):
    return plan(training, speed, rows(n), rows(valid), seconds, first)


def test_steps_and_validations_fill_the_time():
    speed = Speed(step=0.01, row=1e-5)
    made = planned(Training(batch_size=100, epochs=1000), speed, 100.0)
    assert 80 < seconds_of(made, speed, rows(10_000), rows(1000), 0) <= 95
    assert made.minutes is None
    assert made.validate_rows is None
    assert made.steps / made.validate_every * 0.01 < 0.16 * 100


def test_never_more_steps_than_were_asked_for():
    speed = Speed(step=0.001, row=1e-6)
    assert planned(Training(batch_size=100, epochs=2), speed, 1000.0).steps == 200
    assert planned(Training(steps=7, batch_size=100), speed, 1000.0).steps == 7


def test_a_dear_validation_takes_some_rows_only_and_comes_rarely():
    speed = Speed(step=0.1, row=0.05)  # all of them would take 50 of 60 seconds
    made = planned(Training(batch_size=100), speed, 60.0)
    assert made.validate_rows == 64
    assert made.steps / made.validate_every * 64 * 0.05 < 0.3 * 60
    assert made.steps > 400


def test_what_was_given_stays():
    given = Training(batch_size=100, validate_every=10, validate_rows=500)
    made = planned(given, Speed(step=0.1, row=1e-4), 60.0)
    assert (made.validate_every, made.validate_rows) == (10, 500)
    assert made.steps == int(0.95 * 60 / (0.1 + 500 * 1e-4 / 10))


def test_a_resumed_run_gets_the_steps_that_fit_on_top():
    made = planned(Training(batch_size=100, epochs=1000), Speed(0.1, 1e-6), 10.0, first=400)
    assert 480 <= made.steps <= 495


def flow(features=2):
    torch.manual_seed(0)
    return MAF(layers=2, hidden=(8,), batch_norm=True).build((features,))


def test_measuring_leaves_flow_optimiser_and_random_numbers_as_they_were(monkeypatch):
    seen = {}

    def looking(engine, *rest):
        before = {k: v.clone() for k, v in engine.flow.state_dict().items()}
        speed = clock.measure(engine, *rest)
        seen["speed"] = speed
        assert engine.optimizer.state_dict()["state"] == {}
        assert not engine.meter.losses
        assert all(torch.equal(v, before[k]) for k, v in engine.flow.state_dict().items())
        return speed

    monkeypatch.setattr(fitting, "measure", looking)
    x = torch.randn(400, 2)
    fit(flow(), x, training=Training(minutes=0.5, epochs=2, batch_size=50, ema=0.9))
    assert seen["speed"].step > 0
    assert seen["speed"].row > 0


def as_planned(pace, step, total, every):
    """The clock is not looked at, by which far more steps would fit."""
    return total


def test_the_steps_of_a_planned_run_repeat_it_to_the_bit(monkeypatch):
    monkeypatch.setattr(fitting, "measure", lambda *_: Speed(step=1.0, row=1e-9))
    monkeypatch.setattr(Pace, "steps", as_planned)
    x = torch.randn(400, 2)
    first = fit(flow(), x, training=Training(minutes=0.5, batch_size=50, ema=0.9))
    assert 5 < first.training.steps < 30
    monkeypatch.undo()
    second = fit(flow(), x, training=first.training)
    assert first.training == second.training
    assert first.best_valid == second.best_valid
    for a, b in zip(first.flow.parameters(), second.flow.parameters(), strict=True):
        assert torch.equal(a, b)


def test_ends_with_a_validated_model_where_the_machine_became_slower():
    over = Budget(time.monotonic())
    plain = Flow(Chain([Scale((2,))]), Normal((2,)))
    fitted = fit(plain, torch.randn(100, 2), training=Training(batch_size=10), budget=over)
    assert fitted.stopped in ("steps", "minutes")
    assert math.isfinite(fitted.best_valid)
    assert fitted.best_step == 1


@pytest.mark.parametrize(("end", "validated"), [(4, [2, 4]), (5, [2, 4, 5])])
def test_a_step_is_validated_once_where_the_time_ends_after_it(end, validated, monkeypatch):
    monkeypatch.setattr(Trainer, "_overdue", lambda trainer: trainer.position.step >= end)
    plain = Flow(Chain([Scale((2,))]), Normal((2,)))
    training = Training(steps=9, batch_size=10, validate_every=2)
    fitted = fit(plain, torch.randn(100, 2), training=training)
    assert fitted.stopped == "minutes"
    assert [record["step"] for record in fitted.history if "valid" in record] == validated


class Told(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def notes_of(training, recipe=None, n=200):
    told = Told()
    recipe = recipe or NSF(layers=1, hidden=4)
    fit(recipe.build((2,)), 100 * torch.randn(n, 2), training=training, reporter=told)
    return told.notes


def test_says_what_to_beware_of(monkeypatch):
    assert "learns rows by heart" in notes_of(Training(steps=1), NSFAR(hidden=64))[0]
    plain = MAF(layers=1, hidden=(4,))
    assert notes_of(Training(steps=1, batch_size=20), plain) == []
    alone = notes_of(Training(steps=1, batch_size=1), MAF(layers=1, hidden=(4,), batch_norm=True))
    assert "a batch of one row" in alone[0]
    always = notes_of(Training(steps=60, batch_size=20, clip=1e-3), plain)
    assert "in 100% of the steps" in always[0]
    far = notes_of(Training(steps=1, batch_size=20), NSF(layers=1, hidden=4, bound=0.5))
    assert "where splines do not bend" in far[-1]
    monkeypatch.setattr(cautions, "_TAILS", -1.0)
    assert "where splines do not bend" in notes_of(Training(steps=1))[-1]
    boundless = TarFlow(layers=1, width=8, heads=2, map="spline")
    assert not any("bend" in line for line in notes_of(Training(steps=1), boundless))


# --- the usual recipe, its size, and the length --------------------------------------------------


def test_without_a_recipe_the_kind_of_data_chooses(monkeypatch):
    assert command("train", "--data", people_csv(), "--steps", 2, "--no-report", "--out",
                   folder() / "auto", "--size", "small") == 0  # fmt: skip
    config = yaml.safe_load((folder() / "auto" / "config.yaml").read_text())
    assert (config["recipe"], config["layers"], config["hidden"]) == ("nsf", 3, 32)
    model = caudal.train(data=people(60), steps=1)
    assert model.recipe.name == "nsf"
    images = caudal.train(data=shapes(40, side=9)[0], steps=1)
    assert images.recipe.name == "tarflow"


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((1, 8, 8), "tarflow"),
        ((1, 28, 28), "tarflow"),
        ((1, 7, 7), "tarflow"),
        ((3, 32, 32), "glow"),
        ((1, 64, 64), "glow"),
        ((1, 29, 29), "nsf"),
    ],
)
def test_images_take_the_usual_recipe_for_their_shape(shape, name):
    """Small patches, else halves, else neither: what was not chosen is that of the recipe."""
    images = modality("images")
    dataset = SimpleNamespace(schema=ImageSchema(shape), train=range(40))
    start = replace(settings("tarflow", images, {"data": "x", "steps": 1}), auto=True)
    made = suited(start, dataset)
    assert made.recipe.name == name
    assert made.training.clip == images.training(type(made.recipe)).get("clip", Training.clip)


def test_given_fields_go_along_with_the_usual_recipe_or_choose_one_that_has_them(capsys):
    images = modality("images")
    dataset = SimpleNamespace(schema=ImageSchema((1, 64, 64)), train=range(40))

    def chosen(**given):
        name = usual_recipe(np.zeros((4, 64, 64), np.uint8), given)
        made = settings(name, images, {"data": "x", "steps": 1, **given})
        return suited(replace(made, auto=True), dataset)

    both = chosen(layers=3)
    assert (both.recipe.name, both.recipe.layers) == ("glow", 3)
    assert chosen(maps=8).recipe.name == "glow"
    other = chosen(width=8)
    assert other.recipe.name == "tarflow"
    assert "tarflow, as `width` is given" in other.why
    words = ("train", "--data", people_csv(), "--maps", 8, "--out", folder() / "no")
    assert "--maps: not of nsf, which rows of a table take" in (said := refused(capsys, *words))
    assert "realnvp" in said


def test_transformers_over_many_patches_draw_nothing_while_they_train(tmp_path):
    images, dataset = modality("images"), SimpleNamespace(schema=ImageSchema((1, 16, 16)))
    flow = TarFlow(layers=1, width=8, heads=2).build((1, 16, 16))
    films = [images.watch(TarFlow(patch=n), flow, dataset, 0, tmp_path) for n in (None, 2, 1)]
    assert [film is None for film in films] == [False, False, True]


def test_the_size_follows_from_the_data_but_for_what_was_given():
    made = settings("nsf", modality("table"), {"data": "x", "hidden": 16})
    dataset = caudal.data.open_data(people(100))
    sized = suited(made, dataset)
    assert (sized.recipe.layers, sized.recipe.hidden) == (3, 16)
    made = settings(NSF(), modality("table"), {"data": "x"})  # whose fields are all given
    assert suited(made, dataset).recipe == NSF()
    made = settings("nsf", modality("table"), {"data": "x", "size": "large"})
    assert suited(made, dataset).recipe.layers == 8


def test_a_recipe_without_sizes_says_so(capsys):
    words = ("train", "nice", "--data", people_csv(), "--size", "large", "--out", folder() / "no")
    assert "nice has no sizes" in refused(capsys, *words)
    words = ("train", "nsf", "--data", people_csv(), "--size", "small", "--preset", "power")
    assert "--size small and --preset power: choose one" in refused(capsys, *words)
    with pytest.raises(InputError, match="`size` smal: did you mean 'small'"):
        caudal.train(data=people(60), steps=1, size="smal")
    with pytest.raises(InputError, match="`data` is missing"):
        caudal.train("nsf")


def test_data_alone_stand_in_the_place_of_the_recipe():
    words = [str(people_csv()), "--steps", "2"]
    assert read_options(words) == read_options(["--data", *words])
    assert all(stands_for_data(data) for data in (people(60), "moons", "people.csv"))
    assert not any(stands_for_data(recipe) for recipe in ("nsf", "auto", "nfs", NSF, NSF()))
    alone, named = caudal.train(people(60), steps=1), caudal.train("auto", people(60), steps=1)
    assert alone.log_prob(people(60)).tolist() == named.log_prob(people(60)).tolist()


@pytest.mark.parametrize(
    ("words", "length"),
    [
        ([], (100, None, 5.0)),
        (["--epochs", "3"], (3, None, None)),
        (["--steps", "9"], (100, 9, None)),
        (["--minutes", "2"], (100, None, 2.0)),
        (["--minutes", "2", "--steps", "9"], (100, 9, 2.0)),
        (["--preset", "power"], (100, 400_000, None)),
    ],
)
def test_a_given_length_replaces_the_usual_one(words, length):
    training = read_options(["nsf", "--data", str(people_csv()), *words])[1].training
    assert (training.epochs, training.steps, training.minutes) == length


def test_the_config_has_what_was_planned_and_repeats_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "measure", lambda *_: Speed(step=10.0, row=1e-9))
    monkeypatch.setattr(Pace, "steps", as_planned)
    out, again = tmp_path / "run", tmp_path / "again"
    words = ["--layers", 1, "--hidden", 4, "--batch-size", 16, "--no-report"]
    assert command("train", "nsf", "--data", people_csv(), "--out", out, *words) == 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["minutes"] is None
    assert 10 < config["steps"] < 30
    monkeypatch.undo()
    assert command("train", "--config", out, "--out", again) == 0
    both = [(run / "model.safetensors").read_bytes() for run in (out, again)]
    assert both[0] == both[1]


def test_time_is_kept_for_what_follows():
    made = settings("nsf", modality("table"), {"data": "x", "minutes": 1.0})
    dataset = caudal.data.open_data(people(400))
    rest = Rest(made, dataset, evaluates=True)
    assert rest.seconds(row=1e-6, left=60.0) == pytest.approx(9.1, abs=0.1)  # mostly the report
    assert rest.extent.limit is None
    rest = Rest(made, caudal.data.open_data(people(6000)), evaluates=True)
    rest.seconds(row=0.1, left=60.0)
    assert rest.extent.limit == 256
    assert rest.seconds(row=1e-6, left=-1.0) < 1  # it is over already
    assert rest.extent.samples == 0


def test_the_gaussian_of_images_takes_its_share_of_the_time(monkeypatch):
    made = settings("glow", modality("images"), {"data": "digits", "minutes": 1.0})
    digits = caudal.data.open_images("digits")
    rest = Rest(made, digits, evaluates=True)
    rest.seconds(row=1e-6, left=60.0)
    assert rest.extent.fitted is None
    monkeypatch.setattr(PixelGaussian, "seconds", classmethod(lambda *_: (2.0, 0.01)))
    assert rest.seconds(row=1e-6, left=60.0) > 9
    assert rest.extent.fitted == 700
    monkeypatch.setattr(PixelGaussian, "seconds", classmethod(lambda *_: (20.0, 0.01)))
    assert rest.seconds(row=1e-6, left=60.0) > 20  # which is taken in any case
    assert rest.extent.fitted == 256
