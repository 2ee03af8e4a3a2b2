"""The options of `caudal train` and `caudal distill` beside those of recipes and of training."""

import os
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, TypeVar

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction

from caudal.cli.lists import LISTS
from caudal.data import BUILT_IN
from caudal.data.images.hub import is_hub
from caudal.recipes import Recipe
from caudal.training.audio_terms import AudioDistillation
from caudal.training.distill import Distillation
from caudal.training.options import Training

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
AnyDistillation = TypeVar("AnyDistillation", Distillation, AudioDistillation)


@dataclass(frozen=True)
class DataOptions:
    """Which rows and columns to learn."""

    data: str
    """A built-in name (digits, moons, rings, ...), or a .csv, .tsv, .parquet, .npy or .npz file;
    text files may be compressed. Or images: a folder of them or of IDX files, a .npy or .npz
    array (N, H, W, C), a .parquet file with a column of images, or hf:NAME. Or audio: a folder of
    .wav, .flac, .ogg or .mp3 files, or vowels, which are built in."""
    columns: UseAppendAction[tuple[str, ...]] = ()
    """Columns to model, in this order; all but the context if not given."""
    context: UseAppendAction[tuple[str, ...]] = ()
    """Columns to condition on; of images, class; of audio, mel (if not given), none, or labels."""
    types: UseAppendAction[tuple[str, ...]] = ()
    """What columns are, where the guess is wrong: age=integer[0,120] ratio=interval[0,1]
    grade=real:0.1 city=categorical price=positive."""
    missing: Literal["refuse", "drop", "model"] = "refuse"
    """What to do about missing values: refuse them, drop their rows, or model them."""
    valid: str | None = None
    """A table of validation rows, instead of a share of --data; of audio, a folder or a pattern of
    file names."""
    test: str | None = None
    """A table of test rows, instead of a share of --data; of audio as --valid, such as
    '*_[0-4].flac'."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test rows."""
    split_seed: int = 0
    """Of the split: it stays the same whatever --seed is, so that runs compare."""


TABLE_ONLY = ("columns", "types", "missing")
"""Options of data that mean nothing of images."""


@dataclass(frozen=True)
class ReadingOptions:
    """How image files are read."""

    crop: tuple[int, ...] = ()
    """Images: height and width, or one number, of the centre to keep of each."""
    resize: tuple[int, ...] = ()
    """Images: height and width, or one number, to scale each to, after the crop."""
    corrupt: Literal["refuse", "skip"] = "refuse"
    """Images: refuse those that cannot be read or have another size, or skip them. Audio: the
    same of files that cannot be read, or are silent, clipped or too short."""


@dataclass(frozen=True)
class ImageOptions(ReadingOptions):
    """How a flow takes images."""

    bits: int = 8
    """Bits of each pixel to model; the lower ones are cut off."""
    pixels: Literal["unit", "centred", "logit"] | None = None
    """What the flow makes of pixels x in [0, 1]: x, x - 1/2, or logit(alpha + (1 - 2 alpha) x);
    what its paper makes of them if not given."""
    alpha: float = 0.05
    """Of the logit: how far from 0 and 1 the pixels keep."""
    dequantization: Literal["uniform", "variational"] = "uniform"
    """Noise between the values of pixels: uniform, or from a small flow that learns it."""


@dataclass(frozen=True)
class AudioOptions:
    """How clips of sound are read, and what a flow is told of them."""

    rate: int | None = None
    """Audio: samples a second to resample to; that of most files if not given."""
    seconds: float = 0.5
    """Audio: length of the crops to train on."""
    mels: int = 64
    """Audio: bands of the log-mel spectrum to condition on."""
    window: int | None = None
    """Audio: samples of its window; the power of two nearest to 46 ms if not given."""
    trim: bool = True
    """Audio: cut silence off at both ends."""
    normalize: bool = True
    """Audio: scale each clip to the same peak."""
    labels: str | None = None
    """Audio: what file names say, such as '{digit}_{speaker}_{index}': names for --context."""
    metadata: str | None = None
    """Audio: a .csv or .tsv with a row for each file, whose columns are names for --context."""


