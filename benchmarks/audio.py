"""Sound: how fast it is made, what is learned of a process that is known, and of speech.

    OMP_NUM_THREADS=1 python benchmarks/audio.py --part speed --part known
    OMP_NUM_THREADS=1 python benchmarks/audio.py --part speech --part reading --part pace

`speech`, `reading` and `pace` measure what is in `--runs` already, made by the commands that their
page prints. Other parts stay.
"""

import argparse
import functools
import json
import math
import shlex
import statistics
import textwrap
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import caudal
from caudal import Training
from caudal.bijection import parts_of
from caudal.bijections import Autoregressive, by_sweeps
from caudal.data import Dataset
from caudal.data.audio import open_audio
from caudal.data.audio.refinement import STEPS
from caudal.data.source import Rows
from caudal.flow import Flow
from caudal.losses import (
    conditional_kl,
    conditionals,
    nll_per_element,
)
from caudal.model import Model, load
from caudal.model.finishing import command_of
from caudal.recipes import ParallelWaveNet, WaveNet
from caudal.report import Autoregression, evaluate
from caudal.report.audio.copies import (
    Copy,
    clips_to_copy,
    copy_of,
    draw_copies,
    refine_copies,
)
from caudal.report.audio.distilled import kl_per_sample
from caudal.report.audio.floors import (
    GRIFFIN_LIM,
    NOISE,
    PREDICTION,
    draw_floors,
    prediction_alone,
)
from caudal.report.audio.likeness import HEARD, MEASURES, Mean, measured
from caudal.report.audio.pictures import Sound, draw_spectrograms, top_of
from caudal.report.speed import naively, stepwise
from caudal.report.style import DATA, QUIET, SAMPLES
from caudal.training.clip_terms import AudioDistillation
from caudal.training.run import Run
from caudal.training.student import distill
from ears import JUDGED, TOGETHER, Recogniser, judged, judgements
from environment import RESULTS, describe, lines, table, write, write_json
from tables import DATA_DIR

PARTS = ("speed", "known", "speech", "reading", "pace")
Cell = dict[str, Any]


# --- speed -----------------------------------------------------------------------------------

RATE, MELS, HOP = 16_000, 64, 128


@dataclass(frozen=True)
class Size:
    """A teacher and a student of equal width; seconds of a clip, a quarter of it in a batch."""

    layers: int
    cycle: int
    flows: tuple[int, ...]
    channels: int = 64
    seconds: float = 1.0

    @property
    def words(self) -> str:
        return f"{self.layers} layers; student {' + '.join(map(str, self.flows))}"

    def length(self, batch: int) -> int:
        return int(self.seconds * RATE) // (1 if batch == 1 else 4)

    def teacher(self, law: str = "gaussian") -> Flow:
        recipe = WaveNet(self.channels, self.cycle, hop=HOP, layers=self.layers, law=law)
        return recipe.build((1, -1), (MELS, -1), standardise=False).eval()

    def student(self) -> Flow:
        recipe = ParallelWaveNet(self.channels, self.cycle, hop=HOP, flows=self.flows)
        return recipe.build((1, -1), (MELS, -1), standardise=False).eval()


SIZES = (Size(30, 10, (10, 10, 10, 30)), Size(16, 8, (8, 8, 8, 16)))
BATCHES = (1, 8)
NAIVE, QUEUES, FASTEST = "teacher, naive", "teacher, queues", "teacher, as sampled"
SCORE, STUDENT = "teacher, scoring", "student"
LAWS = ("logistics", "softmax")
PARALLEL = (SCORE, STUDENT)


@torch.no_grad()
def speed(rounds: int, repetitions: int, threads: Sequence[int] = (1,)) -> list[Cell]:
    cells = []
    for size in SIZES:
        for batch in BATCHES:
            found = _cells(size, batch, rounds, repetitions, threads)
            print(*found, sep="\n", flush=True)
            cells += found
    return cells


def _cells(
    size: Size, batch: int, rounds: int, repetitions: int, threads: Sequence[int]
) -> list[Cell]:
    ways = _ways(size, batch)
    found = {}
    for n in threads:
        torch.set_num_threads(n)
        chosen = ways if n == 1 else {name: ways[name] for name in PARALLEL}
        clock = time.process_time if n == 1 else time.perf_counter
        for name, seconds in _best(chosen, rounds, repetitions, clock).items():
            found[name, n] = batch * ways[name][0] / seconds
    torch.set_num_threads(1)
    return [
        {
            "size": size.words,
            "batch": batch,
            "way": name,
            "threads": n,
            "per_second": per_second,
            "ratio": per_second / found[NAIVE, 1],
            "times_real": per_second / RATE,
        }
        for (name, n), per_second in found.items()
    ]


