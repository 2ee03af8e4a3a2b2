"""What recipes refuse, and recipes that are defined outside the package."""

import inspect
import json
from dataclasses import dataclass, fields
from typing import Annotated, get_args

import pytest
import torch
from annotated_types import Ge

import caudal
from caudal import InputError
from caudal.cli.distill import DistillOptions
from caudal.cli.train import RunOptions, TrainOptions
from caudal.fields import rules_of
from caudal.modality import MODALITIES, modality
from caudal.nets.activation import ACTIVATIONS
from caudal.recipes import MAF, NICE, NSF, RECIPES, IResNet, MAFMoG, Recipe, ResidualFlow
from caudal.recipes.presets import PRESETS
from caudal.recipes.recipe import Activation
from caudal.recipes.registry import REGISTERED, TAKEN
from command_line import caudal as command
from command_line import people_csv, refused


@pytest.mark.parametrize("name", RECIPES)
def test_every_field_has_a_rule_that_its_default_passes(name):
    recipe = RECIPES[name]()
    for field, rule in zip(fields(recipe), rules_of(type(recipe)).values(), strict=True):
        assert rule.holds(getattr(recipe, field.name))
        assert rule.expected != "anything"


def test_activations_are_those_of_the_nets():
    assert get_args(Activation) == tuple(ACTIVATIONS)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NSF(hidden=-4), "`hidden` -4: must be a whole number, at least 1$"),
        (lambda: NSF(hidden=(8, 8)), "`hidden` .* such as 64"),
        (lambda: MAF(hidden=8), "`hidden` 8: .* such as"),
        (lambda: MAF(hidden=()), "`hidden` .*: must be 1 or more whole numbers, at least 1 each$"),
        (lambda: NSF(dropout=1.0), r"`dropout` 1.0: must be a number in \[0, 1\)"),
        (lambda: NSF(bound=float("nan")), "`bound` nan: must be a positive number"),
        (lambda: NSF(layers=-1), "`layers` -1: must be a whole number, at least 0"),
        (lambda: MAF(layers=2.5), "`layers` 2.5: must be a whole number"),
        (lambda: MAFMoG(components=0), "`components` 0"),
        (lambda: MAF(activation="tan"), "`activation` tan: must be one of relu"),
        (lambda: MAF(batch_norm=1), "`batch_norm` 1: must be True or False"),
        (lambda: IResNet(coefficient=1), "`coefficient` 1: must be a number between 0 and 1"),
        (lambda: IResNet(scales=0), "`scales` 0: must be a whole number, at least 1, or `None`"),
        (lambda: NICE(prior="cauchy"), "`prior` cauchy"),
    ],
)
def test_refuses_what_no_flow_can_be_built_from(build, words):
    with pytest.raises(InputError, match=words):
        build()


@pytest.mark.parametrize("name", [n for n, recipe in RECIPES.items() if recipe.vectors])
@pytest.mark.parametrize("shapes", [(3,), ((3, 8),), ((0,),), ((3,), 2), ((3,), (0,))])
def test_refuses_shapes_that_are_no_vectors(name, shapes):
    with pytest.raises(ValueError, match=f"{name} (models|takes context) vectors"):
        RECIPES[name]().build(*shapes)


@pytest.mark.parametrize("name", [n for n, recipe in RECIPES.items() if recipe.images])
@pytest.mark.parametrize("shapes", [((0, 8, 8),), ((1, 8, 8), 2), ((1, 8, 8), (0,))])
def test_refuses_shapes_that_are_no_images(name, shapes):
    with pytest.raises(ValueError, match=f"{name} (models|takes context)"):
        RECIPES[name]().build(*shapes)


@pytest.mark.parametrize(
    ("recipe", "shape", "words"),
    [
        (IResNet(squeeze_first=False), (3,), "`squeeze_first` is for images"),
        (ResidualFlow(dense=2), (3,), "`dense` is for images"),
        (ResidualFlow(hidden=(8,)), (1, 8, 8), "`hidden` is for tables"),
    ],
)
def test_refuses_fields_that_would_change_nothing(recipe, shape, words):
    with pytest.raises(ValueError, match=words):
        recipe.build(shape)


@pytest.mark.parametrize(("name", "preset"), [(r, p) for r in PRESETS for p in PRESETS[r]])
def test_presets_are_plain_data_of_fields_that_there_are(name, preset):
    stated = PRESETS[name][preset]
    RECIPES[name](**stated.fields)
    assert json.loads(json.dumps(stated.values)).keys() == stated.values.keys()
    assert f"{stated.parameters:,} parameters" in str(stated)


# --- recipes from outside --------------------------------------------------------------------

SHEARS = '''
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

import caudal


{decorator}
@dataclass(frozen=True)
class Shears(caudal.recipes.Recipe):
    """Affine couplings between LU linear maps."""

    name, scores, samples = "shears", "parallel", "parallel"

    layers: Annotated[int, Ge(1)] = 2
    """Couplings."""

    def _build(self, event_shape, context_shape=None):
        recipe = caudal.recipes.NSF(self.layers, hidden=4, blocks=1)
        return recipe.build(event_shape, context_shape)
'''


def shears(name="shears", **attributes):
    """A registered recipe."""

    class Shears(Recipe):
        """For tests only."""

        layers: Annotated[int, Ge(1)] = 2

        def _build(self, event_shape, context_shape=None):
            return NSF(self.layers, hidden=4, blocks=1).build(event_shape, context_shape)

    ways = {"name": name, "scores": "parallel", "samples": "parallel", **attributes}
    for attribute, value in ways.items():
        setattr(Shears, attribute, value)
    return caudal.recipe(dataclass(frozen=True)(Shears))


