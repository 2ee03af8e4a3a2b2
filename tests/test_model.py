"""One way in: what a command does, its Python call does, to the bit, for every kind of data."""

import json
import shutil

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
import soundfile
import torch

import caudal
from caudal.errors import InputError
from caudal.training.run import Run
from command_line import caudal as command
from command_line import folder, people, people_csv, people_run, shapes_folder

pytestmark = pytest.mark.usefixtures("one_thread", "timed_once", "few_vowels")

TABLE = {"layers": 2, "hidden": (8,), "steps": 6, "batch_size": 64}
IMAGES = {"layers": 1, "maps": 4, "scales": 2, "steps": 4, "batch_size": 16}
AUDIO = {"layers": 4, "cycle": 2, "channels": 4, "steps": 4, "batch_size": 4, "seconds": 0.05}
KINDS = {
    "table": ("realnvp", "PEOPLE", {**TABLE, "context": ("city",)}),
    "images": ("glow", "SHAPES", {**IMAGES, "context": ("class",)}),
    "audio": ("wavenet", "vowels", {**AUDIO, "context": ("vowel",), "validate_every": 2}),
}


def data_of(kind):
    data = KINDS[kind][1]
    return {"PEOPLE": str(people_csv()), "SHAPES": str(shapes_folder())}.get(data, data)


def words_of(options):
    words = []
    for name, value in options.items():
        many = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, many)]
    return words


_RUNS = {}


def runs(kind):
    """A run by the command line, and the model of the same call from Python."""
    if kind not in _RUNS:
        recipe, _, options = KINDS[kind]
        by_command, by_python = (folder() / f"{kind}-{way}" for way in ("command", "python"))
        data = data_of(kind)
        more = ["--no-report", "--out", by_command]
        assert command("train", recipe, "--data", data, *words_of(options), *more) == 0
        model = caudal.train(recipe, data, out=by_python, report=False, **options)
        _RUNS[kind] = by_command, model
    return _RUNS[kind]


