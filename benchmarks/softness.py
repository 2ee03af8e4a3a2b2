"""Why the copies of a small WaveNet are soft, and what two cheap remedies do.

    OMP_NUM_THREADS=1 python benchmarks/softness.py --runs runs

The run is that of `benchmarks/audio.py`. On the linear prediction of a sample, in units of the
deviation of its error, are regressed: the residual, the mean that the net gives it, what is left.
Copies are drawn at other temperatures, and the linear prediction is taken of pre-emphasised sound,
y_t = x_t - c x_(t-1), by the spectrum of y, which follows from that of x.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from audio import CLIPS, READ, TEACHER, _pair, _signed, beside, made_by, mean_of, two_se, values_of
from caudal.bijection import Chain, parts_of
from caudal.bijections import LinearPrediction
from caudal.data import Dataset
from caudal.data.audio import open_audio
from caudal.data.audio.prediction import prediction as prediction_of
from caudal.flow import Flow
from caudal.model import load
from caudal.report.audio.copies import clips_to_copy, draw_copies
from caudal.report.audio.likeness import HEARD, MEASURES
from ears import JUDGED, judgements
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


TEMPERATURES = (0.8, 0.9, 1.1, 1.2)
TOLD = {
    **{m.name: m.words for m in (*MEASURES, *HEARD)},
    **{name: words for name, words, _ in JUDGED},
}


def at_temperatures(flow: Flow, dataset: Dataset, clips: int) -> Iterator[list[str]]:
    """Rows: each measure of copies at temperature 1, and how much others differ, clip by clip."""
    indices, values = clips_to_copy(dataset.test, clips), {}
    for temperature in (1.0, *TEMPERATURES):
        copies = draw_copies(flow, dataset.test, indices, dataset.schema, 0, temperature)
        values[temperature] = values_of(copies, dataset.schema.rate)
        values[temperature] |= judgements(copies, dataset.schema.rate)
    usual = values.pop(1.0)
    for name in (name for name in TOLD if name in usual):
        others = [_signed(beside(some[name], usual[name], name), 3) for some in values.values()]
        yield [TOLD[name], _pair(two_se(usual[name]), 3), *others]


EMPHASES = (0.0, 0.5, 0.85, 0.97)


class Emphasised(LinearPrediction):
    """The prediction of pre-emphasised sound, given the spectrum of the sound before that."""

    emphasis = 0.0

    def _autocorrelation(self, log_mel: Tensor) -> Tensor:
        n, lags = self.window, super()._autocorrelation
        order, self.order = self.order, n // 2
        power = torch.fft.hfft(lags(log_mel), n=n)[..., : n // 2 + 1]
        self.order = order
        angle = 2 * math.pi * torch.arange(n // 2 + 1, dtype=torch.float64) / n
        gain = 1 - 2 * self.emphasis * angle.cos() + self.emphasis**2
        return torch.fft.irfft(power * gain, n=n)[..., : order + 1]


@torch.no_grad()
def emphasised(data: Path, folder: str, options: dict, clips: int) -> Iterator[list[str]]:
    """Rows: bits a sample of the prediction alone, and what its residual is beside the usual."""
    dataset = open_audio(str(data / folder), **options)
    schema, layer = dataset.schema, prediction_of(dataset.schema)
    layer.__class__ = Emphasised
    bits: dict[float, list[float]] = {c: [] for c in EMPHASES}
    alike: dict[float, list[float]] = {c: [] for c in EMPHASES}
    for index in clips_to_copy(dataset.test, clips):
        clip = dataset.test.clip(index)
        noise = torch.rand(clip.x.shape, generator=torch.Generator().manual_seed(index))
        x = (clip.x + noise)[None, ..., : 2 * schema.rate].double() / schema.full_scale
        usual = x
        for c in EMPHASES:
            layer.emphasis = c
            y = torch.cat([x[..., :1], x[..., 1:] - c * x[..., :-1]], -1)
            z, log_det = layer.inverse(y, clip.context[None])
            usual = z if c == 0 else usual
            nats = z.square().mean() / 2 + math.log(2 * math.pi) / 2 - log_det / x.numel()
            bits[c].append(float(nats / math.log(2) + math.log2(schema.full_scale)))
            alike[c].append(float(torch.corrcoef(torch.cat([z[:, 0], usual[:, 0]]))[0, 1]))
    none = torch.tensor(bits[0.0]).double()
    for c, some in bits.items():
        own = torch.tensor(some).double()
        less = _pair(two_se(own - none), 3) if c else ""
        yield [folder, f"{c}", _pair(two_se(own), 3), less, f"{sum(alike[c]) / len(own):.4f}"]


def _slope(y: Tensor, x: Tensor) -> float:
    return float((y * x).sum() / x.square().sum())


COOLER = (
    "The same copies from noise that is multiplied by a temperature: differences from temperature "
    "1, clip by clip; bold where they are better beyond two standard errors, slanted where worse."
)
EMPHASIS = (
    "The linear prediction alone, which learns nothing, of y_t = x_t - c x_(t-1): bits a sample "
    "of 75 digits and of the first two seconds of six sentences, what they are more than without, "
    "and the correlation of the residual with the one without."
)
COLUMNS = ["", "c", "bits a sample", "more than without", "correlation"]


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
    dataset = open_audio(str(options.data_dir / "fsdd"), **CLIPS)
    rows = list(at_temperatures(load(run).flow, dataset, options.clips))
    heads = [f"less, at {t}" for t in TEMPERATURES]
    text += ["", "## Other temperatures", "", COOLER, "", *table(["", "at 1", *heads], rows)]
    rows = list(emphasised(options.data_dir, "fsdd", CLIPS, 75))
    rows += emphasised(options.data_dir, "ljspeech", READ, 6)
    text += ["", "## Pre-emphasis", "", EMPHASIS, "", *table(COLUMNS, rows)]
    write(options.out / "softness.md", "\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
