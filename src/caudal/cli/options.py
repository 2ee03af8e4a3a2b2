"""The options of `caudal train` and `caudal distill` beside those of recipes and of training."""

import os
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, TypeVar

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction

from caudal.cli.lists import LISTS
from caudal.data import BUILT_IN
from caudal.recipes import Recipe
from caudal.training.distill import Distillation
from caudal.training.options import Training

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True)
class DataOptions:
    """Which rows and columns to learn."""

    data: str
    """A built-in name (digits, moons, rings, ...), or a .csv, .tsv, .parquet, .npy or .npz file;
    text files may be compressed."""
    columns: UseAppendAction[tuple[str, ...]] = ()
    """Columns to model, in this order; all but the context if not given."""
    context: UseAppendAction[tuple[str, ...]] = ()
    """Columns to condition on."""
    types: UseAppendAction[tuple[str, ...]] = ()
    """What columns are, where the guess is wrong: age=integer[0,120] ratio=interval[0,1]
    grade=real:0.1 city=categorical price=positive."""
    missing: Literal["refuse", "drop", "model"] = "refuse"
    """What to do about missing values: refuse them, drop their rows, or model them."""
    valid: str | None = None
    """A table of validation rows, instead of a share of --data."""
    test: str | None = None
    """A table of test rows, instead of a share of --data."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test rows."""
    split_seed: int = 0
    """Of the split: it stays the same whatever --seed is, so that runs compare."""


@dataclass(frozen=True)
class TrainOptions(Generic[AnyRecipe]):
    """Fits a flow to a table, and leaves a run folder with model, numbers, pictures and report.

    Interrupted with Ctrl-C, it saves; --resume goes on.
    """

    data: DataOptions
    recipe: AnyRecipe
    training: Training
    out: str | None = None
    """Run folder; runs/RECIPE-DATA if not given."""
    config: str | None = None
    """A file of options as a run's config.yaml holds them; flags override it."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with the run in --out, with the options in its config.yaml; flags override them."""
    report: bool = True
    """Draw the pictures and write report.html at the end; it takes some seconds."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the run in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


@dataclass(frozen=True)
class DistillOptions(Generic[AnyRecipe]):
    """Trains a student that samples in one pass to be a teacher that goes column by column.

    The student is evaluated as any run is, and measured against its teacher: divergences both
    ways, weights, a classifier, columns, speed.
    """

    teacher: Positional[str]
    """Run folder of the teacher."""
    recipe: AnyRecipe
    training: Training
    distillation: Distillation
    out: str | None = None
    """Run folder; TEACHER-STUDENT if not given."""
    student: str | None = None
    """Recipe of the student: iaf, nsf-iaf, nsf, realnvp or nice; if not given, an inverse
    autoregressive flow of the teacher's depth. Its own options are those below."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with the run in --out; give the other options as before."""
    report: bool = True
    """Draw the pictures and write report.html at the end; it takes some seconds."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the run in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


def as_config(
    recipe: Recipe, data: DataOptions, training: Training, report: bool = True
) -> dict[str, Any]:
    """What config.yaml holds: the recipe's name, and each option under the name of its flag."""
    config: dict[str, Any] = {"recipe": recipe.name}
    for part in (data, recipe, training):
        for field in fields(part):
            value = getattr(part, field.name)
            config[field.name] = list(value) if isinstance(value, tuple) else value
    config["report"] = report
    return config


def wherever_read(config: dict[str, Any]) -> dict[str, Any]:
    """The config with whole paths of its tables, which hold in other folders too."""
    paths = {name: config[name] for name in ("data", "valid", "test")}
    whole = {k: p if p is None or p in BUILT_IN else os.path.abspath(p) for k, p in paths.items()}
    return {**config, **whole}


def as_flags(config: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """The words that say the same as a config, without what is the default anyway."""
    words = []
    for name, value in config.items():
        if value == defaults.get(name):
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += _flag(f"--{flag}", value if isinstance(value, list) else [value])
    return words


def _flag(flag: str, values: list[Any]) -> list[str]:
    texts = list(map(str, values))
    if any(text.startswith("-") for text in texts) and (flag in LISTS or len(texts) == 1):
        return [f"{flag}={text}" for text in texts]  # else they would look like options
    return [flag, *texts]


def default_config(kind: type[Recipe]) -> dict[str, Any]:
    """The config of a recipe's defaults; `data` is empty."""
    return as_config(kind(), DataOptions(""), Training())