def _ways(size: Size, batch: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Samples of each clip that a run makes, and the run."""
    torch.manual_seed(0)
    teacher, student = size.teacher(), size.student()
    length = size.length(batch)
    context = torch.randn(batch, MELS, -(-length // HOP))
    x, some = torch.randn(batch, 1, length), max(2, 8 // batch)
    steps = min(length, 400)

    def drawn(flow: Flow, samples: int = length) -> tuple[int, Callable[[], object]]:
        return samples, lambda: flow.sample(batch, context, length=samples)

    def exact(flow: Flow) -> tuple[int, Callable[[], object]]:
        return drawn(flow, length if is_compiled(flow, batch) else steps)

    ways = {
        NAIVE: (some, naively(teacher, context, length, batch, some)),
        QUEUES: drawn(stepwise(teacher), steps),
        FASTEST: exact(teacher),
        SCORE: (length, lambda: teacher.log_prob(x, context)),
        STUDENT: drawn(student),
    }
    if batch == 1:
        ways |= {f"{FASTEST}, {law}": exact(size.teacher(law)) for law in LAWS}
    return ways


@torch.no_grad()
def is_compiled(flow: Flow, batch: int = 1) -> bool:
    """Whether sampling goes through a compiled loop here."""
    layer = parts_of(flow.bijection)[0]
    z = flow.base.draw(batch, 1, 2)
    context = z.new_zeros(batch, MELS, 1)
    return layer.net.unroll(z, layer.elementwise.scalar, flow.embed(context)) is not None


def _best(
    ways: dict[str, tuple[int, Callable[[], object]]],
    rounds: int,
    repetitions: int,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Of each way the least median of a few rounds, in which the ways take turns."""
    for _, run in ways.values():
        run()  # which compiles, and fills caches
    medians: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repetitions):
            for name, (_, run) in ways.items():
                start = clock()
                run()
                seconds[name].append(clock() - start)
        for name, some in seconds.items():
            medians[name].append(statistics.median(some))
    return {name: min(some) for name, some in medians.items()}


# --- a process that is known -----------------------------------------------------------------

A1, A2 = 1.6, -0.81
"""x_t = A1 x_(t-1) + A2 x_(t-2) + noise: poles of radius 0.9."""
DEVIATION = math.sqrt((1 - A2) / ((1 + A2) * ((1 - A2) ** 2 - A1**2)))
NET = {"channels": 16, "cycle": 4}
LENGTH = 128
DRAWS = (1, 4, 16)


