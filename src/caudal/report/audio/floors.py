"""Floors under copies of sounds: what their spectra give without any learning."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.base import FREE, Normal
from caudal.bijection import Chain
from caudal.bijections import Rescale
from caudal.data import AudioSchema
from caudal.data.audio import Clips
from caudal.data.audio.mel import filters, margins
from caudal.data.audio.prediction import prediction
from caudal.dequantization import AudioDequantization
from caudal.flow import Flow
from caudal.report.audio.copies import SECONDS, Copy, beginning, copy_of, draw_copies

NOISE, GRIFFIN_LIM, PREDICTION = "shaped noise", "Griffin-Lim", "prediction"
ITERATIONS, MOMENTUM = 32, 0.99  # of the algorithm of Griffin and Lim
_LEAST = 1e-8  # least sum of squares of the windows, at the ends

Make = Callable[[Tensor, AudioSchema, torch.Generator], Tensor]
"""Magnitudes (F, bins) float64 of F frames to as many frames of sound, with their margins."""


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
    - Griffin-Lim: a sound whose magnitudes are near those of the spectrum, found by iterations.
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
            log_mel, generator = clip.context[-schema.mels :], _seeded(seed + index)
            wave = of_spectrum(log_mel, clip.x.shape[-1], schema, make, generator)
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


def of_spectrum(
    log_mel: Tensor, length: int, schema: AudioSchema, make: Make, generator: torch.Generator
) -> Tensor:
    """Amplitudes (length,) float64 of a log-mel spectrum (mels, F), on the CPU.

    The magnitude of each bin is that of least squares, by the pseudo-inverse of the bands.
    """
    convention = schema.convention
    bands = filters(schema.rate, schema.window, schema.mels, convention)
    bins = (log_mel.double().cpu().exp().T @ torch.linalg.pinv(bands)).clamp_min(0)
    magnitudes = bins ** (1 / convention.power)
    before, _ = margins(schema.hop, schema.window, convention)
    return make(magnitudes, schema, generator)[before : before + length]


def shaped_noise(magnitudes: Tensor, schema: AudioSchema, generator: torch.Generator) -> Tensor:
    """White noise, each frame of which is filtered to have these magnitudes on average."""
    frames = len(magnitudes)
    length = frames * schema.hop + schema.window - schema.hop
    noise = spectra(torch.randn(length, generator=generator, dtype=torch.float64), schema)
    # Magnitudes of white noise are Rayleigh's.
    mean = math.sqrt(math.pi / 4 * float(_window(schema).square().sum()))
    return overlapped(noise * magnitudes / mean, schema)


def griffin_lim(magnitudes: Tensor, schema: AudioSchema, generator: torch.Generator) -> Tensor:
    """A sound of nearly these magnitudes, by the fast Griffin-Lim algorithm from random phases.

    With P the projection onto spectra of sounds, and Q the one onto these magnitudes:
    c_n = P(Q(t_(n-1))), t_n = c_n + 0.99 (c_n - c_(n-1)), 32 times.
    Reference: A fast Griffin-Lim algorithm (Perraudin, Balazs, Soendergaard, 2013).
    """
    phases = torch.rand(magnitudes.shape, generator=generator, dtype=torch.float64)
    tried, before = torch.polar(magnitudes, 2 * math.pi * phases), None
    for _ in range(ITERATIONS):
        projected = spectra(overlapped(_with(magnitudes, tried), schema), schema)
        tried = projected if before is None else projected + MOMENTUM * (projected - before)
        before = projected
    return overlapped(_with(magnitudes, tried), schema)


def _with(magnitudes: Tensor, spectrum: Tensor) -> Tensor:
    """The magnitudes with the phases of a complex spectrum."""
    return magnitudes * spectrum.sgn()


# --- sounds and their frames, as log_mel has them ------------------------------------------------


def spectra(wave: Tensor, schema: AudioSchema) -> Tensor:
    """The spectrum of each frame (F, bins) of a sound with the margins of its frames."""
    return torch.fft.rfft(wave.unfold(-1, schema.window, schema.hop) * _window(schema))


def overlapped(spectrum: Tensor, schema: AudioSchema) -> Tensor:
    """The sound with margins whose frames are nearest to these spectra (F, bins)."""
    window = _window(schema)
    frames = torch.fft.irfft(spectrum, n=schema.window) * window  # (F, window)
    sums = torch.stack([frames, window.square().expand_as(frames)]).transpose(1, 2)
    length = (len(frames) - 1) * schema.hop + schema.window
    sound, weight = F.fold(sums, (1, length), (1, schema.window), stride=(1, schema.hop))[:, 0, 0]
    return sound / weight.clamp_min(_LEAST)


def _window(schema: AudioSchema) -> Tensor:
    return torch.hann_window(schema.window, dtype=torch.float64)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
