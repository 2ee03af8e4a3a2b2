"""Samples made consistent with their spectra: whether a flow's start is better than random phases.

    OMP_NUM_THREADS=1 python benchmarks/refinement.py --runs runs

Copies of test clips of spoken digits and of LJSpeech, after some steps from random phases (that is
Griffin-Lim), from the linear prediction's noise, and from the samples of the WaveNets that are in
`--runs`. One row has what Griffin-Lim is elsewhere: magnitudes by the pseudo-inverse of the bands.
A second table has the differences from random phases of as many steps, clip by clip.
`--usual` prints the differences of the WaveNet's refined copies from that row alone.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio import DIGITS, READING, Cell, Speech, _pair, made_by, two_se, values_of
from caudal.data.audio import open_audio
from caudal.data.audio.refinement import MOMENTUM, overlapped, refined, spectra
from caudal.model import load
from caudal.report.audio.copies import Copy, beginning, clips_to_copy, copy_of, draw_copies
from caudal.report.audio.floors import griffin_lim, magnitudes_of, prediction_alone
from caudal.report.audio.likeness import HEARD, MEASURES, Measure
from caudal.training.run import Run
from ears import JUDGED, judgements
from environment import RESULTS, describe, lines, table, write, write_json
from tables import DATA_DIR

SETS = {
    "Spoken digits, 8 kHz, 64 bands, windows of 256 every 64": (DIGITS, 60),
    "LJSpeech, 22 kHz, 80 bands, windows of 1024 every 256": (READING, 12),
}
"""Recordings, and how many of them are copied."""
STEPS = (0, 8, 32, 128)
RANDOM, PLAIN = "random phases", "random phases, by magnitudes of bins"
WAVENET = "small WaveNet"
SHOWN = ("log_spectral_distance", "level", "voicing", "pitch", "harmonicity")
COMPARED = (
    *(measure for measure in (*MEASURES, *HEARD) if measure.name in SHOWN),
    *(Measure(name, words, "", torch.neg) for name, words, _ in JUDGED),
    Measure("bits", "bits a sample, by that WaveNet", "", torch.Tensor.clone),
)


def opened(of: Speech, clips: int, data: Path) -> tuple[Any, Any, list[int], list[Any]]:
    """The test clips, their schema, the numbers of those that are copied, and their beginnings."""
    dataset = open_audio(str(data / of.folder), **of.options)
    test, schema = dataset.test, dataset.schema
    indices = clips_to_copy(test, clips)
    return test, schema, indices, [beginning(test.clip(i), schema, of.seconds) for i in indices]


@torch.no_grad()
def measure(of: Speech, clips: int, data: Path, runs: Path) -> Iterator[Cell]:
    """A cell for each start and number of steps."""
    test, schema, indices, originals = opened(of, clips, data)
    contexts = [clip.context[None] for clip in originals]
    spectra_of = [context[:, -schema.mels :].double() for context in contexts]

    def copies_of(make: Callable[[int], Tensor]) -> list[Copy]:
        return [
            copy_of(clip, make(i) * schema.full_scale, schema) for i, clip in enumerate(originals)
        ]

    def told(start: str, steps: int, copies: list[Copy], seconds: float) -> Cell:
        length = sum(len(copy.sample) for copy in copies) / schema.rate
        values = _values(copies, schema.rate, of.together)
        if WAVENET in drawn:
            sounds = [copy.sample for copy in copies]
            values["bits"] = _bits(drawn[WAVENET], sounds, contexts, schema)
        means = {name: two_se(some) for name, some in values.items()}
        cell = {"start": start, "steps": steps, "seconds": seconds / length, **means}
        print(cell, flush=True)
        return {**cell, "measured": len(copies), "values": values}

    drawn: dict[str, Any] = {"prediction": prediction_alone(replace(schema, update=False))}
    if Run(runs / of.teacher).model_path.exists():
        drawn[WAVENET] = load(runs / of.teacher).flow
    starts: dict[str, list[Tensor]] = {RANDOM: []}
    for i, (clip, log_mel) in enumerate(zip(originals, spectra_of, strict=True)):
        phases = torch.Generator().manual_seed(i)
        wave = griffin_lim(log_mel[0], clip.x.shape[-1], schema, phases, steps=0)
        starts[RANDOM].append(wave[None])
    for who, flow in drawn.items():
        copies = draw_copies(flow, test, indices, schema, seconds=of.seconds)
        starts[who] = [copy.sample[None].double() for copy in copies]
    for start, waves in starts.items():
        for steps in STEPS:
            began = time.process_time()
            made = [refined(x, m, schema, steps) for x, m in zip(waves, spectra_of, strict=True)]
            took = time.process_time() - began
            yield told(start, steps, copies_of(made.__getitem__), took)
    made = [_by_bins(x, m, schema, 32) for x, m in zip(starts[RANDOM], spectra_of, strict=True)]
    yield told(PLAIN, 32, copies_of(made.__getitem__), 0.0)
    if WAVENET in drawn:
        own = [clip.x[0].double() / schema.full_scale for clip in originals]
        values = {"bits": _bits(drawn[WAVENET], own, contexts, schema)}
        yield {"start": "recordings", "bits": two_se(values["bits"]), "values": values}


def _bits(flow: Any, sounds: list[Tensor], contexts: list[Tensor], schema: Any) -> Tensor:
    """Bits a sample that a flow takes for each of these sounds, amplitudes, rounded."""
    full = schema.full_scale
    whole = [(x * full).round().clamp(-full, full - 1)[None, None].float() for x in sounds]
    pairs = zip(whole, contexts, strict=True)
    scores = [-float(flow.log_prob(x, context)) / x.shape[-1] for x, context in pairs]
    return torch.tensor(scores).double() / math.log(2)


def _values(copies: list[Copy], rate: int, together: int) -> dict[str, Tensor]:
    """Each measure of each copy, those of joined copies of each group; NaN where there is none."""
    return values_of(copies, rate) | judgements(copies, rate, together)


def _by_bins(x: Tensor, log_mel: Tensor, schema: Any, steps: int) -> Tensor:
    """Griffin-Lim whose every bin has the magnitude of the bands' pseudo-inverse."""
    magnitudes = magnitudes_of(log_mel[0], schema)[None]
    tried, before, sound = spectra(x, schema), None, x
    for _ in range(steps):
        sound = overlapped(magnitudes * tried.sgn(), schema, x.shape[-1])
        projected = spectra(sound, schema)
        tried = projected if before is None else projected + MOMENTUM * (projected - before)
        before = projected
    return sound