def process(n: int, seed: int) -> Tensor:
    """Rows (n, 1, LENGTH) of deviation 1."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(seed).standard_normal((n, LENGTH + 300))
    x = lfilter([1.0], [1.0, -A1, -A2], noise)[:, 300:]
    return torch.from_numpy(x / DEVIATION).float().unsqueeze(1)


def log_prob_of_process(x: Tensor) -> Tensor:
    """The log-density of rows (n, 1, T), exact, in nats: (n,) float64."""
    x = x.double().flatten(1)
    first = A1 / (1 - A2)  # the correlation of neighbours
    means = A1 * x[:, 1:-1] + A2 * x[:, :-2]
    parts = [
        torch.distributions.Normal(0.0, 1.0).log_prob(x[:, :1]),
        torch.distributions.Normal(first * x[:, :1], math.sqrt(1 - first**2)).log_prob(x[:, 1:2]),
        torch.distributions.Normal(means, 1 / DEVIATION).log_prob(x[:, 2:]),
    ]
    return torch.cat(parts, 1).sum(1)


def known(steps: int, rows: int) -> list[Cell]:
    train, valid, test = (process(n, s) for s, n in enumerate((20_000, 300, rows)))
    cells = []
    for law, noise in (("gaussian", "normal"), ("logistics", "logistic")):
        torch.manual_seed(0)
        teacher = WaveNet(layers=4, law=law, components=3, **NET).build((1, -1), standardise=False)
        start = time.process_time()
        teacher = caudal.fit(
            teacher, train, valid, training=_training(steps), loss=nll_per_element
        ).flow.eval()
        seconds = time.process_time() - start
        cells.append(_taught(law, teacher, test, seconds))
        for draws in DRAWS if law == "logistics" else (None,):
            torch.manual_seed(1)
            student = ParallelWaveNet(flows=(4, 4), noise=noise, **NET).build(
                (1, -1), standardise=False
            )
            options = AudioDistillation(spectral=0.0, draws=draws or 1)
            start = time.process_time()
            student = distill(
                student,
                teacher,
                Rows(train),
                Rows(valid),
                options=options,
                training=_training(steps),
            ).flow
            seconds = time.process_time() - start
            cells.append(_learned(noise, draws, student, teacher, rows, seconds))
    return cells


def _training(steps: int) -> Training:
    return Training(
        steps=steps,
        batch_size=48,
        lr=4e-3,
        warmup=max(1, min(100, steps // 4)),
        validate_every=steps,
        patience=0,
        ema=0.98,
    )


@torch.no_grad()
def _taught(law: str, teacher: Flow, test: Tensor, seconds: float) -> Cell:
    exact = log_prob_of_process(test) / LENGTH
    found = teacher.log_prob(test).double() / LENGTH
    return {
        "flow": f"teacher, {law}",
        "draws": None,
        "nll": mean_of(-found),
        "exact": mean_of(-exact),
        "above": mean_of(exact - found),
        "kl": None,
        "seconds": seconds,
    }


@torch.no_grad()
def _learned(
    noise: str, draws: int | None, student: Flow, teacher: Flow, rows: int, seconds: float
) -> Cell:
    """Its own samples, under itself, the teacher and the process."""
    generator = torch.Generator().manual_seed(2)
    z = student.base.draw(rows, 1, LENGTH, generator=generator)
    found = conditionals(student, z)
    apart = conditional_kl(student, teacher, found, draws=64, generator=generator)
    entropy = apart.entropy.double().flatten(1).mean(1)
    return {
        "flow": f"student, {noise}",
        "draws": draws,
        "nll": None,
        "exact": None,
        "above": mean_of(-log_prob_of_process(found.x) / LENGTH - entropy),
        "kl": mean_of(apart.kl.double().flatten(1).mean(1)),
        "seconds": seconds,
    }


def mean_of(values: Tensor) -> list[float]:
    """A mean and two standard errors of it."""
    return [float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))]


LEAST = 0.5 * math.log(2 * math.pi * math.e) - 2 - math.log(math.sqrt(3) / math.pi)
"""KL of a logistic from the normal of equal variance: no logistic student comes closer."""


# --- speech ----------------------------------------------------------------------------------

REFINED = ", refined"
"""What follows the name of copies that are made consistent with their spectra."""
REAL = "recordings"


@dataclass(frozen=True)
class Speech:
    """Recordings, how they and their spectra are read, and what is taken of them.

    Attributes:
        folder: where they are, and what names of runs begin with.
        options: of reading them.
        seconds: of each clip at most, None for all.
        together: clips that are joined before STOI and PESQ hear them.
        digits: whether they are digits, which are recognised.
        picture: the file of docs/images that shows some copies.
    """

    folder: str
    options: dict[str, Any]
    seconds: float | None
    together: int
    digits: bool
    picture: str

    @property
    def teacher(self) -> str:
        """A small WaveNet on the linear prediction, as a user's first minutes give it."""
        return f"{self.folder}-minutes"

    @property
    def students(self) -> dict[str, str]:
        return {
            f"{self.folder}-student": "its student",
            f"{self.folder}-student-kl": "a student of the KL alone",
        }

    @property
    def names(self) -> dict[str, str]:
        """What the page calls each run."""
        return {self.teacher: "small WaveNet, 5 minutes", **self.students}


CLIPS = {"test": "*_[0-4].flac", "rate": 8000, "seconds": 0.25, "window": 256, "hop": 64}
READ = {"test": "LJ001-00[23]*", "valid": "LJ001-001[89]*", "hop": 256, "window": 1024, "mels": 80}
DIGITS = Speech("fsdd", CLIPS, None, TOGETHER, True, "refined-speech.png")
READING = Speech("ljspeech", READ, 4.0, 1, False, "refined-reading.png")
SPEECH = {"speech": DIGITS, "reading": READING}
"""What each part of the page is of."""
TEACHER = DIGITS.teacher
NAMES = {name: words for of in SPEECH.values() for name, words in of.names.items()}


@dataclass(frozen=True)
class Limits:
    """How many clips are copied, and measured; seconds for the teacher's; samples swept."""

    copies: int = 300
    measured: int = 60
    seconds: float = 180.0
    swept: int = 512
    pictures: Path | None = None
    """Where a picture of copies goes, if anywhere."""


def speech(of: Speech, runs: Path, data: Path, limits: Limits) -> list[Cell]:
    """A row for the recordings, for each floor, and for each finished run's copies of them."""
    opened = {name: load(runs / name) for name in of.names if Run(runs / name).model_path.exists()}
    dataset = open_audio(str(data / of.folder), **of.options)
    test, schema = dataset.test, dataset.schema
    recognise = Recogniser(dataset) if of.digits else None
    indices = clips_to_copy(test, limits.copies)
    copies = dict(draw_floors(test, indices, schema, seconds=of.seconds))
    for name, run in opened.items():
        copies[name] = copied(run.flow, dataset, indices, limits, of.seconds)
    for name in (PREDICTION, *opened):
        some = copies[name]
        copies[name + REFINED] = refine_copies(
            some, test, indices[: len(some)], schema, seconds=of.seconds
        )
    if limits.pictures and of.teacher in opened:
        draw_copied(limits.pictures / of.picture, of, copies, schema.rate)
    real = recordings(test)
    cells = [{"who": REAL, "copies": len(real), **recognised(recognise, real)}]
    cells[0] |= judged(real[: limits.copies], schema.rate, of.together)
    rival: dict[str, Tensor] = {}
    for name, some in copies.items():
        cell = {"who": name, "copies": len(some), **recognised(recognise, some)}
        values = values_of(some[: limits.measured], schema.rate)
        values |= judgements(some, schema.rate, of.together)
        cell |= {"measured": min(len(some), limits.measured), **means(values)}
        if name == GRIFFIN_LIM:
            rival = values
        if name.endswith(REFINED):
            cell["beside"] = {k: beside(v, rival[k], k) for k, v in values.items()}
        if name in opened:
            cell |= {"command": made_by(opened[name])}
        if name == of.teacher:
            cell |= bits_of(opened[name].flow, dataset)
            cell |= swept(opened[name].flow, dataset, limits.swept)
        elif name in of.students and of.teacher in opened:
            pair = opened[name].flow, opened[of.teacher].flow
            cell["kl"] = kl_per_sample(*pair, test, indices[: limits.measured])
        print(cell, flush=True)
        cells.append(cell)
    return cells