@pytest.mark.usefixtures("registry")
def test_a_recipe_of_ones_own_is_trained_saved_and_loaded(tmp_path):
    kind = shears()
    assert "shears" in RECIPES
    assert RECIPES["shears"] is kind
    assert list(RECIPES)[-1] == "shears"
    with pytest.raises(InputError, match="`layers` 0: must be a whole number, at least 1"):
        kind(layers=0)
    recipe, x = kind(layers=1), torch.randn(40, 2)
    flow = recipe.build((2,))
    training = caudal.Training(steps=2, batch_size=20)
    caudal.fit(flow, x, x, training=training, out=caudal.Run(tmp_path, recipe))
    torch.testing.assert_close(caudal.load(tmp_path).flow.log_prob(x), flow.eval().log_prob(x))
    del REGISTERED["shears"]
    with pytest.raises(InputError, match="unknown recipe 'shears': import test_recipes, which"):
        caudal.load(tmp_path)


@pytest.mark.usefixtures("registry")
def test_two_recipes_of_one_name_are_refused():
    with pytest.raises(InputError, match="recipe 'nsf' of .*Shears: .*nsf.NSF has that name alr"):
        shears("nsf")
    shears()
    again = shears()  # the same class, as when a notebook's cell runs twice
    assert RECIPES["shears"] is again


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"scores": "fast"}, "scores must be one of parallel, sequential"),
        ({"samples": None}, "samples must be one of parallel, sequential, iterated"),
        ({"name": None}, "give the class a name"),
    ],
)
def test_refuses_incomplete_recipes(attributes, words):
    with pytest.raises(InputError, match=words):
        shears(**attributes)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", ["steps", "context", "mels", "tail", "out"])
def test_refuses_fields_with_names_of_options(name):
    bases, body = (Recipe,), {"__annotations__": {name: int}, name: 1, "name": "own"}
    ways = {"scores": "parallel", "samples": "parallel", "_build": lambda *args: None}
    kind = dataclass(frozen=True)(type("Own", bases, {**body, **ways}))
    with pytest.raises(InputError, match=f"its field {name} has the name of an option"):
        caudal.recipe(kind)


def test_taken_names_are_those_of_all_options():
    kinds = [modality(name) for name in MODALITIES]
    parts = [part for kind in kinds for part in (kind.options, kind.distillation)]
    parts += [caudal.Training, RunOptions, TrainOptions, DistillOptions]
    names = {field.name for part in parts for field in fields(part)} - {"distillation", "run"}
    for function in (caudal.train, caudal.Model.distill):
        names |= inspect.signature(function).parameters.keys() - {"self", "options"}
    assert names - {"training"} == TAKEN


@pytest.mark.usefixtures("registry")
def test_refuses_classes_that_are_no_recipes():
    with pytest.raises(InputError, match="derive it from"):
        caudal.recipe(int)
    with pytest.raises(InputError, match="write @dataclass"):
        caudal.recipe(type("Plain", (NSF,), {"name": "plain"}))
    with pytest.raises(InputError, match="define _build"):
        caudal.recipe(dataclass(frozen=True)(type("Idle", (Recipe,), {"name": "idle"})))


def offer(folder, module, distribution="shears", decorator="@caudal.recipe"):
    """A package that offers a recipe, as pip would have installed it."""
    (folder / f"{module}.py").write_text(SHEARS.format(decorator=decorator))
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[caudal.recipes]\nshears = {module}:Shears\n")


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("decorator", ["@caudal.recipe", ""])
def test_an_installed_package_offers_a_recipe(decorator, tmp_path, monkeypatch, capsys):
    offer(tmp_path, f"offered{len(decorator)}", decorator=decorator)
    monkeypatch.syspath_prepend(tmp_path)
    assert "shears" in RECIPES
    assert "shears" not in REGISTERED  # not before it is asked for
    run = tmp_path / "run"
    words = ["--data", people_csv(), "--layers", 1, "--steps", 2, "--no-report", "--out", run]
    assert command("train", "shears", *words) == 0
    assert command("eval", run) == 0
    assert "no recipe 'shaers'; did you mean 'shears'" in refused(
        capsys, "train", "shaers", *words
    )
    assert command("train", "shears", "--help") == 0
    assert "Couplings. (default: 2)" in capsys.readouterr().out
    assert command("recipes") == 0
    assert "shears" in capsys.readouterr().out


@pytest.mark.usefixtures("registry")
def test_a_package_that_cannot_be_loaded_is_named_when_asked_for(tmp_path, monkeypatch, capsys):
    offer(tmp_path, "broken", decorator="@caudal.no_such_name")
    monkeypatch.syspath_prepend(tmp_path)
    assert "nsf" in list(RECIPES)
    error = "recipe 'shears' of shears cannot be loaded: AttributeError: .*no_such_name"
    with pytest.raises(InputError, match=error):
        _ = RECIPES["shears"]
    assert command("recipes") == 0
    assert "caudal: note: recipe 'shears' of shears" in capsys.readouterr().err


@pytest.mark.usefixtures("registry")
def test_two_packages_with_one_name_are_named(tmp_path, monkeypatch):
    offer(tmp_path, "first", "one")
    offer(tmp_path, "second", "two")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="offered by one and two: uninstall one"):
        _ = RECIPES["shears"]


@pytest.mark.parametrize("name", ["nsf", "nsf-ar"])
def test_the_papers_splines_have_the_stated_size(name):
    stated = PRESETS[name]["power"]
    flow = RECIPES[name](**stated.fields).build((6,))
    assert sum(p.numel() for p in flow.parameters()) == stated.parameters
