"""One file in, one flow out; and every way in which a file can be wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import caudal
from caudal import InputError
from caudal.modality import assemble
from caudal.recipes import (
    IAF,
    MADE,
    MAF,
    NICE,
    NSF,
    NSFAR,
    MAFMoG,
    RealNVP,
    describe,
    rebuild,
)
from caudal.training.checkpoint import load, load_model, save_model
from training_case import SCHEMA, rows

SMALL = [
    NICE(hidden=(8, 8)),
    RealNVP(layers=2, hidden=(8,)),
    MADE(hidden=(8,)),
    MAF(layers=2, hidden=(8, 8)),
    MAFMoG(layers=1, hidden=(8,), components=2),
    IAF(layers=2, hidden=(8,)),
    NSF(layers=2, hidden=8, blocks=1),
    NSFAR(layers=2, hidden=8, blocks=1),
]
RECIPE = MAF(layers=1, hidden=(8,))


@pytest.mark.parametrize("recipe", SMALL, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("context_shape", [None, (2,)], ids=["plain", "conditional"])
def test_a_flow_comes_back_as_it_was(recipe, context_shape, tmp_path):
    flow = recipe.build((3,), context_shape).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_model(tmp_path / "m.safetensors", flow, recipe)
    random = torch.get_rng_state()
    loaded = load_model(tmp_path / "m.safetensors")
    assert torch.equal(random, torch.get_rng_state())
    assert loaded.recipe == recipe
    assert loaded.schema is None
    assert not loaded.flow.training
    x, context = torch.randn(5, 3), None if context_shape is None else torch.randn(5, 2)
    assert torch.equal(loaded.flow.log_prob(x, context), flow.log_prob(x, context))


def test_a_table_comes_back_with_its_columns(tmp_path):
    flow = assemble(RECIPE, SCHEMA).eval()
    x, context = rows(50, 0)
    caudal.initialize(flow, x, context)
    extra = {"step": 7, "valid": 1.5, "note": "é"}
    save_model(tmp_path / "model.safetensors", flow, RECIPE, SCHEMA, extra)
    loaded = load_model(tmp_path)
    assert loaded.schema == SCHEMA
    assert {name: loaded.metadata[name] for name in extra} == extra
    draws = [f.log_prob(x, context, torch.Generator().manual_seed(0)) for f in (flow, loaded.flow)]
    assert torch.equal(*draws)


def test_double_precision_comes_back(tmp_path):
    flow = RECIPE.build((2,)).double()
    save_model(tmp_path / "m.safetensors", flow, RECIPE)
    assert load(tmp_path / "m.safetensors").base.like.dtype == torch.float64


@pytest.mark.parametrize("recipe", SMALL, ids=lambda recipe: recipe.name)
def test_recipes_survive_json(recipe):
    assert rebuild(json.loads(json.dumps(describe(recipe)))) == recipe


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"name": "nope", "fields": {}}, "unknown recipe 'nope': import the module .* or install"),
        ("maf", "unknown recipe 'maf'"),
        ({"name": "maf", "fields": {"depth": 3}}, "has no field 'depth'"),
        ({"name": "maf", "fields": {"layers": "3"}}, "`layers` 3: must be a whole number"),
        ({"name": "maf", "fields": {"layers": True}}, "`layers` True: must be a whole number"),
        (
            {"name": "maf", "fields": {"hidden": 3}},
            "`hidden` 3: must be 1 or more whole numbers, .* such as",
        ),
    ],
)
def test_refuses_recipes_that_are_none(described, words):
    with pytest.raises(InputError, match=words):
        rebuild(described)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, RECIPE.build((2,)), RECIPE)
    return path


def rewrite(path, metadata=None, tensors=None):
    """The file with some of its metadata or tensors changed; None takes a tensor out."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        found = json.loads(file.metadata()["caudal"])
    state = {**load_file(path), **(tensors or {})}
    state = {name: t for name, t in state.items() if t is not None}
    save_file(state, path, {"caudal": json.dumps({**found, **(metadata or {})})})


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_refuses_a_missing_path(tmp_path):
    refused(tmp_path / "nowhere", "no such run folder or model file")
    refused(tmp_path, r"no model\.safetensors in this folder")


@pytest.mark.parametrize("content", [b"", b"not this", b"\xff" * 100])
def test_refuses_what_is_no_safetensors_file(content, model):
    model.write_bytes(content)
    refused(model, "not a safetensors file, or damaged")


def test_refuses_a_truncated_file(model):
    model.write_bytes(model.read_bytes()[:-10])
    refused(model, "not a safetensors file, or damaged")


def test_refuses_weights_of_other_programs(model):
    save_file(load_file(model), model)
    refused(model, "not of a flow that caudal saved")
    save_file(load_file(model), model, {"caudal": "{"})
    refused(model, "not of a flow that caudal saved")


def test_refuses_a_newer_format(model):
    rewrite(model, {"format": 99, "version": "9.9"})
    refused(model, r"format 99 of caudal 9\.9, newer")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"recipe": {"name": "nope"}}, "unknown recipe 'nope'"),
        ({"recipe": {"name": "maf", "fields": {"layers": -1}}}, "layers. -1"),
        ({"recipe": {"name": "maf", "fields": {"hidden": [-5]}}}, "cannot be built"),
        ({"event_shape": [2, 2]}, "models vectors"),
        ({"event_shape": None}, "cannot be built"),
        ({"dtype": "load"}, "'load' is missing"),
        ({"schema": {"columns": [{"nonsense": 1}], "context": []}}, "cannot be built"),
    ],
)
def test_refuses_metadata_that_make_no_flow(metadata, words, model):
    rewrite(model, metadata)
    refused(model, words)


def test_refuses_tensors_that_do_not_fit(model):
    name = next(n for n, t in load_file(model).items() if t.ndim > 1)
    whole = load_file(model)[name]
    rewrite(model, tensors={name: None})
    refused(model, f"lacks 1 tensors, '{name}' first")
    rewrite(model, tensors={name: whole, "more": torch.ones(1)})
    refused(model, "has unexpected 1 tensors, 'more' first")
    rewrite(model, tensors={"more": None, name: torch.ones(7, 7)})
    refused(model, rf"'{name}' has shape \(7, 7\), not")
    rewrite(model, tensors={name: whole.clone().fill_(torch.nan)})
    refused(model, f"'{name}' has values that are not finite")


def test_a_save_that_fails_leaves_the_old_file(model):
    before = model.read_bytes()
    with pytest.raises(TypeError):
        save_model(model, RECIPE.build((2,)), RECIPE, extra={"bad": object()})
    assert model.read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == [model.name]