def draw_copied(path: Path, of: Speech, copies: dict[str, list[Copy]], rate: int) -> None:
    """A picture of two clips, and of what a flow and Griffin-Lim make of their spectra."""
    columns = {"WaveNet": of.teacher, "the same, refined": of.teacher + REFINED}
    columns |= {GRIFFIN_LIM: GRIFFIN_LIM}
    originals = copies[of.teacher][:2]
    rows = [[Sound(REAL[:-1], copy.original, DATA)] for copy in originals]
    for title, name in columns.items():
        for row, copy in zip(rows, copies[name], strict=False):
            row.append(Sound(title, copy.sample, QUIET if name == GRIFFIN_LIM else SAMPLES))
    top = top_of([copy.original for copy in originals], rate)
    figure = draw_spectrograms(rows, [copy.name for copy in originals], rate, top)
    figure.savefig(path, dpi=110)


def recordings(clips: Any) -> list[Copy]:
    """All clips of a part, as copies of themselves."""
    each = map(clips.clip, range(len(clips.names)))
    return [copy_of(clip, clip.x, clips.schema) for clip in each]


def recognised(recogniser: Recogniser | None, copies: list[Copy]) -> Cell:
    """The share of digits that are recognised; nothing where there is no recogniser."""
    if recogniser is None:
        return {}
    return recogniser.score([c.sample for c in copies], [c.name for c in copies])


def copied(
    flow: Flow, dataset: Dataset, indices: list[int], limits: Limits, seconds: float | None
) -> list[Copy]:
    """Copies of the first of these clips, as many as fit into the time."""
    start, found = time.process_time(), []
    for some in (indices[i : i + 10] for i in range(0, len(indices), 10)):
        found += draw_copies(flow, dataset.test, some, dataset.schema, seconds=seconds)
        if time.process_time() - start > limits.seconds:
            break
    assert not any(one.broken for one in found), "a copy has values that are not finite"
    return found


def _measures(copies: list[Copy], rate: int) -> Cell:
    """How many copies there are, and the mean of each measure."""
    return {"measured": len(copies), **means(values_of(copies, rate))}


def values_of(copies: list[Copy], rate: int) -> dict[str, Tensor]:
    """Each measure of each copy, NaN where a copy has none."""
    measures = measured(copies, rate)
    return {measure.name: measures.of(measure).values for measure in measures.taken}


def means(values: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: two_se(some) for name, some in values.items()}


def two_se(values: Tensor) -> list[float]:
    """The mean of those values that there are, and two standard errors of it."""
    mean = Mean(values)
    return [mean.mean, 2 * mean.se]


def beside(own: Tensor, rival: Tensor, name: str) -> list[float]:
    """The mean difference from a rival's value of the same clips, two errors, and a sign.

    The sign is 1 where the own copies are better beyond two standard errors, -1 where they are
    worse, and 0 within.
    """
    fault = FAULTS[name]
    worse, error = two_se(fault(own) - fault(rival[: len(own)]))
    sign = 0 if not abs(worse) > error else -1 if worse > 0 else 1
    return [*two_se(own - rival[: len(own)]), sign]


FAULTS = {
    **{measure.name: measure.fault for measure in (*MEASURES, *HEARD)},
    **{name: torch.neg for name, *_ in JUDGED},
}
"""How bad a value is, of each measure."""


def bits_of(flow: Flow, dataset: Dataset) -> Cell:
    baseline = Autoregression.fit(None, dataset.train, dataset.schema)
    found = evaluate(flow, dataset.test, baseline, dataset.schema)
    return {
        "bits": [found.score, found.two_se],
        "bits_discretized": [found.discretized, found.discretized_two_se],
        "bits_autoregression": found.baseline,
        "bits_gain": [found.gain, found.gain_two_se],
        "bits_uniform": found.uniform,
        "bits_clips": found.rows,
    }


