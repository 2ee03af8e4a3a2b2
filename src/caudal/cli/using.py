"""The commands that use a finished run: `eval`, `score`, `predict`, `sample`, `impute`, ...

The options of each are the keywords of the method of `Model` that it calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from tyro.conf import FlagCreatePairsOff, Positional, arg

from caudal.cli.playing import play, to_stdout
from caudal.cli.screen import Screen
from caudal.cli.words import lists_of, parse, positional, switches_of
from caudal.errors import InputError
from caudal.modality import MODALITIES, Nothing, modality
from caudal.model import Model, load
from caudal.model.explaining import on_screen
from caudal.model.predicting import LEVELS
from caudal.model.sampling import CORNERS
from caudal.report import number
from caudal.report.evaluation import OUTSIDE
from caudal.report.numbers import count
from caudal.training.devices import find_device
from caudal.training.progress import duration
from caudal.training.together import together

Kind = TypeVar("Kind")
STDOUT = "-"


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
    """Evaluate so many items only, taken from all over the data, always the same ones."""
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
    scores. How many rows of a table are below the threshold of a false-alarm rate of 0.01 is told
    as well.
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
    the same file on the same kind of device.
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
    sweeps: FlagCreatePairsOff[bool] = False
    """Flows that sample one column, or one sample of sound, at a time: all at once, again and
    again until they stay."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()


@dataclass(frozen=True)
class ImputeOptions(Generic[Kind]):
    """Writes a table with its missing cells filled, by draws given what is there in their rows.

    Gaps of modelled columns are drawn from the flow's conditional distribution, as if they were
    missing by chance: the run need not have learned any. All other cells stay as they are, and the
    lines of a text file as they stand. With several draws the table is there as often, and a
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
    """How often each gap is drawn: by what differs between draws one sees what is not known."""
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
    chance takes them, of different classes where those are known."""
    n: Annotated[int, arg(aliases=("-n",))] = 8
    """Images along each side; fewer where they are too large for the sheet."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    common: CommonOptions = CommonOptions()


def keywords(options: Any) -> dict[str, Any]:
    """The options of a command as keywords of the method of `Model` that it calls."""
    own = {k: v for k, v in vars(options).items() if k not in ("run", "kind", "common")}
    return {**own, "seed": options.common.seed, **vars(options.kind)}


def open_run(of: Any, words: Sequence[str], command: str, part: str) -> tuple[Any, Model, Screen]:
    """The options of a command that uses a run, the model of that run, and the screen.

    The options of the kind of data are those in `part` of the run's modality, so the run is opened
    before its options are read.

    Raises:
        InputError: there is no such run, or the words cannot be read.
    """
    kinds = [of, *(getattr(modality(name), part) for name in MODALITIES)]
    lists = set().union(*map(lists_of, kinds))
    switches = set().union(*map(switches_of, kinds))
    run = positional(words, lists, switches)
    if run is None:
        parse(of[Nothing], words, command)  # prints help, or says what is missing
        raise SystemExit(0)
    model = load(run)
    options = parse(of[getattr(model.kind, part)], words, command)
    model.flow.to(find_device(options.common.device))
    model.voice = screen = Screen(options.common.json, getattr(options, "out", "") == STDOUT)
    return options, model, screen


def evaluate(words: list[str]) -> int:
    """`caudal eval`: how well a run explains data that it has not seen."""
    options, model, screen = open_run(EvalOptions, words, "caudal eval", "reading")
    with together():
        result = model.evaluate(**keywords(options))
    screen.evaluation(result)
    screen.result(result.to_dict())
    return 0


def score(words: list[str]) -> int:
    """`caudal score`: the user's rows, images or clips with their log-density."""
    options, model, screen = open_run(ScoreOptions, words, "caudal score", "reading")
    with together():
        seen = model.score(**keywords(options))
    unit = seen.unit
    screen.say(f"{options.out}: {seen.rows:,} {seen.many} with log_prob ({seen.kind}, nats)")
    if seen.scored:
        bits = f", {number(seen.score, 4)} {unit.name}" if unit.bits else ""
        screen.say(f"mean {number(seen.log_prob)} nats{bits}, over {seen.scored:,} {seen.many}")
        lowest = number(unit.scale * seen.lowest, unit.digits)
        which = f"{seen.one} " if isinstance(seen.lowest_row, int) else ""
        screen.say(f"least likely {lowest} {unit.name}: {which}{seen.lowest_row}")
    for sentence in filter(None, (seen.error_sentence(), seen.alarm_sentence())):
        screen.say(sentence)
    if seen.explained is not None:
        screen.show(on_screen(seen.explained))
    if seen.outside:
        have = count(seen.outside, f"{seen.one} has", f"{seen.many} have")
        screen.note(f"{have} a log_prob of -inf: {OUTSIDE}")
    if seen.unscored:
        gone = "with missing values"
        have = f"{seen.one} {gone} has" if seen.unscored == 1 else f"{seen.many} {gone} have"
        screen.note(f"{seen.unscored:,} {have} no log_prob")
    screen.result(seen.to_dict(options.out))
    return 0