@torch.no_grad()
def usual(of: Speech, clips: int, data: Path, runs: Path) -> list[str]:
    """A table of refined copies beside Griffin-Lim as it is elsewhere, 32 steps each."""
    test, schema, indices, originals = opened(of, clips, data)
    flow, sides = load(runs / of.teacher).flow, ([], [])
    drawn = draw_copies(flow, test, indices, schema, seconds=of.seconds)
    for i, (clip, copy) in enumerate(zip(originals, drawn, strict=True)):
        log_mel = clip.context[None, -schema.mels :].double()
        phases = torch.Generator().manual_seed(i)
        start = griffin_lim(log_mel[0], clip.x.shape[-1], schema, phases, steps=0)[None]
        own = refined(copy.sample[None].double(), log_mel, schema, 32)
        for side, x in zip(sides, (own, _by_bins(start, log_mel, schema, 32)), strict=True):
            side.append(copy_of(clip, x * schema.full_scale, schema))
    own, rival = (_values(side, schema.rate, of.together) for side in sides)
    told = [*MEASURES, *HEARD, *(Measure(n, words, "", torch.neg) for n, words, _ in JUDGED)]
    rows = [
        [m.words, *(_pair(two_se(some[m.name]), 3) for some in (own, rival))]
        + [_beside(own[m.name], rival[m.name], m)]
        for m in told
        if m.name in own
    ]
    return table(["", WAVENET, "Griffin-Lim, by bins", "difference"], rows)


