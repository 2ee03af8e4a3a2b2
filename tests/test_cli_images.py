"""Images on the command line: every command end to end, and every refusal in one line."""

import json
import re
import shlex
import shutil
from copy import deepcopy
from importlib import import_module

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import torch
import yaml
from PIL import Image

from caudal.cli.train import read_options
from caudal.data import open_images, write_grid
from caudal.modality import assemble, modality
from caudal.model.finishing import command_of
from caudal.nets.spectral import Spectral
from caudal.recipes import RECIPES, Glow
from caudal.recipes.presets import PRESETS
from caudal.training.checkpoint import load, load_model
from caudal.training.options import Training
from caudal.training.run import Run, write_config
from command_line import (
    TINY,
    caudal,
    class_run,
    image_run,
    people_csv,
    people_run,
    refused,
    shapes,
    shapes_file,
    shapes_folder,
)
from image_files import fill, fill_idx, pixels, save

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(path):
    """Format, mode, width and height of a picture."""
    with Image.open(path) as image:
        return image.format, image.mode, *image.size


def files_of(folder):
    return {path.name for path in folder.iterdir()}


# --- train -----------------------------------------------------------------------------------


def test_train_leaves_a_complete_run_behind():
    out = image_run()
    assert files_of(out) == {
        "config.yaml", "model.safetensors", "state.safetensors", "metrics.jsonl", "eval.json",
        "gaussian.safetensors", "README.md", "report.html", "pictures",
    }  # fmt: skip
    assert "samples.png" in files_of(out / "pictures")
    # The 1st, 2nd and 4th validation, and the last one.
    steps = {"step-000002.png", "step-000004.png", "step-000005.png"}
    assert files_of(out / "pictures" / "training") == steps
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"caudal train glow --data {shapes_file()}" in page
    found = json.loads((out / "eval.json").read_text())
    assert (found["unit"], found["elements"], found["split"]) == ("bits/dim", 64, "test")


def test_train_says_what_it_found_and_what_comes_next(capsys, tmp_path):
    out = tmp_path / "run"
    words = ("--data", shapes_folder(), "--context", "class", "--no-report", "--out", out)
    assert caudal("train", "glow", *words, *TINY) == 0
    said, progress = capsys.readouterr()
    assert "8x8 gray images, 8 bits a pixel; pixels x in [0, 1] as logit(0.001" in said
    assert re.search(r"given the class, of 2: bar \d+, square \d+", said)
    assert re.search(r"\d+ training, \d+ validation, \d+ test images", said)
    assert re.search(r"flow +\d\.\d{4} ± \d\.\d{4} +lower bound \(uniform dequantisation\)", said)
    assert re.search(r"Gaussian +[\d,]+\.\d{4}", said)
    assert f"caudal interpolate {out} --out manifold.png" in said
    assert re.search(r"step 5/5 .* nats \(\d\.\d+ bits/dim\)", progress)
    assert not (out / "pictures").exists()


def test_idx_folder_and_other_recipes(capsys, tmp_path):
    images = shapes()[0][..., 0]
    data = fill_idx(tmp_path / "idx", "train", images, np.arange(60, dtype=np.uint8) % 3)
    sizes = {
        "nice": ["--hidden", 8, "--layers", 2],
        "realnvp": ["--maps", 2, "--blocks", 1, "--dequantization", "variational"],
        "nsf-image": ["--maps", 4, "--layers", 1, "--blocks", 1],
        "maf": ["--hidden", 8, "--layers", 1, "--pixels", "unit", "--bits", 3],
    }
    pixels_of = {"nice": "white", "realnvp": "logit", "nsf-image": "logit", "maf": "unit"}
    for name, size in sizes.items():
        out = tmp_path / name
        words = ("--data", data, "--steps", 3, "--batch-size", 16, "--no-report", "--out", out)
        assert caudal("train", name, *words, *size) == 0
        schema = load_model(out).schema
        assert schema.pixels == pixels_of[name]
    said = capsys.readouterr().out
    assert "variational dequantisation" in said
    assert "maf takes images as vectors" in said
    assert (
        said.count("in equal minutes tarflow comes to fewer bits/dim") == 2
    )  # than nice, realnvp
    assert schema.bits == 3
    assert caudal("sample", tmp_path / "maf", "-n", 3, "--out", tmp_path / "few.npy") == 0
    values = np.unique(np.load(tmp_path / "few.npy"))
    assert set(values) <= {round(255 * v / 7) for v in range(8)}


