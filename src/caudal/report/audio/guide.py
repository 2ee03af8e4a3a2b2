"""Sounds on the page of `caudal explore`: players, and spectrograms over them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from caudal.data import AudioSchema
from caudal.data.audio.recordings import Sound
from caudal.flow import Flow
from caudal.report.audio.pictures import Side as Spectra
from caudal.report.audio.pictures import Sound as Wave
from caudal.report.audio.pictures import draw_averages, draw_spectrograms, player_of, top_of
from caudal.report.guide import Guide, Side
from caudal.report.page import Block, Drawn, draw_one

LOUDNESS = 0.1  # root mean square of noise that is heard
SHOWN = 4  # sounds of a side


class AudioGuide(Guide):
    """Shows each sound by its wave, its spectrogram and a player."""

    usual, most, items, compared = 1, SHOWN, 40, SHOWN
    file: ClassVar[str] = "samples.wav"
    suffixes: ClassVar[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".mp3")
    one_a_file = recorded = True

    def show(self, schema: AudioSchema, sides: Sequence[Side], ground: Any = None) -> list[Block]:
        blocks: list[Block] = []
        waves = [[_wave(side, sound) for sound in side.items[:SHOWN]] for side in sides]
        for row in zip(*waves, strict=False):
            top = top_of([wave.wave for wave in row], schema.rate)
            draw = partial(draw_spectrograms, [row], [""], schema.rate, top)
            blocks += [draw_one("sounds", draw), [player_of(wave, schema.rate) for wave in row]]
        return blocks

    def noise(self, schema: AudioSchema, z: Tensor) -> list[Sound]:
        """Noise as loud as can be listened to."""
        spread = z.double().square().mean().sqrt().clamp(min=1e-9)
        heard = (LOUDNESS * z.double() / spread).clamp(-1, 1).float().cpu().numpy()
        return [Sound(row.reshape(-1, 1), schema.rate) for row in heard]

    def joined(self, parts: Sequence[Any]) -> list[Sound]:
        return [sound for part in parts for sound in part]

    def compare(self, flow: Flow, schema: AudioSchema, one: Side, other: Side) -> Iterator[Drawn]:
        sides = [
            Spectra(side.title, [_wave(side, sound).wave for sound in side.items], side.colour)
            for side in (one, other)
        ]
        yield "averages", "Average spectra", AVERAGES, draw_averages(sides, schema.rate)

    def copies(self, schema: AudioSchema) -> bool:
        return schema.mels > 0

    def blends(self, schema: AudioSchema) -> bool:
        return False


AVERAGES = "Power at each frequency, over all sounds of a side."


def _wave(side: Side, sound: Sound) -> Wave:
    samples = np.asarray(sound.samples, np.float32)
    return Wave(
        side.title, torch.from_numpy(samples.reshape(len(samples), -1)[:, 0].copy()), side.colour
    )