@torch.no_grad()
def swept(flow: Flow, dataset: Dataset, length: int) -> Cell:
    """Passes that the start of a clip takes by sweeps: one a sample is what steps take."""
    clip = dataset.test.clip(clips_to_copy(dataset.test, 1)[0])
    length = min(length, clip.x.shape[-1])
    z = flow.base.sample(1, torch.Generator().manual_seed(0), length)
    context = clip.context[None, :, : dataset.schema.frames(length)]
    count, sweep = 0, Autoregressive._sweep

    def counted(self: Autoregressive, *given: Any) -> tuple[Tensor, Tensor]:
        nonlocal count
        count += 1
        return sweep(self, *given)

    Autoregressive._sweep = counted
    try:
        with by_sweeps(flow):
            flow.decode(z, context)
    finally:
        Autoregressive._sweep = sweep
    return {"swept": length, "sweeps": count}


def made_by(run: Model) -> str:
    """The words that make a run, with folders as a checkout has them."""
    config = {**run.config, "data": f"../shared/data/{Path(run.config['data']).name}"}
    if "teacher" in config:
        config["teacher"] = f"runs/{Path(config['teacher']).name}"
    return command_of(config, run.kind, Path("runs") / Path(run.name).name)


LONG = 4096
"""Samples of a clip whose copies are timed."""


@torch.no_grad()
def pace(runs: Path, data: Path, rounds: int, repetitions: int) -> list[Cell]:
    """Seconds of a core a second of sound, of runs that copy digits and of the prediction."""
    dataset = open_audio(str(data / DIGITS.folder), **DIGITS.options)
    test, schema = dataset.test, dataset.schema
    clip = next(c for c in map(test.clip, range(len(test.names))) if c.x.shape[-1] >= LONG)
    there = [name for name in DIGITS.names if Run(runs / name).model_path.exists()]
    flows = {name: load(runs / name).flow.eval() for name in there}
    flows[PREDICTION] = prediction_alone(schema)
    cells = []
    for batch in BATCHES:
        context = clip.context[None, :, : schema.frames(LONG)].expand(batch, -1, -1).contiguous()
        ways = {
            name: (LONG, functools.partial(flow.sample, batch, context, length=LONG))
            for name, flow in flows.items()
        }
        for name, seconds in _best(ways, rounds, repetitions, time.process_time).items():
            took = seconds * schema.rate / (batch * LONG)
            cells.append({"who": name, "batch": batch, "seconds": took})
            print(cells[-1], flush=True)
    return cells


# --- the page --------------------------------------------------------------------------------

TITLES = {
    "speed": "Speed",
    "known": "A process that is known: AR(2), poles of radius 0.9",
    "speech": "Speech: spoken digits, six voices, 8 kHz",
    "reading": "Speech: a voice that reads, 22 kHz",
    "pace": "How fast copies of digits are made",
}
NOTES = {
    "speed": f"""Weights as they start, untrained: how fast a net is does not depend on them. 64
channels, kernel 2, given {MELS} mels every {HOP} samples; one clip of a second at {RATE // 1000}
kHz, or eight of a quarter. *Naive* runs the receptive field again for each sample, *queues* keeps
what is known, *as sampled* is what a user gets: {{loop}}. *Scoring* is the teacher's density of a
clip in one pass. Of naive and queues only a stretch is timed, and counts by the sample. Each
figure is the best of a few medians. With one thread, seconds are those of the processor, as other
work ran on the machine; with two, of the clock: `--threads 1 2`, on a machine at rest. Ratios are
to the naive teacher of the same batch, one thread; they grow with the receptive field, {{fields}}
samples. A student has about twice the layers of its teacher. The aim: a student at least 1000
times as fast as the naive teacher, and the exact teacher in real time.""",
    "known": f"""Clips of {LENGTH} samples. Teachers: 4 layers of 16 channels, {{steps}} steps;
logistics are mixtures of 3. Students: two flows of 4 layers, equal steps, of the KL alone.
*Above the process* is, of a teacher, its mean negative log-likelihood of test clips less the
process's own, clip by clip; of a student, KL(student‖process), of its own samples. All in nats
a sample, ± two standard errors over clips. Normal students: in closed form, given the noise;
logistic ones: the cross-entropy is a mean over draws, as many as stated in training, 64 in the
figures. A logistic is {LEAST:.4f} nats from the nearest normal: no logistic student of this
process comes below that.""",
    "speech": f"""Copies are drawn for the spectrogram of a test clip, and measured against it.
Shaped noise, Griffin-Lim and prediction learn nothing, refined or not: a model whose copies are no
better has learned nothing that these measures see. The recogniser is a support vector machine over
log-mels, trained on recordings of the training clips alone; chance is 10 %. It says whether words
survive, not whether a copy sounds natural: the spectrogram that copies are given says the word.
Recognition, STOI, PESQ and DNSMOS are of all copies, the latter three of {TOGETHER} joined; the
other measures of the first 60. DNSMOS, of the package speechmos, predicts listeners' opinions, 1
to 5, of sound at 16 kHz. Means ± two standard errors. *Refined*: made consistent with their
spectra in {STEPS} steps, as many as Griffin-Lim takes from random phases.""",
    "reading": f"""LJSpeech, 32 clips: 17 to learn from, two to choose weights by. Copies are of
the first {READING.seconds:g} seconds of test clips, made as those of digits above; recordings are
judged whole. Means ± two
standard errors over clips. *Refined*: in {STEPS} steps.""",
    "pace": f"""Seconds of a core for a second of sound at 8 kHz, of the runs above as `caudal
sample` draws them: {LONG:,} samples a clip by its spectrum, one clip or eight at once, one thread,
seconds of the processor. Each figure is the best of a few medians, in which they take turns. Steps
that refine copies are not in it.""",
}
WAY_COLUMNS = ["size", "batch", "way", "threads", "samples / s", "× naive", "× real time"]


