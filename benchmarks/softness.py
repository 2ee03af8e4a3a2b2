"""Why the copies of a small WaveNet are soft: what its mean says of the ringing of the filter.

    OMP_NUM_THREADS=1 python benchmarks/softness.py --runs runs

The run is that of `benchmarks/audio.py`. On the linear prediction of a sample, in units of the
deviation of its error, are regressed: the residual, the mean that the net gives it, what is left.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from audio import CLIPS, TEACHER, _pair, made_by, mean_of
from caudal.bijection import Chain, parts_of
from caudal.data.audio import open_audio
from caudal.model import load
from caudal.report.audio.copies import clips_to_copy
from environment import RESULTS, describe, lines, table, write
from tables import DATA_DIR

WAYS = ("recordings", "the net's own samples")
ROWS = {
    "power": "power of the residual",
    "residual": "residual on prediction, %",
    "mean": "the net's mean on prediction, %",
    "left": "residual less that mean, on prediction, %",
    "level": "level, dB of the recordings",
}


@torch.no_grad()
def measure(run: Path, data: Path, clips: int) -> dict[str, dict[str, list[float]]]:
    dataset = open_audio(str(data / "fsdd"), **CLIPS)
    flow = load(run).flow.eval()
    layer, standardise, prediction, rescale = parts_of(flow.bijection)
    to_sound = Chain([standardise, prediction])
    found: dict[str, dict[str, list[float]]] = {way: {row: [] for row in ROWS} for way in WAYS}
    for index in clips_to_copy(dataset.test, clips):
        clip = dataset.test.clip(index)
        context = flow.embed(clip.context[None])
        x = rescale.inverse(clip.x[None].float(), context)[0]
        residual = to_sound.inverse(x, context)[0]
        own = layer(
            flow.base.sample(1, torch.Generator().manual_seed(index), x.shape[-1]), context
        )
        sides = (residual, x), (own[0], to_sound(own[0], context)[0])
        for way, (r, wave) in zip(WAYS, sides, strict=True):
            filters = prediction.filters(context, wave.shape[-1])
            predicted = prediction._predicted(wave[:, 0].double(), filters)[:, None]
            predicted = predicted * (-filters.log_scale[:, filters.rows]).exp()
            params = layer.net(r, context)
            mean = layer.elementwise.forward(torch.zeros_like(r), params)[0]
            row = found[way]
            row["power"].append(float(r.square().mean()))
            for name, value in (("residual", r), ("mean", mean), ("left", r - mean)):
                row[name].append(100 * _slope(value.double(), predicted))
            row["level"].append(10 * float((wave.square().mean() / x.square().mean()).log10()))
    return {
        way: {row: mean_of(torch.tensor(values)) for row, values in rows.items()}
        for way, rows in found.items()
    }


def _slope(y: Tensor, x: Tensor) -> float:
    return float((y * x).sum() / x.square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = options.runs / TEACHER
    found = measure(run, options.data_dir, options.clips)
    facts = {**describe(), "command": "python benchmarks/softness.py --runs runs"}
    facts["the run"] = f"`{made_by(load(run))}`"
    rows = [[words, *(_pair(found[way][row], 2) for way in WAYS)] for row, words in ROWS.items()]
    said = f"{options.clips} test clips of spoken digits, means ± two standard errors over clips."
    text = ["# Why copies are soft", "", *lines(facts), "", said, "", *table(["", *WAYS], rows)]
    write(options.out / "softness.md", "\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
