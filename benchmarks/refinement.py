"""Samples made consistent with their spectra: whether a flow's start is better than random phases.

    OMP_NUM_THREADS=1 python benchmarks/refinement.py --runs runs

Copies of test clips of spoken digits and of LJSpeech, after some steps from random phases (that is
Griffin-Lim), from the linear prediction's noise, and from the samples of the WaveNets that are in
`--runs`. One row has what Griffin-Lim is elsewhere: magnitudes by the pseudo-inverse of the bands.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio import CLIPS, Cell, _measures, _pair, made_by
from caudal.data.audio import open_audio
from caudal.data.audio.refinement import MOMENTUM, overlapped, refined, spectra
from caudal.model import load
from caudal.model.finishing import command_of
from caudal.report.audio.copies import Copy, beginning, clips_to_copy, copy_of, draw_copies
from caudal.report.audio.floors import griffin_lim, magnitudes_of, prediction_alone
from caudal.report.audio.likeness import HEARD, MEASURES
from caudal.training.run import Run
from ears import JUDGED, TOGETHER, judged
from environment import RESULTS, describe, lines, table, write
from tables import DATA_DIR

READ = {"test": "LJ001-003*", "valid": "LJ001-002[89]*", "hop": 256, "window": 1024, "mels": 80}
SETS = {
    "fsdd": ("Spoken digits, 8 kHz, 64 bands, windows of 256 every 64", CLIPS, 40, "fsdd-minutes"),
    "ljspeech": (
        "LJSpeech, 22 kHz, 80 bands, windows of 1024 every 256", READ, 3, "ljspeech-minutes"
    ),
}  # fmt: skip
"""What it is, how it is read, how many clips are copied, and the run of a WaveNet."""
STEPS = (0, 2, 8, 32, 128)
SECONDS = 4.0
RANDOM, PLAIN = "random phases", "the same, by magnitudes of bins"
SHOWN = ("log_spectral_distance", "level", "voicing", "pitch", "harmonicity")


@torch.no_grad()
def measure(name: str, data: Path, runs: Path) -> Iterator[Cell]:
    """A cell for each start and number of steps."""
    _, options, clips, run = SETS[name]
    dataset = open_audio(str(data / name), **options)
    test, schema = dataset.test, dataset.schema
    indices, together = clips_to_copy(test, clips), TOGETHER if name == "fsdd" else 1
    originals = [beginning(test.clip(index), schema, SECONDS) for index in indices]
    spectra_of = [c.context[None, -schema.mels :].double() for c in originals]

    def copies_of(make: Callable[[int], Tensor]) -> list[Copy]:
        return [
            copy_of(clip, make(i) * schema.full_scale, schema) for i, clip in enumerate(originals)
        ]

    def told(start: str, steps: int, copies: list[Copy], seconds: float) -> Cell:
        length = sum(len(copy.sample) for copy in copies) / schema.rate
        cell = {"start": start, "steps": steps, "seconds": seconds / length}
        cell |= {**_measures(copies, schema.rate), **judged(copies, schema.rate, together)}
        print(cell, flush=True)
        return cell

    drawn: dict[str, Any] = {"prediction": prediction_alone(replace(schema, update=False))}
    if Run(runs / run).model_path.exists():
        drawn["small WaveNet"] = load(runs / run).flow
    starts: dict[str, list[Tensor]] = {RANDOM: []}
    for i, (clip, log_mel) in enumerate(zip(originals, spectra_of, strict=True)):
        phases = torch.Generator().manual_seed(i)
        wave = griffin_lim(log_mel[0], clip.x.shape[-1], schema, phases, steps=0)
        starts[RANDOM].append(wave[None])
    for who, flow in drawn.items():
        copies = draw_copies(flow, test, indices, schema, seconds=SECONDS)
        starts[who] = [copy.sample[None].double() for copy in copies]
    for start, waves in starts.items():
        for steps in STEPS:
            began = time.process_time()
            made = [refined(x, m, schema, steps) for x, m in zip(waves, spectra_of, strict=True)]
            took = time.process_time() - began
            yield told(start, steps, copies_of(made.__getitem__), took)
    made = [_by_bins(x, m, schema, 32) for x, m in zip(starts[RANDOM], spectra_of, strict=True)]
    yield told(PLAIN, 32, copies_of(made.__getitem__), 0.0)


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


def report(found: dict[str, list[Cell]], commands: dict[str, str]) -> str:
    facts = {**describe(), "command": "python benchmarks/refinement.py --runs runs"}
    said = (
        "Copies of test clips by their spectra, after steps that make them consistent with these: "
        "from random phases (Griffin-Lim), from noise through the linear prediction, and from a "
        "small WaveNet's samples. Means ± two standard errors over clips; STOI and PESQ (narrow "
        "band), of digits ten joined. Seconds are the processor's a second of sound."
    )
    text = ["# Samples made consistent with their spectra", "", *lines(facts), "", said, ""]
    by_name = {m.name: m for m in (*MEASURES, *HEARD)}
    head = ["start", "steps", *(by_name[name].words for name in SHOWN)]
    head += [*(words for _, words, _ in JUDGED), "s / s"]
    for name, cells in found.items():
        text += [f"## {SETS[name][0]}", "", f"{cells[0]['measured']} clips."]
        if name in commands:
            text += ["", f"- small WaveNet: `{commands[name]}`"]
        rows = [
            [
                c["start"],
                str(c["steps"]),
                *(_pair(c.get(each), 2) for each in SHOWN),
                *(_pair(c.get(each), n) for each, _, n in JUDGED),
                f"{c['seconds']:.2f}" if c["seconds"] else "",
            ]
            for c in cells
        ]
        text += ["", *table(head, rows), ""]
    return "\n".join(text)


def _command(runs: Path, name: str) -> str:
    run = load(runs / SETS[name][3])
    if name == "fsdd":
        return made_by(run)
    config = {**run.config, "data": f"../shared/data/{name}"}
    return command_of(config, run.kind, Path("runs") / SETS[name][3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        name: list(measure(name, options.data_dir, options.runs))
        for name in SETS
        if (options.data_dir / name).exists()
    }
    there = [n for n in found if Run(options.runs / SETS[n][3]).model_path.exists()]
    commands = {name: _command(options.runs, name) for name in there}
    text = report(found, commands)
    write(options.out / "refinement.md", text)
    print(text)


if __name__ == "__main__":
    main()