def _speed_lines(found: Cell) -> list[str]:
    rows = [
        [
            c["size"],
            str(c["batch"]),
            c["way"],
            str(c["threads"]),
            _digits(c["per_second"]),
            _digits(c["ratio"]),
            f"{c['times_real']:.3g}",
        ]
        for c in found["cells"]
    ]
    return [*table(WAY_COLUMNS, rows), "", *_reached(found["cells"])]


def _reached(cells: list[Cell]) -> list[str]:
    """Against the aim, and against the fastest exact way, which the thousandfold hides."""
    rates = {
        (c["size"], c["batch"], c["way"]): c["per_second"] for c in cells if c["threads"] == 1
    }
    said = []
    for size, batch in dict.fromkeys((size, batch) for size, batch, _ in rates):
        naive, exact, student = (rates[size, batch, way] for way in (NAIVE, FASTEST, STUDENT))
        said.append(
            f"- {size}, batch {batch}: the student is {_digits(student / naive)} times as fast as "
            f"the naive teacher, and {student / exact:.2g} times as fast as the exact one as "
            f"sampled, which makes {exact / RATE:.2f} seconds of sound a second."
        )
    return said


def _known_lines(found: Cell) -> list[str]:
    header = ["flow", "draws", "negative log-likelihood", "the process's own"]
    header += ["above the process", "KL(student‖teacher)", "CPU s"]
    rows = [
        [
            c["flow"],
            "" if c["draws"] is None else str(c["draws"]),
            *(_pair(c[name], 4) for name in ("nll", "exact", "above", "kl")),
            f"{c['seconds']:.0f}",
        ]
        for c in found["cells"]
    ]
    return table(header, rows)


def _speech_lines(found: Cell) -> list[str]:
    cells = found["cells"]
    names = NAMES | {name + REFINED: words + REFINED for name, words in NAMES.items()}
    rows = [["commit", *(c.get("commit", "") for c in cells)]]
    if any("recognised" in c for c in cells):
        rows += [["digits recognised, %", *(_percent(c["recognised"]) for c in cells)]]
    rows += [["of how many", *(str(c["copies"]) for c in cells)]]
    rows += [["KL(student‖teacher), nats a sample", *(_pair(c.get("kl"), 3) for c in cells)]]
    rows += [
        [f"{m.words}, {m.meaning}", *(_pair(c.get(m.name), 2) for c in cells)]
        for m in (*MEASURES, *HEARD)
    ]
    rows += [[words, *(_pair(c.get(name), n) for c in cells)] for name, words, n in JUDGED]
    picture = found.get("said", {}).get("picture")
    shown = [SHOWN.format(picture), ""] if picture else []
    lines = [
        *(f"- {names[c['who']]}: `{c['command']}`" for c in cells if "command" in c),
        "",
        *shown,
        *table(["", *(names.get(c["who"], c["who"]) for c in cells)], rows),
    ]
    lines += _beside_lines([c for c in cells if "beside" in c], names)
    for cell in cells:
        if "bits" in cell:
            lines += ["", _bits_line(names[cell["who"]], cell)]
        if "sweeps" in cell:
            lines += ["", SWEPT.format(**cell)]
    return lines


def _beside_lines(cells: list[Cell], names: dict[str, str]) -> list[str]:
    """A table of what refined copies are beside Griffin-Lim's of as many steps, clip by clip."""
    if not cells:
        return []
    measures = [(m.name, m.words, 2) for m in (*MEASURES, *HEARD)] + list(JUDGED)
    rows = [
        [words, *(_signed(c["beside"].get(name), max(digits, 3)) for c in cells)]
        for name, words, digits in measures
    ]
    head = ["less Griffin-Lim's", *(names.get(c["who"], c["who"]) for c in cells)]
    return ["", BESIDE, "", *table(head, rows)]


