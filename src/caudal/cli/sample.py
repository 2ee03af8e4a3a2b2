"""`caudal sample`: new rows, or images, out of a run, into a file of the user's own format."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import pyarrow as pa
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from caudal.bijections import by_sweeps
from caudal.cli import sample_audio, sample_images
from caudal.cli.contexts import context_rows, rechunk
from caudal.cli.datasets import refuse_given
from caudal.cli.exact import Draw, Exact
from caudal.cli.opened import OpenedRun
from caudal.cli.output import open_output
from caudal.cli.parse import parse
from caudal.cli.screen import Screen
from caudal.correction import STEPS
from caudal.data import read_tables
from caudal.errors import InputError
from caudal.report.gaussian import noise
from caudal.training.seeds import check_seed

CHUNK_ROWS = 8192
CHUNK_NUMBERS = 1 << 22  # rows times columns: bounds the memory where there are many columns


@dataclass(frozen=True)
class SampleOptions:
    """Writes new rows as the data's are, inside their support; or new images, or clips of sound.

    The context columns of a conditional run come last; they are drawn from the training rows,
    unless --context-file or --given say otherwise. Of images each class has its turn. A run on
    audio that is given a spectrum copies clips: its test clips, or those of --mel-of. The same
    seed gives the same file on the same kind of device.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    out: str
    """Where to: .csv, .tsv (also with .gz, .bz2, .zst), .parquet, .npy or .npz; images go to one
    sheet (.png, .jpg, .webp), to .npy or .npz, or to a folder; a clip of sound to .wav, .flac or
    .ogg, several to a folder, .npy or .npz."""
    n: Annotated[int | None, arg(aliases=("-n",))] = None
    """How many; if not given, 1000 rows, 64 images or 1 clip, or as many as --context-file or
    --mel-of has."""
    seed: int = 0
    """Of the noise, and of which contexts are drawn."""
    temperature: float = 1.0
    """Multiplies the noise: below 1, samples are likelier and less varied than the data."""
    context_file: str | None = None
    """A table of contexts, one row for each sample, over again if there are fewer."""
    given: UseAppendAction[tuple[str, ...]] = ()
    """Values of context columns for all rows, such as digit=3; sex= for a missing category."""
    exact: str | None = None
    """Run of a teacher with the same columns: the rows are corrected to be the teacher's own."""
    exact_steps: int = STEPS
    """Corrections of each row; each costs a draw, and a density of the teacher."""
    mel_of: str | None = None
    """Audio: a file, or a folder of files, whose spectra to make sound of: copy-synthesis."""
    seconds: float | None = None
    """Audio: length of each clip, 1 if not given, where no spectrum says it."""
    sweeps: FlagCreatePairsOff[bool] = False
    """Flows that sample one column, or one sample of sound, at a time: all at once, again and
    again until they stay."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print what was done as one JSON object on standard output, all else on standard error."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(SampleOptions, words, "caudal sample")
    _check(options)
    screen = Screen(options.json)
    opened = OpenedRun(options.run, options.device)
    n = options.n or _rows_wanted(options, 64 if opened.has_images else 1000)
    with _way(opened, options):
        if opened.has_audio:
            return sample_audio.run(options, opened, screen)
        refuse_given(options, ["seconds", "mel_of"], "audio", f"{options.run} models none")
        if opened.has_images:
            return sample_images.run(options, opened, n, screen)
        return _run_table(options, opened, n, screen)


def _run_table(options: SampleOptions, opened: OpenedRun, n: int, screen: Screen) -> int:
    writer = open_output(options.out, options.overwrite)
    writer.check(opened.table.arrow)
    exact = _exact(opened, options)
    draw = exact or _plain(opened, options.temperature)
    chunks = _sampled(opened, options, n, draw, screen)
    with writer:
        for table in screen.track(chunks, "sampling", math.ceil(n / _chunk(opened))):
            writer.write(table)
    _tell(screen, options, n, exact)
    return 0


def _tell(screen: Screen, options: SampleOptions, n: int, exact: Exact | None) -> None:
    screen.say(f"{options.out}: {n:,} rows sampled from {options.run} (seed {options.seed})")
    if options.temperature != 1:
        screen.warn(f"at temperature {options.temperature:g} these are no samples of the density")
    result: dict[str, Any] = {"out": options.out, "rows": n, "seed": options.seed}
    if exact is not None:
        exact.tell(screen)
        result["exact"] = exact.result()
    screen.result(result)


def _check(options: SampleOptions) -> None:
    check_seed(options.seed)
    sample_audio.check_numbers(options)
    if options.n is not None and options.n < 1:
        raise InputError(f"-n {options.n}: must be at least 1")
    if not 0 <= options.temperature < math.inf:
        raise InputError(f"--temperature {options.temperature}: must be at least 0")
    if options.exact_steps < 1:
        raise InputError(f"--exact-steps {options.exact_steps}: must be at least 1")
    if options.exact is not None and options.temperature != 1:
        raise InputError("--exact gives samples of the density: leave --temperature out")


def _exact(opened: OpenedRun, options: SampleOptions) -> Exact | None:
    if options.exact is None:
        return None
    return Exact(opened, options.exact, options.exact_steps, options.device)


def _way(opened: OpenedRun, options: SampleOptions) -> AbstractContextManager[None]:
    """By steps, or by sweeps where that is asked for and can be."""
    if not options.sweeps:
        return nullcontext()
    if opened.recipe.samples != "sequential":
        raise InputError(
            f"--sweeps is for flows that sample column by column, and the {opened.recipe.name} of "
            f"{options.run} does not: leave it out"
        )
    return by_sweeps(opened.flow)


def _plain(opened: OpenedRun, temperature: float) -> Draw:
    return lambda n, context, generator: opened.flow.sample(n, context, temperature, generator)


def _rows_wanted(options: SampleOptions, usual: int) -> int:
    """How many samples, where that was not said."""
    if options.context_file is None:
        return usual
    return sum(table.num_rows for table in read_tables(options.context_file))


def _chunk(opened: OpenedRun) -> int:
    return max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // len(opened.table.columns)))


def _sampled(
    opened: OpenedRun, options: SampleOptions, n: int, draw: Draw, screen: Screen
) -> Iterator[pa.Table]:
    """The samples as tables, a chunk at a time."""
    chunk = _chunk(opened)
    sizes = [chunk] * (n // chunk) + [n % chunk] * (n % chunk > 0)
    asked = (options.context_file, options.given, options.seed)
    rows = context_rows(opened, *asked, screen.warn)
    contexts = iter([None] * len(sizes)) if rows is None else rechunk(rows, sizes)
    generator = noise(opened.flow, options.seed)
    like = opened.flow.base.like
    for size, context in zip(sizes, contexts, strict=True):
        placed = None if context is None else context.to(like)
        yield opened.table.decode(draw(size, placed, generator), context)
