"""What a flow makes of the contexts of clips, beside the clips themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caudal.data.audio.clips import Clip, Clips
from caudal.data.audio.schema import AudioSchema
from caudal.data.source import permutation
from caudal.flow import Flow
from caudal.report.gaussian import noise
from caudal.report.sound.evaluate import Track

MOST, SECONDS = 4, 5.0  # clips of a report, and what it takes of each


@dataclass(frozen=True)
class Copy:
    """The beginning of a clip, and as long a sample for the same context, in amplitudes.

    Attributes:
        name: of the clip.
        label: what it is, as far as the flow is told it in words; may be empty.
        original: (T,) from -1 to 1.
        sample: (T,).
        broken: whether there were values that are not finite, which are silent in `sample`.
    """

    name: str
    label: str
    original: Tensor
    sample: Tensor
    broken: bool = False


def clips_to_copy(clips: Clips, most: int = MOST, seed: int = 0) -> list[int]:
    """So many clips at random, but not silent ones: their indices."""
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
        seed: of the noise. Each clip has noise of its own, whatever the others are.
        temperature: multiplies the noise; 1 draws from the density.
        seconds: to take of each clip at most; None takes all.
        track: shows how far it has come.
    """
    flow.eval()
    taken = [beginning(clips.clip(index), schema, seconds) for index in indices]
    noises = [
        flow.base.sample(1, noise(flow, seed + index), clip.x.shape[-1]) * temperature
        for index, clip in zip(indices, taken, strict=True)
    ]
    samples = _decode(flow, noises, [clip.context for clip in taken], track)
    return [_copy(clip, x, schema) for clip, x in zip(taken, samples, strict=True)]


def _copy(clip: Clip, x: Tensor, schema: AudioSchema) -> Copy:
    original = amplitudes(clip.x, schema)
    sample = amplitudes(x.where(x.isfinite(), 0.0), schema)
    broken = not bool(x.isfinite().all())
    return Copy(clip.name, label_of(clip, schema), original, sample, broken)


def _decode(
    flow: Flow, noises: list[Tensor], contexts: list[Tensor | None], track: Track | None
) -> list[Tensor]:
    """Samples (1, T) of noises (1, 1, T); those of equal length in one batch, which is faster."""
    samples: dict[int, Tensor] = {}
    lengths = dict.fromkeys(z.shape[-1] for z in noises)
    for length in track(lengths, "copying clips", len(lengths)) if track else lengths:
        members = [i for i, z in enumerate(noises) if z.shape[-1] == length]
        given = [c for i in members if (c := contexts[i]) is not None]
        context = torch.stack(given).to(flow.base.like) if given else None
        drawn = flow.decode(torch.cat([noises[i] for i in members]), context)
        samples |= dict(zip(members, drawn, strict=True))
    return [samples[i] for i in range(len(noises))]


def beginning(clip: Clip, schema: AudioSchema, seconds: float | None = SECONDS) -> Clip:
    """The first seconds of a clip, in whole frames, with their context; all of a shorter one."""
    if seconds is None or clip.x.shape[-1] <= seconds * schema.rate:
        return clip
    length = max(1, int(seconds * schema.rate) // schema.hop) * schema.hop
    context = clip.context
    if context is not None:
        context = context[..., : schema.frames(length)]
    return Clip(clip.name, clip.x[..., :length], context)


def label_of(clip: Clip, schema: AudioSchema) -> str:
    """The labels among the context in words, such as `digit 3, speaker theo`."""
    if clip.context is None:
        return ""
    codes = clip.context[:, 0].tolist()
    words = []
    for column, code in zip(schema.context, codes, strict=False):
        value = f"{code:g}" if column.categories is None else column.categories[int(code)]
        words.append(f"{column.name} {value}")
    return ", ".join(words)


def amplitudes(x: Tensor, schema: AudioSchema) -> Tensor:
    """Whole numbers (1, T) as amplitudes (T,), in the 16 bits in which they are heard.

    Raises:
        NumericalError: a value is not finite.
    """
    return torch.from_numpy(schema.decode(x[None])[0]).float() / schema.full_scale