def _both_lines(found: dict[str, Any]) -> list[str]:
    """A table of both sets: who is ahead of Griffin-Lim, and how far students are behind."""
    rows = []
    for part, name in (("speech", "digits"), ("reading", "reading")):
        of, cells = SPEECH[part], {c["who"]: c for c in found[part]["cells"]}
        teacher, student = of.teacher, next(iter(of.students))
        pairs = (teacher, student), (teacher + REFINED, student + REFINED)
        columns = (NOISE, GRIFFIN_LIM, teacher, teacher + REFINED, student, student + REFINED)
        measures = [(m.name, m.words, 2) for m in (*MEASURES, *HEARD)] + list(JUDGED)
        for key, words, digits in measures:
            row = [f"{name}: {words}", _pair(cells[REAL].get(key), digits)]
            row += [_marked(cells[who], cells[GRIFFIN_LIM], key, digits) for who in columns]
            rows.append(row + [_ratio(*(cells[who][key] for who in pair), key) for pair in pairs])
    head = ["", REAL, NOISE, GRIFFIN_LIM, "WaveNet", "refined", "student", "refined"]
    return table([*head, "student / WaveNet", "both refined"], rows)


def _has_students(found: dict[str, Any]) -> bool:
    """Whether the teacher and the student of both sets were there, refined too."""
    return all(
        {who + more for who in (of.teacher, next(iter(of.students))) for more in ("", REFINED)}
        <= {cell["who"] for cell in found.get(part, {}).get("cells", [])}
        for part, of in SPEECH.items()
    )


def _marked(cell: Cell, rival: Cell, key: str, digits: int) -> str:
    """A mean, marked where it is beyond chance ahead of a rival's or behind: pairwise if known."""
    if cell is rival:
        return _pair(cell[key], digits)
    sign = cell["beside"][key][2] if "beside" in cell else 0
    if "beside" not in cell:
        own, other = (float(FAULTS[key](torch.tensor(c[key][0]))) for c in (cell, rival))
        beyond = abs(own - other) > math.hypot(cell[key][1], rival[key][1])
        sign = int(math.copysign(beyond, other - own))
    return _signed([*cell[key], sign], digits)


def _ratio(teacher: list[float], student: list[float], key: str) -> str:
    """How many times as bad a student is; how many times as good where more is better.

    With its error, as of independent means; none where the teacher's may be 0.
    """
    if not abs(teacher[0]) > teacher[1]:
        return ""
    ratio = abs(student[0] / teacher[0])
    error = math.hypot(student[1], ratio * teacher[1]) / abs(teacher[0])
    worse = 1 - ratio if key in MORE else ratio - 1
    text = f"{ratio:.2f} ± {error:.2f}"
    return f"*{text}*" if worse > error else text


MORE = ("voicing", *(name for name, *_ in JUDGED))
"""Measures of which more is better; of others less, or nearer to 0."""


def _signed(value: list[float] | None, digits: int) -> str:
    if value is None:
        return ""
    text = _pair(value[:2], digits)
    return {1: f"**{text}**", -1: f"*{text}*"}.get(int(value[2]), text)


BESIDE = (
    "Differences from Griffin-Lim, which takes as many steps, clip by clip, ± two standard "
    "errors: bold where the copies are better beyond these, slanted where they are worse."
)
BOTH = textwrap.fill(
    "Bold where copies are ahead of Griffin-Lim beyond two standard errors, slanted where behind: "
    "clip by clip where they are refined, as two means where not. The last columns say how large "
    "the student's fault is beside its teacher's, or, of voicing, STOI, PESQ and opinion, its "
    "value, ± two standard errors as of means of other clips, which is more than they have: "
    "slanted where the student is worse beyond these, and empty where the teacher's is 0 within "
    "its own. STOI, PESQ and opinion of digits are of groups of ten clips.",
    100,
)
SHOWN = "![Spectrograms of two clips, and of what is made of their spectra](../../docs/images/{})"
SWEPT = "By Jacobi sweeps, {swept} samples of it took {sweeps} passes over all of them."


def _bits_line(name: str, cell: Cell) -> str:
    gain = f"{_pair(cell['bits_gain'], 3)} below the autoregression, clip by clip"
    return (
        f"Bits a sample of all {cell['bits_clips']} test clips: {name} "
        f"{_pair(cell['bits'], 3)} ({_pair(cell['bits_discretized'], 3)} discretised; "
        f"{gain}), Gaussian autoregression of order 32 {cell['bits_autoregression']:.3f}, "
        f"uniform {cell['bits_uniform']:.0f}."
    )


def _pace_lines(found: Cell) -> list[str]:
    took = {(c["who"], c["batch"]): c["seconds"] for c in found["cells"]}
    rows = []
    for who in dict.fromkeys(who for who, _ in took):
        row = [NAMES.get(who, who)]
        for batch in BATCHES:
            exact = took.get((TEACHER, batch))
            row += [f"{took[who, batch]:.4f}", f"{exact / took[who, batch]:.1f}" if exact else ""]
        rows.append(row)
    head = [f"{what}, batch {b}" for b in BATCHES for what in ("s / s", "× the exact loop")]
    return table(["", *head], rows)


