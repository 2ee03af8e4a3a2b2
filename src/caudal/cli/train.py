"""`caudal train`: from a table, images or audio to a run folder."""

import inspect
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from tyro.conf import FlagCreatePairsOff

from caudal.cli.screen import Screen, with_advice
from caudal.cli.words import named, parse, peek, read_yaml
from caudal.errors import InputError
from caudal.modality import Modality
from caudal.model.choices import recognise, stands_for_data, usual_recipe
from caudal.model.config import is_path, of_resumed, without_beside
from caudal.model.settings import (
    AUTO,
    LENGTHS,
    Settings,
    by_length,
    check_one_size,
    of_length,
    preset_values,
    settings,
    usual,
)
from caudal.model.training import train_with
from caudal.names import near
from caudal.recipes import PRESETS, RECIPES, Recipe, find_recipe
from caudal.recipes.sizes import Size
from caudal.report.logged import Log
from caudal.training.options import Training
from caudal.training.processes import leads

Data = TypeVar("Data")
AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)

USAGE = """usage: caudal train [RECIPE] --data DATA [--minutes M] [--size SIZE] [--out FOLDER] ...

Fits a flow to a table, to images or to audio, in at most five minutes unless told otherwise.
RECIPE is one of {recipes}; or auto, the usual one for the
data. Without it, data may stand in its place: caudal train table.csv.
See caudal recipes for what each is good for, and caudal train RECIPE --help for all options.

  caudal train --data table.csv                                a table
  caudal train --data FOLDER --minutes 30                      images or audio, in half an hour
  caudal train maf --data table.csv --epochs 50                a recipe and a length of your choice
  caudal train wavenet --data vowels --context vowel           built-in audio, given a label
  caudal train nsf --data density:funnel                       a density instead of data"""


@dataclass(frozen=True)
class RunOptions:
    """The run folder, what becomes of a run that is there, and what is reported at the end."""

    out: str | None = None
    """Run folder; if not given runs/RECIPE-DATA, or TEACHER-STUDENT for a student."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with the run in --out. Training takes the options in its config.yaml, and flags
    override them; give those of a student as before."""
    from_best: FlagCreatePairsOff[bool] = False
    """Go on from the best model rather than from the last state, with a new optimiser: after
    training diverged, or where the state is lost."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the run in --out, if there is one."""
    log: Log | None = None
    """A dashboard that is told of the training as well: tensorboard, whose files are in the run
    folder, or trackio; each needs the extra of its name."""
    report: bool = True
    """Draw the pictures and write report.html at the end; it takes some seconds."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""

    def __post_init__(self) -> None:
        if (self.resume or self.from_best) and self.overwrite:
            raise InputError("--resume and --overwrite: choose one of them")

    @property
    def modes(self) -> dict[str, bool]:
        """What becomes of a run that is there already, as keywords."""
        names = ("resume", "from_best", "overwrite")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TrainOptions(Generic[Data, AnyRecipe]):
    """Fits a flow to a table, images or audio; leaves a folder with model, numbers and report.

    Interrupted with Ctrl-C, it saves; --resume goes on.
    """

    data: Data
    recipe: AnyRecipe
    training: Training
    run: RunOptions
    size: Size | None = None
    """Size of the flow, in place of the one that suits data and minutes; paper is for days."""
    preset: str | None = None
    """A configuration of the recipe's paper; options that are given override it."""
    config: str | None = None
    """A file of options as a run's config.yaml holds them; flags override it."""

    def __post_init__(self) -> None:
        check_one_size(self.size, self.preset)


def run(words: list[str]) -> int:
    """Runs the command."""
    begun = time.monotonic()
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(recipes=", ".join(RECIPES)))
        return 0 if words else 2
    options, made = read_options(words)
    screen = Screen(options.run.json)
    out = Path(options.run.out or default_folder(made))
    try:
        told: dict[str, Any] = {
            **options.run.modes,
            "log": options.run.log,
            "voice": screen,
            "begun": begun,
        }
        model = train_with(made, out, **told)
        if leads():
            screen.trained(model)
    except KeyboardInterrupt as error:
        again = shlex.join(["caudal", "train", "--out", str(out), "--resume"])
        raise with_advice(error, out, again) from None
    return 0


def default_folder(made: Settings) -> str:
    """runs/RECIPE-DATA, the data by the file's name without suffixes."""
    path = Path(made.data.data)
    while any(sign in str(path) for sign in "*?[{"):  # a pattern: the folder before it
        path = path.parent
    name = path.name or path.resolve().name
    return f"runs/{made.recipe.name}-{name.split('.')[0].split(':')[-1]}"


