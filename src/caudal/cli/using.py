"""The commands that use a finished run: `eval`, `score`, `predict`, `sample`, `impute`, ...

The options of each are the keywords of the method of `Model` that it calls.
"""

from collections.abc import Sequence
from typing import Any

from caudal.cli.options import (
    EvalOptions,
    ImputeOptions,
    InterpolateOptions,
    PredictOptions,
    SampleOptions,
    ScoreOptions,
)
from caudal.cli.playing import play, to_stdout
from caudal.cli.screen import Screen
from caudal.cli.words import lists_of, parse, positional, switches_of
from caudal.errors import InputError
from caudal.modality import MODALITIES, Nothing, modality
from caudal.model import Model, load
from caudal.model.explaining import on_screen
from caudal.model.interpolating import CORNERS
from caudal.report import number
from caudal.report.evaluation import OUTSIDE
from caudal.report.numbers import count
from caudal.training.devices import find_device
from caudal.training.progress import duration
from caudal.training.together import together

STDOUT = "-"


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
    if options.guidance:
        screen.note(f"with guidance {options.guidance:g} these are no samples of the density")
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
    own = {name: getattr(options, name) for name in ("n", "guidance", "sweeps", "overwrite")}
    for name, value in own.items():
        if value:
            raise InputError(f"--{name}: leave it out where sound is heard as it is made")
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
