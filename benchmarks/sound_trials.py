"""Sound: what was tried of WaveNets and is no default, each beside a WaveNet as it is.

    OMP_NUM_THREADS=1 python benchmarks/sound_trials.py
    OMP_NUM_THREADS=1 python benchmarks/sound_trials.py --paces    how fast loops are, side by side

Several samples a step of the net, the recording's pitch as a context, noise on what the net sees
of the past, one more filter, Muon, a transformer in the place of the WaveNet: bits of test clips,
and copies by their spectra. Trials and ways that are not asked for stay on the page.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import caudal
from audio import DIGITS, READING, Cell, Speech, _pair, _signed, beside, two_se, values_of
from caudal import Training
from caudal.bijection import Chain, parts_of
from caudal.bijections import Autoregressive
from caudal.data import Dataset
from caudal.data.audio import AudioSchema, open_audio
from caudal.data.audio.clips import Clip, Clips, Crops
from caudal.data.schema import Column
from caudal.data.source import Rows
from caudal.flow import Flow
from caudal.losses import nll_per_element
from caudal.modalities.audio.audio import Audio
from caudal.recipes import WaveNet
from caudal.report.audio.copies import Copy, beginning, clips_to_copy, copy_of, refine_copies
from caudal.report.audio.hearing import HIGHEST, LOWEST, _sound
from caudal.report.audio.likeness import HEARD, MEASURES
from caudal.report.items import noise
from ears import JUDGED, judgements
from environment import RESULTS, describe, lines, table, write, write_json
from sound_layers import Corrected, Tried
from sound_tokens import Spoken
from tables import DATA_DIR

BATCH = 4
NET = {"layers": 10, "channels": 32}
SCORED = 100


@dataclass(frozen=True)
class Way:
    """A column of a trial.

    Attributes:
        words: what it is called.
        steps: of training.
        fields: of the recipe, `Tried`, or `Spoken` where it is a transformer.
        has_pitch: whether the net is told the pitch.
        is_corrected: whether the prediction's filters have one more, learned from the residuals.
        training: options that differ.
        rival: the way that it is compared with.
    """

    words: str
    steps: int
    fields: dict[str, Any]
    has_pitch: bool = False
    is_corrected: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    rival: str = "as it is"
    is_transformer: bool = False

    def recipe(self, hop: int) -> WaveNet:
        if self.is_transformer:
            return Spoken(hop=hop, **self.fields)
        return Tried(**NET, hop=hop, **self.fields)


@dataclass(frozen=True)
class Trial:
    title: str
    of: Speech
    copies: int
    ways: tuple[Way, ...]
    said: str


PITCH = (
    "Told the pitch, a net has beside the spectrum of each frame whether it is voiced, and log "
    "f0, as Praat finds them in the recording, in training and for copies: more than a regressor "
    "from the spectrum could know."
)
MUON = {"optimizer": "muon"}


def over_tokens(words: str, steps: int, size: int, joint: str, muon: bool = False) -> Way:
    """A transformer, beside the WaveNet of the same optimiser."""
    return Way(
        f"a transformer of tokens {words}",
        steps,
        {"size": size, "joint": joint},
        training=MUON if muon else {},
        rival="Muon, 300 steps" if muon else "as it is, 300 steps",
        is_transformer=True,
    )


TRIALS = {
    "digits": Trial(
        "Spoken digits, 8 kHz",
        DIGITS,
        24,
        (
            Way("as it is", 150, {}),
            Way("told the pitch", 150, {}, True),
            Way("a noisy past", 150, {"noise": 0.3}),
            Way("one more filter", 150, {}, is_corrected=True),
            Way("Muon", 150, {}, training=MUON),
            Way("as it is, 300 steps", 300, {}),
            Way("two samples a step", 300, {"size": 2}, rival="as it is, 300 steps"),
            Way("four samples a step", 600, {"size": 4}, rival="as it is, 300 steps"),
            Way("Muon, 300 steps", 300, {}, training=MUON, rival="as it is, 300 steps"),
            over_tokens("of 32, by couplings", 750, 32, "couplings"),
            over_tokens("of 32, Gaussian", 750, 32, "gaussian"),
            over_tokens("of 32, by couplings, Muon", 750, 32, "couplings", muon=True),
            over_tokens("of 16, by couplings, Muon", 600, 16, "couplings", muon=True),
            Way("as it is, 2,400 steps", 2400, {}),
            Way("Muon, 2,400 steps", 2400, {}, training=MUON, rival="as it is, 2,400 steps"),
        ),
        "A net that makes n samples a step has as many layers and goes through a crop in 1 / n "
        "of the steps; within a step samples are jointly Gaussian given the steps before. "
        f"{PITCH} The noise on the past is Gaussian, of 0.3 deviations of the residual, in "
        "training alone. One more filter, of order 32 and the same everywhere, is learned from "
        "the residuals by least squares, and the net learns what it leaves. A transformer has two "
        "layers of causal attention, of width 64, over tokens of so many successive samples of "
        "the residual, each told its spectrum; attention falls with the distance "
        "(arXiv:2108.12409). The samples of a token are jointly Gaussian given the tokens before, "
        "or move by four affine couplings, and the loop is one of PyTorch, where WaveNets have a "
        "compiled one.",
    ),
    "reading": Trial(
        "A voice that reads, 22 kHz",
        READING,
        8,
        (Way("as it is", 80, {}), Way("told the pitch", 80, {}, True)),
        PITCH,
    ),
}


# --- pitch -----------------------------------------------------------------------------------


def pitch_of(clip: Clip, schema: AudioSchema) -> Tensor:
    """log2 of f0 over 170 Hz, 0 where there is none, and whether there is one: (2, F)."""
    sound = _sound(clip.x[0] / schema.full_scale, schema.rate)
    pitch = sound.to_pitch_ac(
        time_step=schema.hop / schema.rate, pitch_floor=LOWEST, pitch_ceiling=HIGHEST
    )
    times = (np.arange(schema.frames(clip.x.shape[-1])) + 0.5) * schema.hop / schema.rate
    hertz = torch.tensor([pitch.get_value_at_time(t) for t in times])
    return torch.stack([(hertz / 170).log2().nan_to_num(0.0), (~hertz.isnan()).double()]).float()


def clips_of(clips: Clips, schema: AudioSchema, has_pitch: bool) -> list[Clip]:
    """Whole clips, with their pitch before their spectra if asked for."""
    each = [clips.clip(i) for i in range(len(clips.names))]
    if not has_pitch:
        return each
    return [c._replace(context=torch.cat([pitch_of(c, schema), c.context])) for c in each]


def crops_of(clips: list[Clip], schema: AudioSchema, n: int) -> Rows:
    """Crops at random with their contexts, of passes one after the other."""
    frames, hop = schema.crop // schema.hop, schema.hop
    crops, plan = Crops([clip.x.shape[-1] for clip in clips], frames, hop), []
    while len(plan) < n:
        plan += crops.shuffled(len(plan), 1 << 40).tolist()
    xs = [clips[c].x[:, f * hop : (f + frames) * hop] for c, f in plan[:n]]
    contexts = [clips[c].context[:, f : f + frames] for c, f in plan[:n]]
    xs = [F.pad(x, (0, frames * hop - x.shape[-1])) for x in xs]
    contexts = [F.pad(c, (0, frames - c.shape[-1]), mode="replicate") for c in contexts]
    return Rows(torch.stack(xs), torch.stack(contexts))


# --- a way -----------------------------------------------------------------------------------


def taught(way: Way, schema: AudioSchema, train: list[Clip]) -> tuple[Flow, float]:
    """A WaveNet after its steps, and the seconds of the processor that they took."""
    columns = (Column("f0", "real"), Column("voiced", "real")) if way.has_pitch else ()
    torch.manual_seed(0)
    flow = Audio().dress(way.recipe(schema.hop), replace(schema, context=columns))
    if way.is_corrected:
        layer, standardise, *known = parts_of(flow.bijection)
        corrected = Corrected([residual(Chain(known), clip) for clip in train])
        flow.bijection = Chain([layer, standardise, corrected, *known])
    usual = {"lr": 3e-3, "warmup": min(100, way.steps // 4), "patience": 0, "ema": 0.98}
    training = Training(epochs=1, batch_size=BATCH, **{**usual, **way.training})
    rows = crops_of(train, schema, way.steps * BATCH)
    start = time.process_time()
    some = Rows(rows.x[:BATCH], rows.context[:BATCH])
    fitted = caudal.fit(flow, rows, some, training=training, loss=nll_per_element)
    return fitted.flow.eval(), time.process_time() - start


@torch.no_grad()
def residual(known: Chain, clip: Clip) -> Tensor:
    """What the prediction leaves of a clip, (T,) float64."""
    return known.inverse(clip.x[None].double(), clip.context[None])[0][0, 0]


@torch.no_grad()
def told(flow: Flow, clips: list[Clip]) -> Tensor:
    """Bits a sample of clips."""
    nats = [-float(flow.log_prob(c.x[None], c.context[None])) / c.x.shape[-1] for c in clips]
    return torch.tensor(nats).double() / math.log(2)


@torch.no_grad()
def least_scale(flow: Flow, clips: list[Clip]) -> float | None:
    """The least log-scale that a net of single samples gives any of them."""
    layer, *known = parts_of(flow.bijection)
    if not isinstance(layer, Autoregressive):
        return None
    found = []
    for clip in clips:
        context = flow.embed(clip.context[None])
        r = Chain(known).inverse(clip.x[None].float(), context)[0]
        found.append(float(layer.elementwise.inverse(r, layer.net(r, context))[1].max()))
    return -max(found)


@torch.no_grad()
def drawn(flow: Flow, clips: list[Clip], indices: list[int], schema: AudioSchema) -> list[Copy]:
    """Copies in one batch, each of the noise that it would have alone."""
    length, frames = (
        max(c.x.shape[-1] for c in clips),
        max(c.context.shape[-1] for c in clips),
    )
    z = torch.zeros(len(clips), 1, length)
    for row, i, clip in zip(z, indices, clips, strict=True):
        n = clip.x.shape[-1]
        row[:, :n] = flow.base.sample(1, noise(flow, i), n)[0]
    contexts = [
        F.pad(c.context, (0, frames - c.context.shape[-1]), mode="replicate") for c in clips
    ]
    x = flow.decode(z, torch.stack(contexts))
    return [copy_of(c, own[:, : c.x.shape[-1]], schema) for c, own in zip(clips, x, strict=True)]


def pace_of(way: Way, schema: AudioSchema) -> float:
    """Seconds of the exact loop a second of sound, of WaveNets by a loop of as many steps."""
    if way.is_transformer:
        return paces([(way.recipe(schema.hop), 1)], schema, rounds=9)[0][1]
    return paces(wavenets([way.fields.get("size", 1)], schema), schema, rounds=9)[0][1]


def wavenets(sizes: Sequence[int], schema: AudioSchema) -> list[tuple[Any, int]]:
    """A WaveNet for each number of samples a step, and that number."""
    return [(WaveNet(**NET, hop=schema.hop // size), size) for size in sizes]


@torch.no_grad()
def paces(
    nets: list[tuple[Any, int]], schema: AudioSchema, rounds: int, length: int = 8192
) -> list[list[float]]:
    """The least, median and most seconds of the loop of each recipe, which take turns."""
    shapes = (1, -1), (schema.mels, -1)
    flows = [net.build(*shapes, standardise=False, white=True).eval() for net, _ in nets]
    sizes = [size for _, size in nets]
    context = torch.randn(1, schema.mels, length // schema.hop)
    took: list[list[float]] = [[] for _ in sizes]
    for _ in range(rounds):
        for size, flow, mine in zip(sizes, flows, took, strict=True):
            start = time.process_time()
            flow.sample(1, context, length=length // size)
            mine.append((time.process_time() - start) * schema.rate / length)
    return [[min(mine), sorted(mine)[rounds // 2], max(mine)] for mine in took]


def measure(trial: Trial, way: Way, dataset: Dataset) -> Cell:
    """What a way took to learn, and each measure of each clip."""
    of, schema = trial.of, dataset.schema
    indices, scored = (clips_to_copy(dataset.test, n) for n in (trial.copies, SCORED))
    train, test = (clips_of(p, schema, way.has_pitch) for p in (dataset.train, dataset.test))
    flow, seconds = taught(way, schema, train)
    some, heard = (
        [beginning(test[i], schema, of.seconds) for i in each] for each in (indices, scored)
    )
    copies = drawn(flow, some, indices, schema)
    refined = refine_copies(copies, dataset.test, indices, schema, seconds=of.seconds)
    values = {"bits": told(flow, heard), **of_copies(copies, schema, of)}
    values |= {f"{name}{REFINED}": v for name, v in of_copies(refined, schema, of).items()}
    cell = {"way": way.words, "steps": way.steps, "seconds": seconds}
    cell["pace"] = pace_of(way, schema)
    cell["least"] = least_scale(flow, heard)
    print(cell, {name: two_se(v) for name, v in values.items()}, flush=True)
    return {**cell, "values": {n: [round(x, 6) for x in v.tolist()] for n, v in values.items()}}


def of_copies(copies: list[Copy], schema: AudioSchema, of: Speech) -> dict[str, Tensor]:
    return values_of(copies, schema.rate) | judgements(copies, schema.rate, of.together)


REFINED = ", refined"


def against(own: Tensor, base: Tensor, name: str) -> list[float]:
    """The mean difference, two standard errors, and whether it is a gain, 1, or a loss, -1.

    Of what is best at 0, that of how far from 0 both are. Few values have no sign: two standard
    errors of them say little.
    """
    name = name.removesuffix(REFINED)
    if name in AROUND_0:
        own, base = own.abs(), base.abs()
    if name != "bits":
        mean, error, sign = beside(own, base, name)
        return [mean, error, sign if len(own) > FEW else 0]
    mean, error = two_se(own - base)
    return [mean, error, 0 if abs(mean) <= error else int(math.copysign(1, -mean))]


AROUND_0, FEW = ("level", "treble"), 4


def groups_of(name: str, found: Cell, trial: Trial) -> str:
    """How many values a row has, where there are few: of clips that were joined."""
    n, together = len(found["values"][name]), trial.of.together
    return f", of {n} groups of up to {together}" if n <= FEW and together > 1 else ""


# --- the page --------------------------------------------------------------------------------

SHOWN = [("bits", "bits a sample", 3)]
SHOWN += [(m.name, m.words, 2) for m in (*MEASURES, *HEARD)] + list(JUDGED)
SHOWN += [(name + REFINED, words + REFINED, n) for name, words, n in SHOWN[1:]]


def section(found: Cell, trial: Trial) -> list[str]:
    ways = [way for way in trial.ways if way.words in found["cells"]]
    cells = [found["cells"][way.words] for way in ways]
    values = {
        name: {n: torch.tensor(v).double() for n, v in cell["values"].items()}
        for name, cell in found["cells"].items()
    }
    seconds, pace, least = ([c.get(name) for c in cells] for name in ("seconds", "pace", "least"))
    rows = [
        ["commit", *(c["commit"] for c in cells)],
        ["steps of 4 crops", *(f"{c['steps']:,}" for c in cells)],
        ["seconds of the processor in training", *(f"{x:.0f}" for x in seconds)],
        ["seconds of the loop a second of sound", *(f"{x:.3f}" for x in pace)],
        ["least log-scale of a sample", *("" if x is None else f"−{-x:.1f}" for x in least)],
    ]
    for name, words, digits in (each for each in SHOWN if each[0] in values[ways[0].words]):
        words += groups_of(name, cells[0], trial)
        row = [words, _pair(two_se(values[ways[0].words][name]), digits)]
        for way in ways[1:]:
            pair = (values[who].get(name) for who in (way.words, way.rival))
            row.append(_signed(against(*pair, name), digits))
        rows.append(row)
    heads = [f"{way.words} less {way.rival}" for way in ways[1:]]
    said = (
        f"{trial.said} {trial.copies} copies, bits of up to {SCORED} test clips, as much of each."
    )
    text = [f"## {trial.title}", "", *lines(found["facts"]), "", said, ""]
    return [*text, *table(["", ways[0].words, *heads], rows), ""]


def side_by_side(found: Cell) -> list[str]:
    """The paces of loops that took turns, which those of the trials did not."""
    rows = [
        [f"{size}", *(f"{seconds:.3f}" for seconds in took)]
        for size, took in zip(found["sizes"], found["seconds"], strict=True)
    ]
    said = (
        f"Processor seconds a second of sound, of {found['rounds']} rounds in which the loops "
        "took turns. Those in the tables above were measured with each way, hours apart, and "
        "differ by more than ways do."
    )
    head = ["samples a step", "least", "median", "most"]
    text = ["## Loops side by side", "", *lines(found["facts"]), "", said, ""]
    return [*text, *table(head, rows), ""]


def measure_side_by_side(data_dir: Path) -> Cell:
    schema = open_audio(str(data_dir / DIGITS.folder), **DIGITS.options).schema
    sizes, rounds = (1, 2, 4), 21
    nets = wavenets(sizes, schema)
    paces(nets, schema, 2)  # the first rounds compile
    seconds = paces(nets, schema, rounds)
    facts = describe(("torch",))
    return {"sizes": sizes, "rounds": rounds, "seconds": seconds, "facts": facts}


def tell(found: Cell, path: Path) -> None:
    text = ["# Sound: what was tried, and is no default", "", SAID, ""]
    text += [line for n in TRIALS if n in found for line in section(found[n], TRIALS[n])]
    text += side_by_side(found["paces"]) if "paces" in found else []
    write(path.with_suffix(".md"), "\n".join(text).rstrip() + "\n")


SAID = (
    "Nets on the linear prediction, WaveNets of 10 layers of 32 channels unless the column says "
    "otherwise, one seed, each beside "
    "another: differences clip by clip, ± two standard errors over clips, bold where "
    "they are better beyond these, slanted where worse. Level and treble are best at 0: what "
    "stands beside them is by how much further from 0 each is. What is judged of a few groups of "
    "clips, joined one after the other, has no marks: two standard errors of three values hold "
    "the truth in four cases of five, and the last group is shorter. *Refined*: made consistent "
    "with their spectra in 32 steps. The loop's seconds are those of a loop of as many steps, "
    "whose first and last layers are of one sample."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trial", choices=TRIALS, action="append")
    parser.add_argument("--way", action="append", help="a column of it, all unless given")
    parser.add_argument("--paces", action="store_true", help="those side by side alone")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = options.out / "sound_trials.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    if options.paces:
        found["paces"] = measure_side_by_side(options.data_dir)
        write_json(path, found)
        return tell(found, path)
    for name in options.trial or TRIALS:
        trial = TRIALS[name]
        if not (folder := options.data_dir / trial.of.folder).exists():
            print(f"{name}: left out, {folder} is not there (see --data-dir)")
            continue
        facts = {
            **describe(),
            "command": f"python benchmarks/sound_trials.py --trial {name}",
        }
        commit, part = facts.pop("commit"), found.setdefault(name, {"cells": {}})
        part["facts"] = facts
        dataset = open_audio(str(folder), **trial.of.options)
        for way in trial.ways:
            if way.words in (options.way or [way.words]):
                cell = {**measure(trial, way, dataset), "commit": commit}
                part["cells"][way.words] = cell
                write_json(path, found)
        tell(found, path)
    return None


if __name__ == "__main__":
    main()
