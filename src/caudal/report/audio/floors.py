"""Floors under copies of sounds: what their spectra give without any learning."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from caudal.base import FREE, Normal
from caudal.bijection import Chain
from caudal.bijections import Rescale
from caudal.data import AudioSchema
from caudal.data.audio import Clips
from caudal.data.audio.mel import filters
from caudal.data.audio.prediction import prediction
from caudal.data.audio.refinement import STEPS, framed, overlapped, refined
from caudal.dequantization import AudioDequantization
from caudal.flow import Flow
from caudal.report.audio.copies import SECONDS, Copy, beginning, copy_of, draw_copies

NOISE, GRIFFIN_LIM, PREDICTION = "shaped noise", "Griffin-Lim", "prediction"

Make = Callable[[Tensor, int, AudioSchema, torch.Generator], Tensor]
"""A log-mel spectrum (mels, F) float64, and how many samples to make of it, to the sound (T,)."""


@torch.no_grad()
def draw_floors(
    clips: Clips,
    indices: Sequence[int],
    schema: AudioSchema,
    seed: int = 0,
    seconds: float | None = SECONDS,
) -> dict[str, list[Copy]]:
    """Copies of clips by each floor, by its name; none where spectra do not tell the loudness.

    - shaped noise: white noise, filtered to have the spectrum of each frame.
    - Griffin-Lim: a sound whose bands are near those of the spectrum, found by iterations from
      random phases.
    - prediction: noise through the filters of the linear prediction by the spectrum.

    Args:
        clips: where spectra and originals come from.
        indices: of the clips.
        schema: what they are.
        seed: of the noise and of the first phases. The noise of a clip does not depend on the
            others.
        seconds: of each clip at most; None takes all.
    """
    if not schema.tells_loudness:
        return {}
    taken = [beginning(clips.clip(index), schema, seconds) for index in indices]
    made: dict[str, list[Copy]] = {}
    for name, make in ((NOISE, shaped_noise), (GRIFFIN_LIM, griffin_lim)):
        made[name] = []
        for index, clip in zip(indices, taken, strict=True):
            assert clip.context is not None
            log_mel, generator = clip.context[-schema.mels :].double(), _seeded(seed + index)
            wave = make(log_mel.cpu(), clip.x.shape[-1], schema, generator)
            made[name].append(copy_of(clip, wave[None] * schema.full_scale, schema))
    own = replace(schema, prediction=AudioSchema.prediction, update=False)
    flow = prediction_alone(own)
    made[PREDICTION] = draw_copies(flow, clips, indices, schema, seed, seconds=seconds)
    return made


def prediction_alone(schema: AudioSchema) -> Flow:
    """The prediction that a schema asks for, driven by normal noise, as a flow of clips."""
    return Flow(
        Chain([prediction(schema), Rescale(1 / schema.full_scale)]),
        Normal((1, FREE)),
        context_shape=(schema.n_context, FREE),
        dequantization=AudioDequantization(schema.bits),
    )


def shaped_noise(
    log_mel: Tensor, length: int, schema: AudioSchema, generator: torch.Generator
) -> Tensor:
    """White noise, each frame of which is filtered to have these magnitudes on average."""
    frames = log_mel.shape[1]
    drawn = frames * schema.hop + schema.window - schema.hop
    noise = framed(torch.randn(1, drawn, generator=generator, dtype=torch.float64), schema)
    # Magnitudes of white noise are Rayleigh's.
    power = torch.hann_window(schema.window, dtype=torch.float64).square().sum()
    mean = math.sqrt(math.pi / 4 * float(power))
    return overlapped(noise * magnitudes_of(log_mel, schema) / mean, schema, length)[0]


def griffin_lim(
    log_mel: Tensor,
    length: int,
    schema: AudioSchema,
    generator: torch.Generator,
    steps: int = STEPS,
) -> Tensor:
    """A sound of these bands: random phases, then as many steps as copies are refined by."""
    magnitudes = magnitudes_of(log_mel, schema)
    phases = torch.rand(magnitudes.shape, generator=generator, dtype=torch.float64)
    start = overlapped(torch.polar(magnitudes, 2 * math.pi * phases)[None], schema, length)
    return refined(start, log_mel[None], schema, steps)[0]


def magnitudes_of(log_mel: Tensor, schema: AudioSchema) -> Tensor:
    """The magnitude of each bin (F, bins), that of least squares, by the bands' pseudo-inverse."""
    convention = schema.convention
    bands = filters(schema.rate, schema.window, schema.mels, convention)
    bins = (log_mel.exp().T @ torch.linalg.pinv(bands)).clamp_min(0)
    return bins ** (1 / convention.power)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
