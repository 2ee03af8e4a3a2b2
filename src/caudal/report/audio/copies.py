"""Samples for the contexts of clips, beside the clips themselves, and their files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caudal.data import AudioSchema
from caudal.data.audio import Clips
from caudal.data.audio.clips import Clip
from caudal.data.audio.refinement import STEPS, refined
from caudal.data.source import permutation
from caudal.flow import Flow
from caudal.report.items import Track, noise

MOST, SECONDS = 4, 5.0  # clips of a report, and how much of each it has


@dataclass(frozen=True)
class Copy:
    """The beginning of a clip, and as long a sample for the same context, in amplitudes.

    Attributes:
        name: of the clip.
        label: the labels that the flow is given, in words; may be empty.
        original: (T,) from -1 to 1.
        sample: (T,).
        broken: whether there were values that are not finite; they are silent in `sample`.
    """

    name: str
    label: str
    original: Tensor
    sample: Tensor
    broken: bool = False


def clips_to_copy(clips: Clips, most: int = MOST, seed: int = 0) -> list[int]:
    """Indices of at most `most` clips at random that are not silent."""
    chosen: list[int] = []
    for index in permutation(len(clips.names), seed).tolist():
        if len(chosen) == most:
            break
        if bool(clips.clip(index).x.any()):
            chosen.append(index)
    return chosen


@torch.no_grad()
def draw_copies(
    flow: Flow,
    clips: Clips,
    indices: Sequence[int],
    schema: AudioSchema,
    seed: int = 0,
    temperature: float = 1.0,
    seconds: float | None = SECONDS,
    track: Track | None = None,
) -> list[Copy]:
    """A sample as long as each clip, given its context.

    Args:
        flow: put into eval mode.
        clips: where contexts and originals come from.
        indices: of the clips.
        schema: what they are.
        seed: of the noise. The noise of a clip does not depend on the other clips.
        temperature: multiplies the noise; 1 draws from the density.
        seconds: of each clip at most; None takes all.
        track: shows how far it has come.
    """
    flow.eval()
    taken = [beginning(clips.clip(index), schema, seconds) for index in indices]
    noises = [
        flow.base.sample(1, noise(flow, seed + index), clip.x.shape[-1]) * temperature
        for index, clip in zip(indices, taken, strict=True)
    ]
    samples = _decode(flow, noises, [clip.context for clip in taken], track)
    return [copy_of(clip, x, schema) for clip, x in zip(taken, samples, strict=True)]


def copy_of(clip: Clip, x: Tensor, schema: AudioSchema) -> Copy:
    """A clip and its sample (1, T) in whole numbers; what is not finite is silent in it."""
    original = amplitudes(clip.x, schema)
    sample = amplitudes(x.where(x.isfinite(), 0.0), schema)
    broken = not bool(x.isfinite().all())
    return Copy(clip.name, label_of(clip, schema), original, sample, broken)


def refine_copies(
    copies: Sequence[Copy],
    clips: Clips,
    indices: Sequence[int],
    schema: AudioSchema,
    steps: int = STEPS,
    seconds: float | None = SECONDS,
) -> list[Copy]:
    """Copies of clips made consistent with the clips' spectra; none if these cannot be met."""
    if not schema.tells_loudness:
        return []
    better = []
    for index, copy in zip(indices, copies, strict=True):
        context = beginning(clips.clip(index), schema, seconds).context
        assert context is not None
        wave = refined(copy.sample[None], context[None, -schema.mels :], schema, steps)[0]
        better.append(replace(copy, sample=wave))
    return better


def _decode(
    flow: Flow, noises: list[Tensor], contexts: list[Tensor | None], track: Track | None
) -> list[Tensor]:
    """Samples (1, T) of noises (1, 1, T); those of equal length share a batch, which is faster."""
    samples: dict[int, Tensor] = {}
    lengths = dict.fromkeys(z.shape[-1] for z in noises)
    for length in track(lengths, "copying clips", len(lengths)) if track else lengths:
        members = [i for i, z in enumerate(noises) if z.shape[-1] == length]
        shared = [c for i in members if (c := contexts[i]) is not None]
        context = torch.stack(shared).to(flow.base.like) if shared else None
        drawn = flow.decode(torch.cat([noises[i] for i in members]), context)
        samples |= dict(zip(members, drawn, strict=True))
    return [samples[i] for i in range(len(noises))]


def beginning(clip: Clip, schema: AudioSchema, seconds: float | None = SECONDS) -> Clip:
    """The first seconds of a clip, in whole frames, with their context; all of a short one."""
    if seconds is None or clip.x.shape[-1] <= seconds * schema.rate:
        return clip
    length = max(1, int(seconds * schema.rate) // schema.hop) * schema.hop
    context = clip.context
    if context is not None:
        context = context[..., : schema.frames(length)]
    return Clip(clip.name, clip.x[..., :length], context)


def label_of(clip: Clip, schema: AudioSchema) -> str:
    """The labels of a clip's context in words, such as `digit 3, speaker theo`."""
    if clip.context is None:
        return ""
    codes = clip.context[:, 0].tolist()
    words = []
    for column, code in zip(schema.context, codes, strict=False):
        value = f"{code:g}" if column.categories is None else column.categories[int(code)]
        words.append(f"{column.name} {value}")
    return ", ".join(words)


def amplitudes(x: Tensor, schema: AudioSchema) -> Tensor:
    """Whole numbers (1, T) as amplitudes (T,), in 16 bits as they are heard.

    Raises:
        NumericalError: a value is not finite.
    """
    return torch.from_numpy(schema.decode(x[None])[0]).float() / schema.full_scale


# --- files ---------------------------------------------------------------------------------------


def encode(wave: Tensor, rate: int, kind: str = "WAV") -> bytes:
    """The bytes of a 16-bit sound file of amplitudes (T,)."""
    import soundfile  # type: ignore[import-untyped,unused-ignore]

    buffer = io.BytesIO()
    soundfile.write(buffer, whole(wave), rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def whole(wave: Tensor) -> np.ndarray:
    """Amplitudes (T,) as 16-bit numbers."""
    scaled = (wave.double().cpu() * 2**15).round().clamp(-(2**15), 2**15 - 1)
    numbers: np.ndarray = scaled.numpy().astype(np.int16)
    return numbers


def sound_files(copies: Sequence[Copy], rate: int) -> dict[str, bytes]:
    """The files originals/*.wav and samples/*.wav, a pair of equal names for each clip."""
    named = [(f"{i}-{_plain(copy.name)}.wav", copy) for i, copy in enumerate(copies)]
    originals = {f"originals/{name}": encode(copy.original, rate) for name, copy in named}
    return originals | {f"samples/{name}": encode(copy.sample, rate) for name, copy in named}


def _plain(name: str) -> str:
    """A clip's name as a file's, without folders and suffix."""
    stem = Path(name.replace("\\", "/")).stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)[:60]