def test_config_repeats_the_run_and_names_what_was_resolved(tmp_path):
    config = image_run() / "config.yaml"
    first = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert first["pixels"] == "logit"
    assert not {"columns", "types", "missing"} & first.keys()
    assert caudal("train", "--config", config, "--out", tmp_path / "again", "--no-report") == 0
    runs = [Run(path).metrics() for path in (image_run(), tmp_path / "again")]
    assert [m["train"] for m in runs[0]] == [m["train"] for m in runs[1]]
    again = yaml.safe_load((tmp_path / "again/config.yaml").read_text(encoding="utf-8"))
    assert again == {**first, "report": False}
    words = shlex.split(command_of(first, modality("images"), tmp_path))[2:]
    assert read_options(words)[1].data.pixels == "logit"
    assert "flips" in first
    table = yaml.safe_load((people_run() / "config.yaml").read_text(encoding="utf-8"))
    assert "crop" not in table


def test_a_resumed_run_is_bit_for_bit_the_whole_one(tmp_path):
    recipe, size = "realnvp", ["--scales", 1, "--blocks", 1]
    more = ("--flips", "--ema", 0.9, "--validate-every", 4, "--batch-size", 16, "--maps", 3)
    data = ("--data", shapes_file(), "--crop", 6, "--resize", 4, 4, *size, "--no-cosine")
    broken = tmp_path / "broken"
    words = (recipe, *data, *more, "--steps", 6, "--out", broken, "--no-report", "--warmup", 0)
    assert caudal("train", recipe, *words[1:]) == 0
    again = ("--resume", "--out", broken, "--steps", 12, "--warmup", 0)
    # The same twelve steps in one go, without pictures and without a break.
    straight = tmp_path / "straight"
    words = (*data, *more, "--steps", 12, "--warmup", 0, "--no-report", "--out", straight)
    assert caudal("train", recipe, *words) == 0
    assert caudal("train", *again) == 0
    one, two = (load(path).state_dict() for path in (straight, broken))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_pictures_on_the_way_change_nothing(tmp_path):
    words = ("--data", shapes_file(), "--scales", 2, "--validate-every", 2, "--no-report")
    assert caudal("train", "glow", *words, *TINY, "--out", tmp_path / "run") == 0
    with_pictures, without = (load(path).state_dict() for path in (image_run(), tmp_path / "run"))
    assert all(torch.equal(with_pictures[name], without[name]) for name in without)


def test_a_folder_with_a_corrupt_image_is_refused_or_goes_on_without_it(capsys, tmp_path):
    data = fill(tmp_path / "data", shapes()[0])
    (data / "7.png").write_bytes((data / "7.png").read_bytes()[:50])
    words = ("train", "glow", "--data", data, "--no-report", "--out", tmp_path / "run", *TINY)
    said = refused(capsys, *words)
    assert "7.png" in said
    assert "--corrupt skip" in said
    assert caudal(*words, "--corrupt", "skip") == 0
    assert "note: skipped " in capsys.readouterr().out
    assert caudal("eval", tmp_path / "run", "--limit", 2) == 0
    assert "changed since" not in capsys.readouterr().out
    out = tmp_path / "m.png"
    assert caudal("interpolate", tmp_path / "run", "--out", out) == 0


def test_digits_are_images_to_recipes_of_images(capsys, tmp_path):
    words = ("--data", "digits", "--context", "class", "--no-report", "--out", tmp_path / "run")
    assert caudal("train", "glow", *words, *TINY) == 0
    assert "8x8 gray images, 4 bits a pixel" in capsys.readouterr().out
    made = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert (made["data"], made["bits"]) == ("digits", 4)
    assert caudal("eval", tmp_path / "run", "--limit", 20) == 0
    assert "changed since" not in capsys.readouterr().out
    assert caudal("interpolate", tmp_path / "run", "--out", tmp_path / "m.png") == 0
    assert len(set(re.findall(r"\(class (\d)\)", capsys.readouterr().out))) == 4


# --- presets ---------------------------------------------------------------------------------

OF_IMAGES = [
    (r, p) for r in PRESETS for p in PRESETS[r] if PRESETS[r][p].size.endswith(("gray", "RGB"))
]