LINES = {"speed": _speed_lines, "known": _known_lines, "pace": _pace_lines}
LINES |= dict.fromkeys(SPEECH, _speech_lines)


def _pair(value: list[float] | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value[0]:.{digits}f} ± {value[1]:.{digits}f}".replace("-", "−")


def _percent(value: list[float]) -> str:
    return f"{100 * value[0]:.1f} ± {100 * value[1]:.1f}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report(found: dict[str, Any]) -> str:
    text = ["# Sound", ""]
    for part in (part for part in PARTS if part in found):
        said = NOTES[part].format(**found[part].get("said", {}))
        said = textwrap.fill(" ".join(said.split()), 100, break_on_hyphens=False)
        text += [f"## {TITLES[part]}", "", *lines(found[part]["facts"]), "", said, ""]
        text += [*LINES[part](found[part]), ""]
        if part == "reading" and _has_students(found):
            text += ["## Both sets", "", BOTH, "", *_both_lines(found), ""]
    return "\n".join(text).rstrip() + "\n"


def main() -> None:
    warnings.simplefilter("ignore")
    options = parse()
    torch.set_num_threads(1)
    path = options.out / "audio.json"
    loop = "a loop compiled by Numba" if is_compiled(SIZES[1].teacher()) else "queues, here"
    fields_of = [f"{WaveNet(cycle=s.cycle, layers=s.layers).receptive_field:,}" for s in SIZES]
    said: dict[str, Cell] = {
        "speed": {"loop": loop, "fields": " and ".join(fields_of)},
        "known": {"steps": options.steps},
    }
    work = {
        "speed": functools.partial(speed, options.rounds, options.repetitions, options.threads),
        "known": functools.partial(known, options.steps, options.rows),
    }
    timed = options.runs, options.data_dir, options.rounds, options.repetitions
    work["pace"] = functools.partial(pace, *timed)
    pictures = RESULTS.parents[1] / "docs" / "images" if options.out == RESULTS else None
    asked = options.runs, options.data_dir, Limits(options.copies, pictures=pictures)
    work |= {part: functools.partial(speech, of, *asked) for part, of in SPEECH.items()}
    for part in options.part or PARTS:
        of = {**SPEECH, "pace": DIGITS}.get(part)
        if of and not (folder := options.data_dir / of.folder).exists():
            print(f"{part}: left out, {folder} is not there (see --data-dir)")
            continue
        cells = work[part]()
        if cells:
            found = json.loads(path.read_text()) if path.exists() else {}
            facts = {**describe(), "command": said_again(options, part)}
            if part in SPEECH:
                cells = beside_older(SPEECH[part], cells, found.get(part), facts["commit"])
                picture = SPEECH[part].picture
                if pictures and (pictures / picture).exists():
                    said[part] = {"picture": picture}
            found[part] = {"facts": facts, "said": said.get(part, {}), "cells": cells}
            write_json(path, found)
            write(path.with_suffix(".md"), report(found))
    if path.exists():
        print(path.with_suffix(".md").read_text(encoding="utf-8"))


def beside_older(of: Speech, cells: list[Cell], older: Cell | None, commit: str) -> list[Cell]:
    """New columns, then those of runs that are not there now, each with its commit."""
    new = [{**cell, "commit": commit} for cell in cells]
    kept = older["cells"] if older else []
    made = {cell["who"] for cell in new}
    known = {name + more for name in of.names for more in ("", REFINED)} - made
    return new + [
        {"commit": older["facts"]["commit"], **cell} for cell in kept if cell["who"] in known
    ]


def said_again(options: argparse.Namespace, part: str) -> str:
    """What makes a part again, folders as a checkout has them."""
    flags = {
        "speed": {"threads": " ".join(map(str, options.threads))},
        "known": {"steps": options.steps, "rows": options.rows},
        "pace": {"runs": "runs", "rounds": options.rounds},
        **dict.fromkeys(SPEECH, {"runs": "runs", "copies": options.copies}),
    }[part]
    words = [word for name, value in flags.items() for word in (f"--{name}", *str(value).split())]
    return shlex.join(["python", "benchmarks/audio.py", "--part", part, *words])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--threads", type=int, nargs="+", choices=(1, 2), default=[1])
    parser.add_argument("--rounds", type=int, default=3, help="of speed, of which the best")
    parser.add_argument("--repetitions", type=int, default=3, help="of a round")
    parser.add_argument("--steps", type=int, default=1500, help="of training on what is known")
    parser.add_argument("--rows", type=int, default=2000, help="of test, of what is known")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where speech's runs are")
    parser.add_argument("--copies", type=int, default=300, help="of test clips of speech")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
