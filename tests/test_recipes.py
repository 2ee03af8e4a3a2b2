"""What recipes refuse, and that none of their fields goes unchecked."""

from dataclasses import fields

import pytest

from caudal import InputError
from caudal.recipes import MAF, NICE, NSF, RECIPES, IResNet, MAFMoG, ResidualFlow
from caudal.recipes.checks import rule_of


@pytest.mark.parametrize("name", RECIPES)
def test_every_field_has_a_rule_that_its_default_passes(name):
    recipe = RECIPES[name]()
    for field in fields(recipe):
        assert rule_of(field).holds(getattr(recipe, field.name))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NSF(hidden=-4), "--hidden -4: must be units, at least 1 each"),
        (lambda: NSF(hidden=(8, 8)), "--hidden .* such as 256"),
        (lambda: MAF(hidden=8), "--hidden 8: .* such as"),
        (lambda: MAF(hidden=()), "--hidden"),
        (lambda: NSF(dropout=1.0), "--dropout 1.0: must be a number in"),
        (lambda: NSF(bound=float("nan")), "--bound nan: must be a positive number"),
        (lambda: NSF(layers=-1), "--layers -1: must be a whole number, at least 0"),
        (lambda: MAF(layers=2.5), "--layers 2.5: must be a whole number"),
        (lambda: MAFMoG(components=0), "--components 0"),
        (lambda: MAF(activation="tan"), "--activation tan: must be one of relu"),
        (lambda: MAF(batch_norm=1), "--batch-norm 1: must be true or false"),
        (lambda: NICE(prior="cauchy"), "--prior cauchy"),
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
        (IResNet(squeeze_first=False), (3,), "--squeeze-first is for images"),
        (ResidualFlow(dense=2), (3,), "--dense is for images"),
        (ResidualFlow(hidden=(8,)), (1, 8, 8), "--hidden is for tables"),
    ],
)
def test_refuses_fields_that_would_change_nothing(recipe, shape, words):
    with pytest.raises(ValueError, match=words):
        recipe.build(shape)
