"""The options of the commands that use a finished run.

Those of each are the keywords of the method of `Model` that it calls.
"""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from tyro.conf import FlagCreatePairsOff, Positional, arg

from caudal.model.predicting import LEVELS

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class CommonOptions:
    """Chance, the device, and what is printed."""

    seed: int = 0
    """Seed of all that is drawn: samples, the noise that fills values in steps and missing ones,
    estimates, and what is chosen at random."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
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
    """Evaluate at most so many items, taken from all over the data and always the same ones."""
    draws: int = 1
    """How often the noise is drawn for each item, and its log-probability averaged."""
    samples: int | None = None
    """Tables: compare at most so many samples with test rows; 0 for none, 2000 if not given."""
    common: CommonOptions = CommonOptions()


@dataclass(frozen=True)
class ScoreOptions(Generic[Kind]):
    """Writes rows, images or clips with their log-density beside them, as a table.

    The column log_prob is in nats, in the units of the data; -inf where an item lies outside of
    what the data can hold. A table keeps all its columns, text its lines as they stand, and the
    score is empty where a value is missing in a column in which the run has learned no gaps;
    images and clips are named, with bits_per_dim or bits_per_sample beside. Where values in steps
    or gaps are filled with noise, or a log-det is estimated, log_prob is the mean of several
    draws, and a column log_prob_se has its standard error. The noise belongs to the values of an
    item and --seed: the score does not depend on the other items, and equal items have equal
    scores. The number of rows below the threshold of a false-alarm rate of 0.01 is reported, too.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    data: str
    """What to score: a table with at least the run's columns; images of the run's size; audio."""
    out: str
    """Where to: .csv, .tsv, .jsonl (also with .gz, .bz2, .zst), .parquet, .feather, .npy or
    .npz."""
    kind: Kind
    draws: int | None = None
    """How often the noise is drawn for each item, and its log-probability averaged; if not given,
    32 times for rows of a table, 4 for images, once for clips. Without noise it is scored once."""
    alarm: float | None = None
    """Tables: add a column alarm. It is true for rows whose log_prob is so low that only this
    share of rows like those of the training is as low: the rate of false alarms, at most 0.1."""
    explain: int = 0
    """Tables: name, for so many rows of lowest log_prob, the columns that are to blame, and what
    would have been expected there."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()


@dataclass(frozen=True)
class PredictOptions(Generic[Kind]):
    """Writes a table with what a run trained with --target expects of its target in each row.

    A target of numbers gets its mean and quantiles, such as price_mean and price_q95, below which
    95 % of the distribution lie; one of categories gets the likeliest, and each one's probability.
    They are exact, not drawn. The table need not have the target; text keeps its lines as they
    stand.
    """

    run: Positional[str]
    """Run folder, or a model file, of a run with a target."""
    data: str
    """A table with at least the columns that the target is predicted from."""
    out: str
    """Where to: .csv, .tsv, .jsonl (also with .gz, .bz2, .zst), .parquet, .feather, .npy or
    .npz."""
    kind: Kind
    levels: tuple[float, ...] = LEVELS
    """Levels of the quantiles, above 0 and below 1."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()


@dataclass(frozen=True)
class SampleOptions(Generic[Kind]):
    """Writes new rows as the data's are, inside their support; or new images, or clips of sound.

    The context of a conditional run is drawn from the training rows unless it is given; each class
    of images has its turn. Columns of a table that the run models may be given as well: the others
    are drawn given them. A run on audio that is given a spectrum copies clips. The same seed gives
    the same file on the same kind of device. With RUN before --help the options of its kind of
    data are listed, too.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    kind: Kind
    out: str | None = None
    """Where to: .csv, .tsv, .jsonl (also with .gz, .bz2, .zst), .parquet, .feather, .npy or .npz;
    images go to one sheet (.png, .jpg, .webp), to .npy or .npz, or to a folder; a clip of sound to
    .wav, .flac or .ogg, several to a folder, .npy or .npz, or - for raw 16-bit numbers on standard
    output, as they are made."""
    play: FlagCreatePairsOff[bool] = False
    """Sound: play it as it is made, by aplay, ffplay, play (of sox) or afplay, without --out."""
    n: Annotated[int | None, arg(aliases=("-n",))] = None
    """How many; if not given, 1000 rows, 64 images or 1 clip, or as many as there are contexts
    or clips to copy."""
    temperature: float = 1.0
    """Multiplies the noise: below 1, samples are likelier and less varied than the data."""
    guidance: float = 0.0
    """Images, of runs with --drop-context: above 0, samples are more typical of their labels and
    less varied; try 0.5 to 2."""
    sweeps: FlagCreatePairsOff[bool] = False
    """Flows that sample one column, or one sample of sound, at a time: compute all at once,
    repeatedly, until nothing changes."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()


@dataclass(frozen=True)
class ImputeOptions(Generic[Kind]):
    """Writes a table with its missing cells filled, by draws given what is there in their rows.

    Gaps of modelled columns are drawn from the flow's conditional distribution, as if they were
    missing by chance: the run need not have learned any. All other cells stay as they are, and the
    lines of a text file as they stand. With several draws the table is repeated for each, and a
    column draw numbers them from 1.
    """

    run: Positional[str]
    """Run folder, or a model file, of a run on a table."""
    data: str
    """The table to fill, with at least the run's columns."""
    out: str
    """Where to: .csv, .tsv (also with .gz, .bz2, .zst), .parquet, .npy or .npz."""
    kind: Kind
    draws: int = 1
    """How often each gap is drawn; what differs between draws is uncertain."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()


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
    they are chosen at random, of different classes where those are known."""
    n: Annotated[int, arg(aliases=("-n",))] = 8
    """Images along each side; fewer where they are too large for the sheet."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()