@pytest.mark.parametrize(("name", "preset"), OF_IMAGES)
def test_a_preset_sets_what_is_not_typed(name, preset):
    stated = PRESETS[name][preset]
    start = [name, "--data", str(shapes_folder()), "--preset", preset]
    _, made = read_options([*start, "--seed", "3"])
    assert made.recipe == RECIPES[name](**stated.fields)
    assert made.training == Training(seed=3, **stated.training)
    options = {option: getattr(made.data, option) for option in stated.options}
    assert options == dict(stated.options)
    assert stated.values == {**stated.fields, **stated.training, **stated.options}
    _, made = read_options([*start, "--batch-size", "7", "--bits", "2"])
    assert (made.training.batch_size, made.data.bits) == (7, 2)


def test_a_preset_is_between_config_and_words(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("recipe: glow\ndata: x\nlayers: 2\nbits: 4\ncoupling: additive\nlr: 0.5\n")
    words = ["--config", str(config), "--preset", "cifar10", "--lr", "0.25"]
    _, made = read_options(words)
    assert (made.recipe.layers, made.recipe.coupling) == (32, "gated")
    assert (made.data.bits, made.training.lr) == (4, 0.25)


@pytest.mark.parametrize(("name", "preset"), OF_IMAGES)
def test_parameters_of_presets_are_as_stated(name, preset, monkeypatch):
    for draw in ("kaiming_normal_", "kaiming_uniform_", "normal_"):  # they take long
        monkeypatch.setattr(torch.nn.init, draw, lambda weight, *_, **__: weight)
    monkeypatch.setattr(Spectral, "tighten", lambda layer: None)
    stated = PRESETS[name][preset]
    recipe = RECIPES[name](**stated.fields)
    size, colours = stated.size.split()
    shape = (1 if colours == "gray" else 3, *map(int, size.split("x")))
    flow = recipe.build(shape if recipe.images else (np.prod(shape).item(),))
    assert sum(p.numel() for p in flow.parameters()) == stated.parameters


def test_a_preset_trains(tmp_path):
    words = ("--preset", "cifar10", "--data", shapes_file(), "--no-report", *TINY)
    out = tmp_path / "run"
    assert caudal("train", "glow", *words, "--scales", 1, "--out", out) == 0
    made = yaml.safe_load((out / "config.yaml").read_text())
    assert (made["warmup"], made["layers"], made["pixels"]) == (980, 1, "centred")
    assert "preset" not in made


def test_help_and_recipes_list_the_presets(capsys):
    assert caudal("train", "glow", "--help") == 0
    said = capsys.readouterr().out
    assert "celeba-hq" in said
    assert "43,954,512 parameters" in said
    groups = ["data options", "recipe options", "training options"]
    assert [said.index(g) for g in groups] == sorted(said.index(g) for g in groups)
    assert caudal("recipes") == 0
    assert "110,883,984" in capsys.readouterr().out


# --- eval, score, sample, interpolate --------------------------------------------------------


def test_eval_repeats_what_train_found(capsys, tmp_path):
    before = (image_run() / "eval.json").read_text()
    capsys.readouterr()
    assert caudal("eval", image_run(), "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(before)
    assert (image_run() / "eval.json").read_text() == before
    assert caudal("eval", image_run(), "--draws", 3, "--limit", 4) == 0
    said = capsys.readouterr().out
    assert "bits/dim of 4 test images" in said
    assert "importance weights of 3 draws" in said
    assert caudal("eval", image_run(), "--data", shapes_folder()) == 0
    assert f"60 {shapes_folder()} images" in capsys.readouterr().out


def test_score_writes_names_and_bits(capsys, tmp_path):
    out = tmp_path / "scored.csv"
    assert caudal("score", image_run(), "--data", shapes_folder(), "--out", out) == 0
    table = pa_csv.read_csv(out)
    assert table.column_names == ["image", "log_prob", "log_prob_se", "bits_per_dim"]
    assert table.num_rows == 60
    assert (table["log_prob_se"].to_numpy() > 0).all()
    assert set(table["image"].to_pylist()) >= {"bar/1.png", "square/2.png"}
    nats, bits = (table[name].to_numpy() for name in ("log_prob", "bits_per_dim"))
    np.testing.assert_allclose(bits, -nats / (64 * np.log(2)), rtol=1e-5)
    said = capsys.readouterr().out
    assert "60 images with log_prob (lower bound, nats)" in said
    assert table["image"][int(nats.argmin())].as_py() in said
    words = (class_run(), "--data", shapes_folder(), "--out", tmp_path / "with.csv", "--json")
    capsys.readouterr()
    assert caudal("score", *words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 60
    table = pa_csv.read_csv(tmp_path / "with.csv")
    assert table.column_names == ["image", "class", "log_prob", "log_prob_se", "bits_per_dim"]
    for name, kind in zip(table["image"].to_pylist(), table["class"].to_pylist(), strict=True):
        assert name.startswith(f"{kind}/")


def test_scores_are_those_of_the_evaluation(capsys, tmp_path):
    images, labels = shapes()
    test = tmp_path / "test.npy"
    np.save(test, images[:10])
    words = ("--data", test, "--out", tmp_path / "s.csv", "--draws", 1)
    assert caudal("score", image_run(), *words) == 0
    mean = pa_csv.read_csv(tmp_path / "s.csv")["bits_per_dim"].to_numpy().mean()
    capsys.readouterr()
    assert caudal("eval", image_run(), "--data", test, "--json") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_dim"] == pytest.approx(mean, abs=1e-6)


def test_sample_writes_every_form(capsys, tmp_path):
    def draw(run, name, *more):
        assert caudal("sample", run, "--out", tmp_path / name, "-n", 6, *more) == 0
        return tmp_path / name

    sheet, cold = (
        draw(image_run(), name, *more)
        for name, more in (("a.png", []), ("b.png", ["--temperature", 0.5]))
    )
    assert picture(cold)[3] > picture(sheet)[3]  # the line that says so
    assert "at temperature 0.5 these are no samples" in capsys.readouterr().out
    columns, alike = draw(class_run(), "columns.png"), tmp_path / "alike.png"
    drawn = np.load(draw(class_run(), "columns.npz"))["images"]
    write_grid(alike, drawn, across=2, label="columns: bar, square")
    assert columns.read_bytes() == alike.read_bytes()
    again = draw(image_run(), "again.png")
    assert again.read_bytes() == sheet.read_bytes()
    assert np.load(draw(image_run(), "c.npy")).shape == (6, 8, 8, 1)
    found = np.load(draw(class_run(), "d.npz", "--given", "class=square"))
    assert found["labels"].tolist() == ["square"] * 6
    in_turn = draw(class_run(), "folder")
    assert {path.name: len(list(path.iterdir())) for path in in_turn.iterdir()} == {
        "bar": 3, "square": 3,
    }  # fmt: skip
    (tmp_path / "given.csv").write_text("class\nsquare\nsquare\nbar\n")
    out = tmp_path / "e.npz"
    given = ("--context-file", tmp_path / "given.csv")
    assert caudal("sample", class_run(), *given, "--out", out) == 0
    assert np.load(out)["labels"].tolist() == ["square", "square", "bar"]


def test_interpolate_gives_the_four_back(capsys, tmp_path):
    out = tmp_path / "m.png"
    assert caudal("interpolate", class_run(), "--out", out, "-n", 4) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"test image \d+ \(class (?:bar|square)\)", said)) == 4
    assert {"bar", "square"} == set(re.findall(r"\(class (\w+)\)", said))
    assert "came back as they were" in said
    first = out.read_bytes()
    assert picture(out)[2] > 100
    assert caudal("interpolate", class_run(), "--out", out, "-n", 4, "--overwrite") == 0
    assert out.read_bytes() == first


def test_interpolate_knows_classes_that_the_flow_does_not(capsys, tmp_path):
    out, run = tmp_path / "m.jpg", image_run()
    capsys.readouterr()
    assert caudal("interpolate", run, "--out", out, "--json", "--seed", 1) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["corner_error"] == 0
    assert {"0", "1"} == {re.search(r"class (\d)", text)[1] for text in found["corners"]}
    words = ("--data", shapes_folder(), "--rows", 1, 2, 3, 4, "--out", tmp_path / "n.webp")
    assert caudal("interpolate", image_run(), *words) == 0
    assert picture(tmp_path / "n.webp")[0] == "WEBP"


def test_interpolate_takes_the_built_in_digits(capsys, tmp_path):
    words = ("--context", "digit", "--layers", 2, "--hidden", 8, "--steps", 5, "--no-report")
    run = tmp_path / "digits"
    assert caudal("train", "realnvp", "--data", "digits", *words, "--out", run) == 0
    assert caudal("interpolate", run, "--out", tmp_path / "d.png") == 0
    said = capsys.readouterr().out
    assert len(set(re.findall(r"\(class (\d)\)", said))) == 4
    assert picture(tmp_path / "d.png")[1] == "L"


# --- labels, metadata and patterns -------------------------------------------------------------


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A folder of images whose names say what they are, and a table that says it too."""
    folder = tmp_path_factory.mktemp("named")
    images, kinds = shapes(60)
    names = [f"{kind}_{index}.png" for index, kind in enumerate(kinds)]
    for name, image in zip(names, images, strict=True):
        save(image, folder / "images" / name)
    rows = (
        f"{name},{'flat' if kind == 'bar' else 'box'}"
        for name, kind in zip(names, kinds, strict=True)
    )
    (folder / "shapes.csv").write_text("\n".join(["file,shape", *rows]) + "\n")
    return folder


LABELS = {
    "labels": (["--labels", "{kind}_{index}", "--context", "kind"], "kind", "square"),
    "metadata": (["--metadata", "TABLE", "--context", "shape"], "shape", "box"),
}


@pytest.mark.parametrize("source", LABELS)
def test_a_context_comes_from_names_or_a_table(source, named, capsys, tmp_path):
    words, column, value = LABELS[source]
    words = [named / "shapes.csv" if word == "TABLE" else word for word in words]
    data, run = named / "images", tmp_path / "run"
    parts = ("--valid", "*_1?.png", "--test", "*_2?.png", "--no-report", "--out", run)
    assert caudal("train", "glow", "--data", data, *words, *parts, *TINY) == 0
    text = capsys.readouterr().out
    assert "40 training, 10 validation, 10 test images" in text
    assert re.search(rf"given the {column}, of 2: \w+ 20, \w+ 20", text)
    assert caudal("eval", run, "--json") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["rows"] == 10
    assert "changed since" not in err
    assert result == json.loads((run / "eval.json").read_text())
    assert caudal("sample", run, "-n", 4, "--given", f"{column}={value}", *_to(tmp_path)) == 0
    assert np.load(tmp_path / "x.npz")["labels"].tolist() == [value] * 4
    assert caudal("score", run, "--data", data, "--out", tmp_path / "s.csv") == 0
    table = pa_csv.read_csv(tmp_path / "s.csv")
    assert table.column_names == ["image", column, "log_prob", "log_prob_se", "bits_per_dim"]
    for name, kind in zip(table["image"].to_pylist(), table[column].to_pylist(), strict=True):
        assert (kind == value) == name.startswith("square_")
    assert table.num_rows == 60


def _to(folder):
    return "--out", folder / "x.npz"


def test_a_pattern_that_nothing_fits_is_refused(named, capsys, tmp_path):
    words = ("--data", named / "images", "--test", "none*", "--out", tmp_path / "run", *TINY)
    assert "--test none*: no file fits it" in refused(capsys, "train", "glow", *words)


def test_the_command_trains_the_flow_that_its_parts_make(tmp_path, monkeypatch):
    training, seen = import_module("caudal.model.training"), {}
    fit = training.fit

    def watched(flow, train, *rest, **options):
        seen.update(flow=deepcopy(flow), x=train.x)
        return fit(flow, train, *rest, **options)

    monkeypatch.setattr(training, "fit", watched)
    words = ("--data", shapes_folder(), "--scales", 1, "--seed", 5, "--no-report", *TINY)
    assert caudal("train", "glow", *words, "--out", tmp_path / "run") == 0
    recipe = Glow(scales=1, layers=1, maps=4)
    dataset = open_images(shapes_folder(), pixels=recipe.pixels)
    assert dataset.schema == load_model(tmp_path / "run").schema
    assert torch.equal(dataset.train.x, seen["x"])
    torch.manual_seed(5)
    flow = assemble(recipe, dataset.schema)
    assert flow.state_dict().keys() == load(tmp_path / "run").state_dict().keys()
    scores = []
    for each in (flow, seen["flow"]):
        torch.manual_seed(0)
        scores.append(each.eval().log_prob(dataset.train.x[:8].to(flow.base.like)))
    assert torch.equal(*scores)


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["glow", "--data", "nowhere/"], "nowhere"),
        (["glow", "--data", "EMPTY"], "empty"),
        (
            ["glow", "--data", "SHAPES", "--context", "foo"],
            "shapes has no such label; there are class",
        ),
        (
            ["glow", "--data", "SHAPES", "--resize", "0"],
            "--resize 0: must be whole numbers, at least 1 each;",
        ),
        (["glow", "--data", "SHAPES", "--crop", "9"], "smaller than --crop 9"),
        (
            ["glow", "--data", "SHAPES", "--bits", "9"],
            "--bits 9: must be a whole number from 1 to 8",
        ),
        (
            ["glow", "--data", "SHAPES", "--alpha", "0.5"],
            "--alpha 0.5: must be a number between 0 and 0.5",
        ),
        (["glow", "--data", "SHAPES", "--pixels", "raw"], "choose one of"),
        (["glow", "--data", "SHAPES", "--scales", "4"], "multiples of 16: 8x8 will not do"),
        (["glow", "--data", "SHAPES", "--resize", "7"], "multiples of 2: 7x7 will not do"),
        (["realnvp", "--data", "SHAPES", "--scales", "5"], "recipe realnvp: realnvp halves"),
        (["glow", "--data", "SHAPES", "--columns", "a"], "no option --columns"),
        (["glow", "--data", "SHAPES", "--types", "a=real"], "no option --types"),
        (["glow", "--data", "SHAPES", "--missing", "drop"], "no option --missing"),
        (["maf", "--data", "PEOPLE", "--crop", "8"], "no option --crop"),
        (["maf", "--data", "PEOPLE", "--bits", "5"], "no option --bits"),
        (["maf", "--data", "PEOPLE", "--corrupt", "skip"], "no option --corrupt"),
        (["maf", "--data", "PEOPLE", "--flips"], "--flips mirrors images"),
        (
            ["realnvp", "--data", "PEOPLE", "--preset", "cifar10"],
            "--preset cifar10 sets pixels, alpha, which rows of a table do not have",
        ),
        (["glow", "--data", "shots", "--crop", "8"], "no file and no built-in data 'shots'"),
        (["glow", "--data", "moons"], "moons has rows of a table, which glow does not model"),
        (["glow", "--data", "SHAPES", "--preset", "cifra10"], "did you mean 'cifar10'"),
        (["maf", "--data", "SHAPES", "--preset", "cifar10"], "maf has no presets"),
        (["glow", "--data", "hf:"], "hf:"),
    ],
)
def test_train_refuses_in_one_line(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    paths = {"SHAPES": shapes_folder(), "PEOPLE": people_csv(), "EMPTY": "empty"}
    words = [paths.get(word, word) for word in words]
    assert expected in refused(capsys, "train", *words)
    assert files_of(tmp_path) == {"empty"}


RUNS = {"IMAGES": image_run, "TABLE": people_run, "CLASSES": class_run}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sample", "IMAGES", "--out", "x.csv"], "cannot write '.csv' files"),
        (["sample", "TABLE", "--out", "x.png"], "cannot write '.png' files"),
        (["sample", "IMAGES", "--out", "x.png", "--exact", "TABLE"], "no option --exact"),
        (["sample", "IMAGES", "--out", "x.png", "--given", "class=a"], "is not conditional"),
        (["sample", "CLASSES", "--out", "x.png", "--given", "class=a"], "unknown category 'a'"),
        (["sample", "CLASSES", "--out", "x.png", "--given", "kind=a"], "no such column"),
        (["sample", "IMAGES", "--out", "taken.png"], "taken.png exists: give --overwrite"),
        (["sample", "IMAGES", "--out", "full"], "full is there already"),
        (["score", "IMAGES", "--data", "PEOPLE", "--out", "x.csv"], "people.csv"),
        (["score", "IMAGES", "--data", "SMALL", "--out", "x.csv"], "is 6x5 gray, the run models"),
        (["score", "IMAGES", "--data", "RGB", "--out", "x.csv"], "is 8x8 RGB, the run models 8x8"),
        (["score", "IMAGES", "--data", "SHAPES", "--out", "x.png"], "cannot write '.png'"),
        (["score", "TABLE", "--data", "SHAPES", "--out", "x.csv"], "is a folder: give a table"),
        (
            ["score", "TABLE", "--data", "PEOPLE", "--out", "x.csv", "--crop", "4"],
            "no option --crop",
        ),
        (
            ["score", "CLASSES", "--data", "SMALL", "--out", "x.csv", "--resize", "8"],
            "small has no such label; there are none",
        ),
        (["eval", "IMAGES", "--draws", "0"], "--draws 0: must be a whole number, at least 1"),
        (["eval", "IMAGES", "--data", "SMALL"], "give --resize 8"),
        (["eval", "IMAGES", "--data", "nowhere"], "nowhere"),
        (["distill", "IMAGES", "--out", "x"], "glow samples in one pass already"),
        (
            ["interpolate", "TABLE", "--out", "x.png"],
            "models rows of a table, and interpolate draws",
        ),
        (["interpolate", "IMAGES", "--out", "x.csv"], "x.csv: a picture is one of .png"),
        (["interpolate", "IMAGES", "--out", "taken.png"], "taken.png exists"),
        (
            ["interpolate", "IMAGES", "--out", "x.png", "-n", "1"],
            "-n 1: must be a whole number, at least 2",
        ),
        (["interpolate", "IMAGES", "--out", "x.png", "--rows", "1", "2", "3", "99"], "--rows 99"),
        (
            ["interpolate", "IMAGES", "--out", "x.png", "--rows", "1"],
            "--rows 1: give four numbers",
        ),
        (["interpolate", "nowhere", "--out", "x.png"], "no such run folder"),
    ],
)
def test_others_refuse_in_one_line(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.png").write_bytes(b"mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    data = {
        "SHAPES": shapes_folder,
        "PEOPLE": people_csv,
        "SMALL": lambda: fill(tmp_path / "small", pixels(3)),
        "RGB": lambda: fill(tmp_path / "rgb", pixels(3, 8, 8, 3)),
    }
    makers = {**RUNS, **data}
    words = [makers[word]() if word in makers else word for word in words]
    before = files_of(tmp_path)
    assert expected in refused(capsys, *words)
    assert files_of(tmp_path) == before


def test_a_damaged_model_is_refused(capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(image_run(), run)
    model = run / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-64])
    for words in (["eval", run], ["sample", run, "--out", tmp_path / "x.png"]):
        assert "not a safetensors file, or damaged" in refused(capsys, *words)
    shutil.copy(image_run() / "model.safetensors", model)
    (run / "gaussian.safetensors").write_bytes(b"no")
    assert "gaussian.safetensors is damaged" in refused(capsys, "eval", run)


def test_a_baseline_of_other_images_is_refused(capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(image_run(), run)
    bits = ("--bits", "3", "--no-report", "--out", tmp_path / "other", *TINY)
    assert caudal("train", "glow", "--data", shapes_folder(), *bits) == 0
    shutil.copy(tmp_path / "other" / "gaussian.safetensors", run)
    said = refused(capsys, "eval", run)
    assert "gaussian.safetensors is of other data than the run's: remove it" in said


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("data", 7, "--data 7: must be a file, a folder or a name"),
        ("test", [1], "--test [1]: must be a file, a folder or a name"),
        ("resize", ["a"], "--resize a: must be whole numbers"),
        ("resize", "8 8", "--resize 8 8: must be whole numbers"),
        ("split", [0.5, 0.5], "--split 0.5 0.5: must be 3 numbers"),
        ("split_seed", "x", "--split-seed x: must be a whole number"),
        ("corrupt", None, "--corrupt None: must be one of refuse, skip"),
    ],
)
def test_a_config_edited_badly_is_refused(name, value, expected, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(image_run(), run)
    write_config(run, {**Run(run).read_config(), name: value})
    for words in (["eval", run], ["interpolate", run, "--out", tmp_path / "x.png"]):
        assert f"config.yaml: {expected}" in refused(capsys, *words)


def test_a_config_may_name_one_size(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(image_run(), run)
    write_config(run, {**Run(run).read_config(), "resize": 8})
    assert caudal("eval", run) == 0


def test_images_that_changed_or_are_gone_are_told(capsys, tmp_path):
    images, _ = shapes()
    data, run = tmp_path / "images.npy", tmp_path / "run"
    np.save(data, images)
    words = ("--data", data, "--no-report", "--out", run, *TINY)
    assert caudal("train", "glow", *words) == 0
    np.save(data, images[::-1])
    assert caudal("eval", run) == 0
    assert "images.npy changed since the run was trained" in capsys.readouterr().out
    np.save(data, images[:, :4])
    assert "is 4x8 gray, the run models 8x8 gray" in refused(capsys, "eval", run)
    data.unlink()
    said = refused(capsys, "eval", run)
    assert "images.npy" in said
    assert "give other images with --data" in said
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    assert caudal("sample", tmp_path / "alone.safetensors", "--out", tmp_path / "a.png") == 0