def without_clock(records):
    return [
        {k: v for k, v in r.items() if k not in ("seconds", "rows_per_second")} for r in records
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_the_same(kind):
    run, model = runs(kind)
    assert without_clock(Run(run).metrics()) == without_clock(model.fitted.history)
    assert (run / "model.safetensors").read_bytes() == (
        model.folder / "model.safetensors"
    ).read_bytes()
    assert (run / "config.yaml").read_text() == (model.folder / "config.yaml").read_text()
    result = json.loads((run / "eval.json").read_text())
    assert result == json.loads((model.folder / "eval.json").read_text())
    assert result == model.evaluation.to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_the_same(kind, capsys):
    run, _ = runs(kind)
    model = caudal.load(run)
    capsys.readouterr()
    assert command("eval", run, "--seed", 3, "--limit", 5, "--draws", 2, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result == model.evaluate(seed=3, limit=5, draws=2).to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_same(kind, tmp_path):
    run, _ = runs(kind)
    data = data_of(kind)
    if kind == "audio":
        data = clips(tmp_path)
    out = tmp_path / "scored.csv"
    assert command("score", run, "--data", data, "--out", out) == 0
    column = pa_csv.read_csv(out)["log_prob"].to_numpy()
    found = caudal.load(run).log_prob(data)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(column, found)


def clips(path):
    """A folder of noises that are called by a vowel."""
    rng = np.random.default_rng(0)
    (path / "clips").mkdir()
    for vowel in "aei":
        wave = 0.1 * rng.standard_normal(1200)
        soundfile.write(path / "clips" / f"{vowel}.wav", wave, 8000)
    (path / "clips/metadata.csv").write_text("file,vowel\na,a\ne,e\ni,i\n")
    return path / "clips"


@pytest.mark.parametrize(
    ("kind", "out", "options"),
    [
        ("table", "s.csv", {"n": 20, "seed": 2, "given": ("city=Bari",)}),
        ("images", "s.npz", {"n": 6, "seed": 2, "temperature": 0.7}),
        ("audio", "s.npz", {"n": 2, "seed": 2, "seconds": 0.03}),
    ],
)
def test_samples_are_the_same(kind, out, options, tmp_path):
    run, model = runs(kind)
    words = words_of({("-n" if k == "n" else k): v for k, v in options.items()})
    words = [word.replace("---n", "-n") for word in words]
    assert command("sample", run, "--out", tmp_path / out, *words) == 0
    samples = caudal.load(run).sample(**options)
    again = model.sample(**options)
    if kind == "table":
        pa_csv.write_csv(samples, tmp_path / "python.csv")
        assert pa_csv.read_csv(tmp_path / out) == pa_csv.read_csv(tmp_path / "python.csv")
        assert samples == again
        assert set(samples["city"].to_pylist()) == {"Bari"}
    elif kind == "images":
        np.testing.assert_array_equal(np.load(tmp_path / out)["images"], samples)
        np.testing.assert_array_equal(samples, again)
    else:
        file = np.load(tmp_path / out)
        waves = np.stack([sound.samples[:, 0] for sound in samples])
        np.testing.assert_array_equal(file["audio"] / 2**15, waves)
        assert samples[0].rate == file["rate"] == 8000


def test_a_student_is_the_same(tmp_path):
    data = str(people_csv())
    options = {"layers": 1, "hidden": (6,), "steps": 4, "batch_size": 64, "report": False}
    teacher = caudal.train(
        "maf", data, out=tmp_path / "maf", columns=("height", "income"), **options
    )
    few = {"steps": 3, "batch_size": 50, "pool": 200, "hidden": (6,)}
    words = [*words_of(few), "--no-report", "--out", tmp_path / "command"]
    assert command("distill", tmp_path / "maf", *words) == 0
    student = teacher.distill(tmp_path / "python", report=False, **few)
    first, second = (
        json.loads((tmp_path / way / "compare.json").read_text()) for way in ("command", "python")
    )
    assert {k: v for k, v in first.items() if k != "speed"} == {
        k: v for k, v in second.items() if k != "speed"
    }
    assert (tmp_path / "command/model.safetensors").read_bytes() == (
        tmp_path / "python/model.safetensors"
    ).read_bytes()
    assert student.recipe.name == "iaf"
    assert student.sample(3).num_rows == 3


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_tables_come_back_as_they_went_in(kind):
    table = people()
    given = {"pandas": table.to_pandas, "polars": lambda: pl.from_arrow(table)}.get(kind)
    data = table if given is None else given()
    model = caudal.train("realnvp", data, context=["city"], **TABLE)
    samples = model.sample(7, given={"city": "Cork"})
    assert type(samples) is type(data)
    assert list(samples.columns if kind != "pyarrow" else samples.column_names) == [
        *("age", "height", "city", "income")
    ]
    scores = model.log_prob(data)
    assert len(scores) == 400
    if kind == "pandas":
        assert isinstance(scores, pd.Series)
        assert scores.index.equals(data.index)
        assert samples["city"].tolist() == ["Cork"] * 7
    same = caudal.train("realnvp", str(people_csv()), context=["city"], **TABLE)
    np.testing.assert_array_equal(np.asarray(scores), same.log_prob(table))


def test_arrays_and_tensors():
    x = np.random.default_rng(0).normal(size=(300, 3)) * [1, 10, 100] + 1000
    model = caudal.train("maf", x, layers=1, hidden=(8,), steps=20, batch_size=64)
    samples = model.sample(50)
    assert isinstance(samples, np.ndarray)
    assert samples.shape == (50, 3)
    assert model.log_prob(x).shape == (300,)
    tensor = torch.from_numpy(x)
    assert isinstance(
        caudal.train("maf", tensor, layers=1, steps=2, batch_size=100).sample(2), torch.Tensor
    )
    images = (np.random.default_rng(0).random((80, 8, 8)) * 255).astype(np.uint8)
    model = caudal.train("glow", images, **IMAGES)
    assert model.sample(3).shape == (3, 8, 8, 1)
    assert model.log_prob(images).shape == (80,)


def test_clips_from_python():
    rng = np.random.default_rng(0)
    sounds = [(0.1 * rng.standard_normal(900).astype(np.float32), 8000) for _ in range(40)]
    model = caudal.train("wavenet", sounds, **{**AUDIO, "context": ("none",)})
    copies = model.sample(2, seconds=0.02)
    assert [len(sound.samples) for sound in copies] == [160, 160]
    assert model.log_prob(sounds[:3]).shape == (3,)


def test_a_model_is_saved_and_loaded(tmp_path):
    model = caudal.train("realnvp", people(), **TABLE)
    assert model.folder is None
    model.save(tmp_path / "run")
    again = caudal.load(tmp_path / "run")
    np.testing.assert_array_equal(again.log_prob(people()), model.log_prob(people()))
    with pytest.raises(caudal.InputError, match="holds a run"):
        model.save(tmp_path / "run")
    with pytest.raises(caudal.InputError, match="does not say which it was trained on"):
        again.evaluate()
    assert again.evaluate(people()).rows == 400
    assert "realnvp" in repr(again)


def test_what_does_not_exist_is_named():
    with pytest.raises(caudal.InputError, match="`colums`: no such option.*'columns'"):
        caudal.train("nsf", people(), colums=["age"])
    with pytest.raises(caudal.InputError, match="no recipe 'nfs'; did you mean 'nsf'"):
        caudal.train("nfs", people())
    _, model = runs("table")
    with pytest.raises(caudal.InputError, match="`mel_of`: no such option for rows of a table"):
        model.sample(3, mel_of="x.wav")
    with pytest.raises(caudal.InputError, match="`n` 0: must be a whole number, at least 1"):
        model.sample(0)


def test_a_flow_of_tensors_is_loaded_too(tmp_path):
    recipe = caudal.recipes.NICE(hidden=(8,))
    flow = recipe.build((2,))
    training = caudal.Training(steps=3, batch_size=32)
    caudal.fit(flow, torch.randn(100, 2), training=training, out=caudal.Run(tmp_path, recipe))
    model = caudal.load(tmp_path)
    x = torch.randn(5, 2)
    assert torch.equal(model.flow.log_prob(x), flow.log_prob(x))
    assert model.sample(3).shape == (3, 2)
    with pytest.raises(caudal.InputError, match="holds no data"):
        model.evaluate()


def brief(**options):
    """A model of the people, in memory."""
    return caudal.train("realnvp", str(people_csv()), steps=2, batch_size=50, **options)


def test_saving_over_another_run_leaves_nothing_of_it(tmp_path):
    out = shutil.copytree(people_run(), tmp_path / "run")
    (out / "notes.txt").write_text("the user's own")
    model = brief()
    model.save(out, overwrite=True)
    names = {path.name for path in out.iterdir()}
    own = {"README.md", "config.yaml", "model.safetensors", "metrics.jsonl"}
    assert names == {"notes.txt", *own}
    assert Run(out).metrics() == model.fitted.history
    metadata = caudal.load(out).metadata
    assert metadata["step"] == model.fitted.best_step
    assert metadata["data"].keys() == {"train", "validation"}


def test_saving_over_itself_keeps_its_numbers(tmp_path):
    out = shutil.copytree(people_run(), tmp_path / "run")
    before = {path.name for path in out.iterdir()}
    caudal.load(out).save(out, overwrite=True)
    assert {path.name for path in out.iterdir()} == before


def test_a_saved_model_notices_that_its_data_changed(tmp_path):
    path = tmp_path / "people.csv"
    lines = people_csv().read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines), encoding="utf-8")
    caudal.train("realnvp", str(path), steps=2, batch_size=50).save(tmp_path / "run")
    assert not caudal.load(tmp_path / "run").dataset.notes
    path.write_text("".join(lines[:-9]), encoding="utf-8")
    assert "changed since" in caudal.load(tmp_path / "run").dataset.notes[-1]