@dataclass(frozen=True)
class TrainOptions(Generic[AnyRecipe]):
    """Fits a flow to a table, images or audio; leaves a folder with model, numbers and report.

    Interrupted with Ctrl-C, it saves; --resume goes on.
    """

    data: DataOptions
    images: ImageOptions
    audio: AudioOptions
    recipe: AnyRecipe
    training: Training
    preset: str | None = None
    """A configuration of the recipe's paper; options that are given override it."""
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
class DistillOptions(Generic[AnyRecipe, AnyDistillation]):
    """Trains a student that samples in one pass to be a teacher that goes step by step.

    The student of a table is evaluated as any run is, and measured against its teacher:
    divergences both ways, weights, a classifier, columns, speed. A student of audio is measured by
    its divergence, its spectra and loudness beside real clips, and speed.
    """

    teacher: Positional[str]
    """Run folder of the teacher."""
    recipe: AnyRecipe
    training: Training
    distillation: AnyDistillation
    out: str | None = None
    """Run folder; TEACHER-STUDENT if not given."""
    student: str | None = None
    """Recipe of the student: iaf, nsf-iaf, nsf, realnvp or nice, of audio parallel-wavenet; if not
    given, an inverse autoregressive flow of the teacher's depth. Its own options are those
    below: --student NAME --help tells them."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with the run in --out; give the other options as before."""
    report: bool = True
    """Draw the pictures and write report.html at the end; it takes some seconds."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the run in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


def as_config(
    recipe: Recipe,
    data: DataOptions,
    training: Training,
    report: bool = True,
    more: ImageOptions | AudioOptions | None = None,
    corrupt: str | None = None,
) -> dict[str, Any]:
    """What config.yaml holds: the recipe's name, and each option under the name of its flag.

    Of a table without `more`; of images and audio without what is for tables alone; `corrupt` is
    of audio.
    """
    config: dict[str, Any] = {"recipe": recipe.name, **plain_fields(data)}
    if more is not None:
        config = {k: v for k, v in config.items() if k not in TABLE_ONLY} | plain_fields(more)
    if corrupt is not None:
        config["corrupt"] = corrupt
    return {**config, **plain_fields(recipe), **plain_fields(training), "report": report}


def student_config(options: DistillOptions[Any, Any], teacher: dict[str, Any]) -> dict[str, Any]:
    """What config.yaml of a student holds: the data of its teacher's, and its own options."""
    names = [f.name for f in (*fields(DataOptions), *fields(AudioOptions))]
    kept = {name: teacher[name] for name in (*names, "corrupt") if name in teacher}
    config: dict[str, Any] = {"recipe": options.recipe.name, **kept}
    for part in (options.recipe, options.training, options.distillation):
        config |= plain_fields(part)
    return {**config, "report": options.report, "teacher": os.path.abspath(options.teacher)}


def plain_fields(part: Any) -> dict[str, Any]:
    """The fields of a dataclass as YAML holds them."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def wherever_read(config: dict[str, Any]) -> dict[str, Any]:
    """The config with whole paths of its data, which hold in other folders too."""
    paths = {name: path for name in PATHS if (path := config.get(name)) is not None}
    whole = {k: os.path.abspath(p) for k, p in paths.items() if is_path(p)}
    return {**config, **whole}


PATHS = ("data", "valid", "test", "metadata")
"""Options that name files or folders of data."""


def is_path(data: str) -> bool:
    """Whether what was given as data is a path, not a name that holds anywhere."""
    return data not in BUILT_IN and not is_hub(data) and not is_pattern(data)


def is_pattern(name: str) -> bool:
    """Whether what was given as a part is a pattern of file names, such as `*_[0-4].flac`."""
    return any(sign in name for sign in "*?[") and not os.path.exists(name)


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
    """The config of a recipe's defaults, of tables and of images; `data` is empty."""
    config = as_config(kind(), DataOptions(""), usual_training(kind))
    return config | plain_fields(ImageOptions()) | plain_fields(AudioOptions())


def usual_training(kind: type[Recipe]) -> Training:
    """How a recipe trains, if not told otherwise: a crop of sound holds thousands of samples."""
    return AUDIO_TRAINING if kind.audio else Training()


AUDIO_TRAINING = Training(steps=4000, batch_size=8, ema=0.995, validate_every=250, patience=0)