def read_options(words: list[str]) -> tuple[TrainOptions[Any, Any], Settings]:
    """The options: typed, out of the file of --config or --resume, out of a preset, or usual.

    The flags are those of the kind of data at hand.

    Raises:
        InputError: the words or the file cannot be read.
    """
    words = _with_data(words)
    name = None if words[0].startswith("-") else words[0]
    typed = words if name is None else words[1:]
    seen = peek(typed, "config", "preset", "size", "out", "data", *LENGTHS)
    file = _config_file(seen, typed)
    config = {} if file is None else _read_config(file)
    if name is None and _goes_on(typed) and file is None:
        raise _nothing_to_resume(seen["out"])
    if config and seen["config"] is None:
        config = of_resumed(config)
    auto = name == AUTO or not (name or config)
    name = usual_recipe(seen["data"], named(typed)) if auto else name or config["recipe"]
    if config and not auto and config["recipe"] != name:
        raise InputError(f"{file} is of the recipe {config['recipe']}, not {name}: leave one out")
    start = _start(name, seen, config, file)
    generic: Any = TrainOptions
    kind = generic[start.kind.options, type(start.recipe)]
    training = replace(start.training, **of_length({name: seen[name] for name in LENGTHS}))
    default = TrainOptions(start.data, start.recipe, training, RunOptions(report=start.report))
    about = "\n\n".join([*_not_there(seen["data"], start.kind), describe(name)])
    options = parse(kind, typed, f"caudal train {name}", default, about)
    parts = options.recipe, options.data, options.training, options.run.report
    chosen = start.given | named(typed)
    return options, Settings(start.kind, *parts, given=chosen, size=options.size, auto=auto)


def _with_data(words: list[str]) -> list[str]:
    """The words, with --data before data that stand in the place of the recipe."""
    first, rest = words[0], words[1:]
    alone = not first.startswith("-") and peek(rest, "data")["data"] is None
    return ["--data", first, *rest] if alone and stands_for_data(first) else words


def _start(
    name: str, seen: dict[str, str | None], config: dict[str, Any], file: Path | None
) -> Settings:
    """The settings before anything that was typed."""
    import tyro

    data = seen["data"] or config.get("data")
    recipe = find_recipe(name)
    kind = recognise(data, recipe)
    values: dict[str, Any] = {"data": tyro.MISSING, **without_beside(config)}
    try:
        values = by_length(_checked(values, usual(recipe, kind).config()))
        start = settings(recipe, kind, values)
    except InputError as error:
        raise InputError(f"{file}: {error}" if config else str(error)) from None
    presets = preset_values(name, seen["preset"], kind)
    return settings(recipe, kind, {**values, **presets}) if presets else start


def _checked(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """The entries of a config; those that no flag could give are refused.

    YAML takes `1e-3`, a number without a point, for text: it is a number all the same.
    """
    for name, value in values.items():
        if name not in usual:
            raise InputError(f"unknown key '{name}'; {near(name, list(usual))}")
        if value is None and usual[name] is not None and name not in LENGTHS:
            raise InputError(f"'{name}' has no value: give one, or leave the line out")
        if isinstance(value, dict) and not isinstance(usual[name], dict):
            raise InputError(f"'{name}' must be a value or a list, not a mapping")
    return {k: _number(v) if isinstance(usual[k], float) else v for k, v in values.items()}


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _read_config(file: Path) -> dict[str, Any]:
    config = read_yaml(file, "--config")
    if "teacher" in config:
        raise InputError(f"{file} is of a student: go on, or repeat it, with caudal distill")
    if config.get("recipe") is None:
        raise InputError(f"{file}: no recipe: give one of {', '.join(RECIPES)}")
    try:
        find_recipe(config["recipe"])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return config


def _nothing_to_resume(out: str | None) -> InputError:
    """The error where a run is to go on that is not there."""
    if out is None:
        return InputError("`resume=True` needs the folder of the run to go on with: give `out`")
    what = "no config.yaml is in it" if Path(out).is_dir() else "there is no such folder"
    return InputError(f"{out} holds no run to resume: {what}")


def _goes_on(typed: Sequence[str]) -> bool:
    """Whether the words ask to go on with a run."""
    return "--resume" in typed or "--from-best" in typed


def _config_file(seen: dict[str, str | None], typed: Sequence[str]) -> Path | None:
    """The file that --config names; with --resume that of the run in --out, if there is one."""
    if seen["config"] is not None:
        return Path(seen["config"])
    out = seen["out"]
    if _goes_on(typed) and out is not None and (Path(out) / "config.yaml").is_file():
        return Path(out) / "config.yaml"
    return None


def _not_there(data: str | None, kind: Modality) -> list[str]:
    """What help begins with where the data are not there, and so do not tell their kind."""
    if data is None or not is_path(data) or Path(data).exists():
        return []
    return [f"There is no file or folder {data}: these are the options for {kind.what}."]


def describe(recipe: str) -> str:
    """What the help of a recipe begins with, its presets among it."""
    text = inspect.cleandoc(TrainOptions.__doc__ or "")
    presets = PRESETS.get(recipe)
    if not presets:
        return text
    lines = [f"- {name}: {preset}" for name, preset in presets.items()]
    return "\n\n".join([text, "Presets:\n" + "\n".join(lines)])