def test_log_prob_does_not_mind_a_column_of_its_name():
    model, table = caudal.load(people_run()), people(5)
    scores = model.log_prob(table)
    again = model.log_prob(table.append_column("log_prob", pa.array(scores)))
    assert list(again) == list(scores)


@pytest.mark.parametrize("call", ["log_prob", "evaluate", "sample"])
def test_seeds_out_of_range_are_refused(call):
    model = caudal.load(people_run())
    arguments = {"log_prob": (people(5),)}.get(call, ())
    with pytest.raises(InputError, match="must be a whole number from"):
        getattr(model, call)(*arguments, seed=2**63)


def test_evaluate_names_an_option_that_does_not_exist():
    with pytest.raises(InputError, match="`croop`: no such option"):
        caudal.load(people_run()).evaluate(croop=8)


def test_resuming_another_recipe_is_refused(tmp_path):
    out = shutil.copytree(people_run(), tmp_path / "run")
    with pytest.raises(InputError, match="holds a run of realnvp, not maf"):
        caudal.train("maf", str(people_csv()), out=out, resume=True)
    with pytest.raises(InputError, match=r"cannot resume, `hidden` was"):
        caudal.train(caudal.recipes.RealNVP(layers=3), str(people_csv()), out=out, resume=True)


def test_a_file_is_no_folder_to_resume(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: give another `out`"):
        brief(out=tmp_path / "file", resume=True)


def test_reprs_are_short():
    model = caudal.train("maf", "moons", layers=1, hidden=(8,), steps=4, batch_size=50)
    student = model.distill(
        student=caudal.recipes.IAF, layers=1, hidden=(8,), steps=4, batch_size=50, pool=200
    )
    assert student.config["teacher"] is None  # which was never saved
    for shown in (model, model.fitted, student.distilled):
        assert len(repr(shown)) < 150
    assert repr(model.fitted).startswith("Fitted(best_step=4, best_valid=")
    assert "KL(student||teacher)" in repr(student.distilled)
