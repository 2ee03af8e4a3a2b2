"""What `fuzz.py` attacks: files with what reads them, and functions that get odd arguments."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_files import RUNS
from mutations import (
    ODD,
    Change,
    cut,
    flip,
    odd_cell,
    odd_json,
    odd_line,
    odd_metadata,
    odd_yaml,
)


def _table(file: Path) -> None:
    from caudal.data import open_data

    data = open_data(file)
    for batch in data.test.ordered(64):
        assert batch is not None


def _images(file: Path) -> None:
    from caudal.data import open_images

    open_images(file.parent if file.suffix in (".png", ".jpg", ".webp", ".bmp") else file)


def _audio(file: Path) -> None:
    from caudal.data.audio import open_audio

    open_audio(file.parent, context=("none",), seconds=0.05)


def _model(file: Path) -> None:
    import torch

    import caudal

    flow = caudal.load(file).flow
    with torch.no_grad():
        flow.log_prob(flow.sample((3,)))


def _drawing(file: Path) -> None:
    """Images or sounds of a run, which may be a student."""
    import caudal

    caudal.load(file.parent).sample(1)


def _state(file: Path) -> None:
    from caudal.training.state import read_state

    read_state(file)


def _curve(file: Path) -> None:
    from caudal.training.run import Run

    Run(file.parent).metrics()


def _config(file: Path) -> None:
    from caudal.cli.train import read_options

    read_options(["--config", str(file), "--out", str(file.parent / "other")])


def _columns(file: Path) -> None:
    from caudal.data import open_data

    data = {"run": "rows.csv", "forms": "forms.csv"}[file.parent.name]
    open_data(file.parent.parent / data, types_from=str(file))


def _baseline(file: Path) -> None:
    from caudal.report.baseline import load_baseline

    load_baseline(file, "table")


def _alarm(file: Path) -> None:
    from caudal.model import alarm

    found = alarm.read(file.parent)
    if found is not None:
        found.at(0.1)


def _tar(file: Path) -> None:
    from caudal.data import open_images
    from caudal.data.audio import open_audio
    from caudal.data.files.lots import AUDIO
    from caudal.data.files.tars import kind_of_tars

    if file.name.startswith("sounds") or kind_of_tars(file) is AUDIO:
        open_audio(file, context=("none",), seconds=0.05)
    else:
        open_images(file, context=["class"])


def _pushed(file: Path) -> None:
    import caudal
    from caudal.model.hub import contents

    contents(caudal.load(file.parent), report=True)


FILES: dict[str, tuple[tuple[Change, ...], Callable[[Path], None]]] = {
    "rows.csv": ((odd_cell, flip, cut), _table),
    "rows.csv.gz": ((flip, cut), _table),
    "rows.tsv": ((flip, cut), _table),
    "rows.jsonl": ((flip, cut, odd_line), _table),
    "rows.json": ((flip, cut, odd_json), _table),
    "rows.parquet": ((flip, cut), _table),
    "rows.feather": ((flip, cut), _table),
    "rows.npy": ((flip, cut), _table),
    "rows.npz": ((flip, cut), _table),
    "rows.xlsx": ((flip, cut), _table),
    "forms.csv": ((odd_cell, odd_cell, flip, cut), _table),
    "images.npy": ((flip, cut), _images),
    "images.parquet": ((flip, cut), _images),
    "train_6x6.mat": ((flip, cut), _images),
    "train-images-idx3-ubyte": ((flip, cut), _images),
    "images.tar": ((flip, cut), _tar),
    "sounds.tar": ((flip, cut), _tar),
    "pictures/a.png": ((flip, cut), _images),
    **{f"{name}/0.{name}": ((flip, cut), _images) for name in ("jpg", "webp", "bmp")},
    "sounds/a.wav": ((flip, cut), _audio),
    **{f"{name}/a.{name}": ((flip, cut), _audio) for name in ("flac", "ogg", "mp3")},
    "run/model.safetensors": ((odd_metadata, odd_metadata, flip, cut), _model),
    "forms/model.safetensors": ((odd_metadata, odd_metadata, odd_metadata, flip), _drawing),
    **{f"{run}/model.safetensors": ((odd_metadata, odd_metadata, flip), _drawing) for run in RUNS},
    "run/state.safetensors": ((flip, cut, odd_metadata), _state),
    "run/metrics.jsonl": ((flip, cut, odd_line), _curve),
    "run/config.yaml": ((flip, cut, odd_yaml, odd_yaml), _config),
    "run/columns.yaml": ((flip, cut, odd_yaml, odd_yaml), _columns),
    "forms/columns.yaml": ((odd_yaml, odd_yaml, odd_yaml, flip), _columns),
    "run/gaussian.safetensors": ((flip, cut, odd_metadata), _baseline),
    "run/alarm.json": ((flip, cut, odd_json), _alarm),
    "run/eval.json": ((flip, cut, odd_json), _pushed),
    "run/README.md": ((flip, cut), _pushed),
}
"""Files, how they are changed, and what then reads them."""


def _open_data(dice: random.Random, place: Path) -> None:
    from caudal.data import open_data

    names = ("columns", "target", "context", "types", "missing", "exclude", "split", "seed")
    names += ("encoding", "delimiter", "decimal", "comment", "na", "valid", "types_from")
    open_data(place / "rows.csv", **_some(dice, names))


def _settings(dice: random.Random, place: Path) -> None:
    from caudal.modality import modality
    from caudal.model.settings import settings
    from caudal.recipes import RECIPES

    names = ("layers", "hidden", "steps", "epochs", "minutes", "lr", "batch_size", "clip", "ema")
    names += ("warmup", "patience", "precision", "seed", "device", "bins", "blocks", "dropout")
    settings(dice.choice(list(RECIPES)), modality("table"), _some(dice, names))


def _model_calls(dice: random.Random, place: Path) -> None:
    import caudal

    model = caudal.load(place / "run")
    given = _some(dice, ("seed", "temperature", "given", "n", "draws"))
    if dice.random() < 0.5:
        n = given.pop("n", 3)
        model.sample(3 if isinstance(n, int | float) and n > 1000 else n, **_only(given, "draws"))
    else:
        data = dice.choice([*ODD, {"size": [1.0], "count": ["x"], "kind": [None], "day": [0]}])
        model.log_prob(data, **_only(given, "temperature", "given", "n"))


def _uses(dice: random.Random, place: Path) -> None:
    """What a run of a table with many kinds of columns is asked, on rows with odd cells."""
    import pandas as pd

    import caudal

    model = caudal.load(place / "forms")
    rows = pd.read_csv(place / "forms.csv").head(4).to_dict("list")
    for _ in range(dice.randint(1, 3)):
        column = rows[dice.choice(sorted(rows))]
        column[dice.randrange(4)] = dice.choice(ODD)
    match dice.randrange(4):
        case 0:
            model.log_prob(rows)
        case 1:
            model.impute(rows, draws=dice.choice([1, 1, 2, *ODD[:4]]))
        case 2:
            model.explain(rows, **_only(_some(dice, ("n", "rows", "seed", "decimal")), "decimal"))
        case _:
            names = dice.sample(sorted(rows), 2)
            model.sample(2, given={name: dice.choice([*rows[name], *ODD]) for name in names})


@cache
def _subject(place: Path) -> Any:
    """The run of a page, which all its visitors share."""
    import caudal
    from caudal.explore.subject import Subject

    return Subject(caudal.load(place / "run"))


def _tabs(dice: random.Random, place: Path) -> None:
    from caudal.explore.tabs import answer, tabs_of

    subject = _subject(place)
    tab = dice.choice(tabs_of(subject))
    values = tab.defaults()
    for name in dice.sample(sorted(values), min(len(values), dice.randint(1, 2))):
        values[name] = dice.choice(ODD)
    answer(subject, tab, values)


def _words(dice: random.Random, place: Path) -> None:
    from caudal.cli.train import read_options

    flags = ["--layers", "--hidden", "--lr", "--split", "--columns", "--steps", "--data", "--out"]
    flags += ["--types", "--seed", "--missing", "--nonsense", "-n", "--resume", "--size"]
    words = ["nice", "--data", str(place / "rows.csv")]
    for _ in range(dice.randint(1, 4)):
        words += [dice.choice(flags), *(str(dice.choice(ODD)) for _ in range(dice.randint(0, 2)))]
    read_options([word.replace("\0", "") for word in words])


def _words_of_uses(dice: random.Random, place: Path) -> None:
    from caudal.cli import options
    from caudal.cli.using import open_run

    command, of, part = dice.choice(
        [
            ("score", options.ScoreOptions, "reading"),
            ("sample", options.SampleOptions, "drawing"),
            ("eval", options.EvalOptions, "reading"),
            ("impute", options.ImputeOptions, "filling"),
        ]
    )
    flags = ["--data", "--out", "--seed", "--draws", "--alarm", "--explain", "--given", "-n"]
    flags += ["--temperature", "--limit", "--samples", "--decimal", "--device", "--nonsense"]
    words = [str(place / dice.choice(["run", "forms", "audio", "missing"]))]
    for _ in range(dice.randint(1, 4)):
        words += [dice.choice(flags), *(str(dice.choice(ODD)) for _ in range(dice.randint(0, 2)))]
    open_run(of, [word.replace("\0", "") for word in words], f"caudal {command}", part)


CALLS: dict[str, Callable[[random.Random, Path], None]] = {
    "open_data(...)": _open_data,
    "settings of caudal.train(...)": _settings,
    "Model.sample and log_prob(...)": _model_calls,
    "Model.impute, explain, given (...)": _uses,
    "words of caudal train": _words,
    "words of score, sample, eval": _words_of_uses,
    "tabs of caudal explore": _tabs,
}
"""Functions that get arguments of chance."""


def _some(dice: random.Random, names: tuple[str, ...]) -> dict[str, Any]:
    return {dice.choice(names): dice.choice(ODD) for _ in range(dice.randint(1, 3))}


def _only(given: dict[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in without}