def report(found: dict[str, list[Cell]], commands: dict[str, str]) -> str:
    facts = {**describe(), "command": "python benchmarks/refinement.py --runs runs"}
    said = (
        "Copies of test clips by their spectra, after steps that make them consistent with these: "
        "from random phases (Griffin-Lim), from noise through the linear prediction, and from a "
        "small WaveNet's samples. Means ± two standard errors over clips; STOI, PESQ and DNSMOS "
        "of digits ten joined. Seconds are the processor's a second of sound, without the "
        "start's. Second tables: differences from random phases after as many steps, clip by "
        "clip; those beyond two standard errors are bold where the start is better, and slanted "
        "where it is worse."
    )
    text = ["# Samples made consistent with their spectra", "", *lines(facts), "", said, ""]
    words = [measure.words for measure in COMPARED]
    head = ["start", "steps", *words, "s / s"]
    for name, cells in found.items():
        text += [f"## {name}", "", f"{cells[0]['measured']} clips."]
        if name in commands:
            text += ["", f"- small WaveNet: `{commands[name]}`"]
        rows = [
            [
                c["start"],
                str(c.get("steps", "")),
                *(_pair(c.get(each.name), _digits(each)) for each in COMPARED),
                f"{c['seconds']:.2f}" if c.get("seconds") else "",
            ]
            for c in cells
        ]
        text += ["", *table(head, rows), ""]
        text += [*table(["start", "steps", *words], list(_differences(cells))), ""]
    return "\n".join(text)


def plain(found: dict[str, list[Cell]]) -> dict[str, list[Cell]]:
    """The cells for JSON, with each value of each copy, by which pages can be made again."""
    return {
        name: [{**c, "values": {n: v.tolist() for n, v in c["values"].items()}} for c in cells]
        for name, cells in found.items()
    }


def _differences(cells: list[Cell]) -> Iterator[list[str]]:
    """The rows of what each start is beside random phases, after as many steps."""
    rivals = {cell["steps"]: cell["values"] for cell in cells if cell["start"] == RANDOM}
    for cell in cells:
        if cell["start"] == RANDOM or "steps" not in cell:
            continue
        pairs = [(m, cell["values"].get(m.name), rivals[cell["steps"]]) for m in COMPARED]
        row = ["" if own is None else _beside(own, of[m.name], m) for m, own, of in pairs]
        yield [cell["start"], str(cell["steps"]), *row]


def _beside(own: Tensor, rival: Tensor, measure: Measure) -> str:
    """The mean of paired differences with two standard errors, bold or slanted beyond chance."""
    text = _pair(two_se(own - rival), _digits(measure))
    worse, error = two_se(measure.fault(own) - measure.fault(rival))
    if not abs(worse) > error:  # nor if there is one alone
        return text
    return f"*{text}*" if worse > 0 else f"**{text}**"


def _digits(measure: Measure) -> int:
    return 3 if measure.name in ("stoi", "pitch", "bits") else 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--usual", action="store_true", help="Griffin-Lim as it is elsewhere")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.usual:
        for name, (of, clips) in SETS.items():
            print(name, "", *usual(of, clips, options.data_dir, options.runs), "", sep="\n")
        return
    there = {n: each for n, each in SETS.items() if (options.data_dir / each[0].folder).exists()}
    found = {
        name: list(measure(of, clips, options.data_dir, options.runs))
        for name, (of, clips) in there.items()
    }
    teachers = {name: options.runs / of.teacher for name, (of, _) in there.items()}
    commands = {
        name: made_by(load(run)) for name, run in teachers.items() if Run(run).model_path.exists()
    }
    write_json(options.out / "refinement.json", {"made": describe(), "sets": plain(found)})
    text = report(found, commands)
    write(options.out / "refinement.md", text)
    print(text)


if __name__ == "__main__":
    main()
