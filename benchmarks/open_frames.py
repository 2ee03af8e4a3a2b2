"""What frames that have begun say of the samples to come, with nothing learned.

    OMP_NUM_THREADS=1 python benchmarks/open_frames.py

Both predictions by the spectrum, the linear one and its update, on test clips of spoken digits:
bits a sample, copies made of noise, and seconds of the processor a second of sound.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import torch

from audio import CLIPS, Cell, _measures, _pair
from caudal.data.audio import open_audio
from caudal.report.audio.copies import clips_to_copy, draw_copies
from caudal.report.audio.floors import prediction_alone
from caudal.report.audio.likeness import HEARD, MEASURES
from caudal.report.numbers import mean_two_se
from ears import JUDGED, judged
from environment import RESULTS, describe, lines, table, write
from tables import DATA_DIR


@torch.no_grad()
def measure(data: Path, clips: int) -> dict[str, Cell]:
    """Figures of the linear prediction, and of its update, on as many clips."""
    dataset = open_audio(str(data / "fsdd"), **CLIPS)
    indices, found = clips_to_copy(dataset.test, clips), {}
    for update in (False, True):
        schema = replace(dataset.schema, update=update)
        flow = prediction_alone(schema).eval()
        start, seconds, bits = time.process_time(), 0.0, []
        for index in indices:
            clip = dataset.test.clip(index)
            nats = flow.log_prob(clip.x[None], clip.context[None]).item()
            bits.append(-nats / clip.x.shape[-1] / math.log(2))
            seconds += clip.x.shape[-1] / schema.rate
        scored = time.process_time()
        copies = draw_copies(flow, dataset.test, indices, schema, seconds=None)
        drawn = time.process_time()
        cell = {"bits": mean_two_se(torch.tensor(bits).double()), **judged(copies, schema.rate)}
        cell |= _measures(copies, schema.rate)
        cell |= {"scoring": (scored - start) / seconds, "sampling": (drawn - scored) / seconds}
        print(cell, flush=True)
        found["updated" if update else "linear"] = cell
    return found


def report(found: dict[str, Cell], clips: int) -> str:
    sides = list(found.values())
    rows = [["bits a sample", *(_pair(c["bits"], 3) for c in sides)]]
    rows += [
        [f"{m.words}, {m.meaning}", *(_pair(c.get(m.name), 2) for c in sides)]
        for m in (*MEASURES, *HEARD)
    ]
    rows += [[words, *(_pair(c.get(name), n) for c in sides)] for name, words, n in JUDGED]
    rows += [
        [f"processor seconds a second, {what}", *(f"{c[what]:.2f}" for c in sides)]
        for what in ("scoring", "sampling")
    ]
    facts = {**describe(), "command": f"python benchmarks/open_frames.py --clips {clips}"}
    said = (
        f"The prediction by the spectrum, and its update by frames that have begun, nothing "
        f"learned: {clips} test clips of spoken digits at 8 kHz, 64 bands, windows of 256 samples "
        f"every 64. Means ± two standard errors over clips; STOI and PESQ of ten joined."
    )
    head = ["# Frames that have begun", "", *lines(facts), "", said, ""]
    return "\n".join([*head, *table(["", *found], rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = report(measure(options.data_dir, options.clips), options.clips)
    write(options.out / "open_frames.md", text)
    print(text)


if __name__ == "__main__":
    main()