def predict(words: list[str]) -> int:
    """`caudal predict`: the user's rows with what is expected of a target."""
    options, model, screen = open_run(PredictOptions, words, "caudal predict", "reading")
    asked = keywords(options)
    del asked["seed"]  # nothing is drawn
    seen = model.write_predictions(**asked)
    screen.say(f"{options.out}: predictions of '{seen.column}' in {seen.rows:,} rows")
    if seen.without:
        have = count(seen.without, "row with missing values has", "rows with missing values have")
        screen.note(f"{have} no prediction")
    screen.result(seen.to_dict(options.out))
    return 0


def sample(words: list[str]) -> int:
    """`caudal sample`: new rows, images or clips out of a run, in a file of the user's format."""
    options, model, screen = open_run(SampleOptions, words, "caudal sample", "drawing")
    if options.play or options.out == STDOUT:
        return _stream(options, model, screen)
    if options.out is None:
        raise InputError("missing from caudal sample: --out, or --play for sound")
    asked = keywords(options)
    del asked["play"]
    with together():
        written = model.write_samples(**asked)
    n, schema = written.samples, model.schema
    what = schema.one if n == 1 else schema.many
    screen.say(
        f"{options.out}: {n:,} {what} sampled from {options.run} (seed {options.common.seed})"
    )
    if options.temperature != 1:
        heat = f"at temperature {options.temperature:g}"
        screen.note(f"{heat} these are no samples of the density")
    if written.summary is not None:
        written.summary.tell(screen)
    screen.result(written.to_dict())
    return 0


def _stream(options: Any, model: Model, screen: Screen) -> int:
    """Sound that is heard, or piped to another program, while it is made."""
    if not model.kind.streams:
        raise InputError("--out -: only sound goes to standard output; give the name of a file")
    if options.play and options.out is not None:
        raise InputError(f"--play and --out {options.out}: choose one of them")
    if options.out == STDOUT and options.common.json:
        raise InputError("--out - and --json: both go to standard output, leave one out")
    own = {name: getattr(options, name) for name in ("n", "sweeps", "overwrite")}
    for name, value in own.items():
        if value:
            raise InputError(f"--{name}: sound that is heard as it is made goes without")
    asked = {"seed": options.common.seed, "temperature": options.temperature}
    pieces = model.stream(**asked, **vars(options.kind))
    if options.out == STDOUT:
        program, seconds = STDOUT, to_stdout(pieces)
    else:
        program, seconds = play(pieces)
    screen.say(
        f"{program}: {duration(seconds)} sampled from {options.run} (seed {options.common.seed})"
    )
    screen.result({"out": program, "seconds": seconds, **asked})
    return 0


def impute(words: list[str]) -> int:
    """`caudal impute`: the user's table with its missing cells filled."""
    options, model, screen = open_run(ImputeOptions, words, "caudal impute", "filling")
    seen = model.write_imputed(**keywords(options))
    more = f", {seen.draws} draws" if seen.draws > 1 else ""
    screen.say(
        f"{options.out}: {seen.cells:,} missing cells filled, in {seen.rows_with_gaps:,} of "
        f"{seen.rows:,} rows (seed {seen.seed}{more})"
    )
    seen.tell(screen)
    screen.result(seen.to_dict(options.out))
    return 0


def interpolate(words: list[str]) -> int:
    """`caudal interpolate`: what lies between four images."""
    options, model, screen = open_run(InterpolateOptions, words, "caudal interpolate", "reading")
    made = model.interpolate(**keywords(options))
    many = model.schema.many
    screen.say(f"{options.out}: between four {many} of {options.run} (seed {options.common.seed})")
    screen.table(["", ""], list(zip(CORNERS, made.names, strict=True)))
    error = made.corner_error
    off = "as they were" if error == 0 else f"with values off by up to {number(error, 3)}"
    screen.say(f"corners: the four {many} came back {off}")
    screen.result({"out": options.out, "corners": made.names, "corner_error": error})
    return 0
