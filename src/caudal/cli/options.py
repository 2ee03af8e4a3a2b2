"""The options of each command beside those of recipes, of training and of the kind of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from tyro.conf import FlagCreatePairsOff, Positional, arg

from caudal.cli import words as reading_words
from caudal.cli.screen import Screen
from caudal.modality import MODALITIES, modality
from caudal.model import Model, load
from caudal.recipes import Recipe
from caudal.training.devices import find_device
from caudal.training.options import Training

Data = TypeVar("Data")
AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
Objective = TypeVar("Objective")
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Nothing:
    """No options: a command that is not told of which kind its data are."""


@dataclass(frozen=True)
class TrainOptions(Generic[Data, AnyRecipe]):
    """Fits a flow to a table, images or audio; leaves a folder with model, numbers and report.

    Interrupted with Ctrl-C, it saves; --resume goes on.
    """

    data: Data
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
class DistillOptions(Generic[AnyRecipe, Objective]):
    """Trains a student that samples in one pass to be a teacher that goes step by step.

    The student is evaluated as any run is, where its own density is fast enough, and measured
    against its teacher: divergences both ways, weights, a classifier, columns, speed; for audio
    the divergence, and spectra and loudness beside real clips.
    """

    teacher: Positional[str]
    """Run folder of the teacher."""
    recipe: AnyRecipe
    training: Training
    distillation: Objective
    out: str | None = None
    """Run folder; TEACHER-STUDENT if not given."""
    student: str | None = None
    """Recipe of the student: iaf, nsf-iaf, nsf, realnvp, nice; for images also glow; for audio
    parallel-wavenet. If not given, an inverse autoregressive flow of the teacher's depth, or the
    coupling flow that suits the data. --student NAME --help tells its own options."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with the run in --out; give the other options as before."""
    report: bool = True
    """Draw the pictures and write report.html at the end; it takes some seconds."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the run in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


@dataclass(frozen=True)
class EvalOptions(Generic[Kind]):
    """The mean score of the test part of a run: nats a row, bits/dim, or bits a sample.

    Beside it stands that of a baseline fitted to the training part: one Gaussian with full
    covariance, for audio a linear prediction. The result goes to eval.json in the run folder,
    unless --data or --limit make it one of other items.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    kind: Kind
    data: str | None = None
    """Other data to evaluate, all of them, instead of the run's own test part."""
    limit: int | None = None
    """Evaluate so many items only, taken from all over the data, always the same ones."""
    seed: int = 0
    """Of the noise that fills values in steps and missing ones, and of estimates; without any
    of these, it is not used."""
    draws: int = 1
    """How often that noise is drawn for each item, and its log-probability averaged."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


@dataclass(frozen=True)
class ScoreOptions(Generic[Kind]):
    """Writes rows, images or clips with their log-density beside them, as a table.

    The column log_prob is in nats, in the units of the data; -inf where an item lies outside of
    what the data can hold. A table keeps all its columns, and the score is empty where a run with
    --missing drop meets a missing value; images and clips are named, with bits_per_dim or
    bits_per_sample beside. For a flow whose log-det is estimated, log_prob is the mean of 4
    estimates, and a column log_prob_se has its standard error.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    data: str
    """What to score: a table with at least the run's columns; images of the run's size; audio."""
    out: str
    """Where to: .csv, .tsv (also with .gz, .bz2, .zst), .parquet, .npy or .npz."""
    kind: Kind
    seed: int = 0
    """Of the noise that fills values in steps and missing ones, and of estimates; without any
    of these, it is not used."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print what was done as one JSON object on standard output, all else on standard error."""


@dataclass(frozen=True)
class SampleOptions(Generic[Kind]):
    """Writes new rows as the data's are, inside their support; or new images, or clips of sound.

    The context of a conditional run is drawn from the training rows unless it is given; each class
    of images has its turn. A run on audio that is given a spectrum copies clips. The same seed
    gives the same file on the same kind of device.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    out: str
    """Where to: .csv, .tsv (also with .gz, .bz2, .zst), .parquet, .npy or .npz; images go to one
    sheet (.png, .jpg, .webp), to .npy or .npz, or to a folder; a clip of sound to .wav, .flac or
    .ogg, several to a folder, .npy or .npz."""
    kind: Kind
    n: Annotated[int | None, arg(aliases=("-n",))] = None
    """How many; if not given, 1000 rows, 64 images or 1 clip, or as many as there are contexts
    or clips to copy."""
    seed: int = 0
    """Of the noise, and of which contexts are drawn."""
    temperature: float = 1.0
    """Multiplies the noise: below 1, samples are likelier and less varied than the data."""
    sweeps: FlagCreatePairsOff[bool] = False
    """Flows that sample one column, or one sample of sound, at a time: all at once, again and
    again until they stay."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print what was done as one JSON object on standard output, all else on standard error."""


@dataclass(frozen=True)
class InterpolateOptions(Generic[Kind]):
    """Draws the manifold between four images: n by n images that the flow makes of noise between.

    The four are encoded, their noises z1 .. z4 combined as z = cos phi (cos phi' z1 + sin phi'
    z2) + sin phi (cos phi' z3 + sin phi' z4), and decoded; they come back at the corners.
    """

    run: Positional[str]
    """Run folder, or a model file, of a run on images or on the built-in digits."""
    out: str
    """Where to: .png, .jpg or .webp."""
    kind: Kind
    data: str | None = None
    """Images to choose the four from, instead of the run's own test images."""
    rows: tuple[int, ...] = ()
    """Numbers of the four, from 1: top left, top right, bottom left, bottom right; if not given,
    chance takes them, of different classes where those are known."""
    n: Annotated[int, arg(aliases=("-n",))] = 8
    """Images along each side; fewer where they are too large for the sheet."""
    seed: int = 0
    """Of which images are taken, and of the noise between the values of pixels."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print what was done as one JSON object on standard output, all else on standard error."""


def open_run(of: Any, words: Sequence[str], command: str, part: str) -> tuple[Any, Model]:
    """The options of a command that uses a run, and the model of that run.

    The options of the kind of data are those in `part` of the run's modality, so the run is opened
    before its options are read.

    Raises:
        InputError: there is no such run, or the words cannot be read.
    """
    every = [getattr(modality(name), part) for name in MODALITIES]
    lists = set().union(*(reading_words.lists_of(kind) for kind in (of, *every)))
    switches = set().union(*(reading_words.switches_of(kind) for kind in (of, *every)))
    run = reading_words.positional(words, lists, switches)
    if run is None:
        reading_words.parse(of[Nothing], words, command)  # prints help, or says what is missing
        raise SystemExit(0)
    model = load(run)
    options = reading_words.parse(of[getattr(model.kind, part)], words, command)
    model.flow.to(find_device(options.device))
    model.voice = Screen(options.json)
    return options, model
