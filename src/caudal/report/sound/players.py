"""Sounds to listen to: files beside the report, and players in its page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from caudal import files
from caudal.report.html import escape
from caudal.report.sound.copies import Copy
from caudal.report.sound.spectrograms import Sound


def player(sound: Sound, rate: int) -> str:
    """A player with its sound inside the page, losslessly packed, under its name."""
    data = base64.b64encode(encode(sound.wave, rate, "FLAC")).decode("ascii")
    seconds = f"{len(sound.wave) / rate:.2f} s"
    return (
        f'<div><span class="tag" style="color:{sound.colour}">{escape(sound.title)}</span> '
        f"{seconds}"
        f'<audio controls="controls" preload="metadata" style="display:block;width:100%" '
        f'src="data:audio/flac;base64,{data}"></audio></div>'
    )


def players(sounds: Sequence[Sound], rate: int) -> str:
    """Players side by side, as the spectrograms above them are."""
    look = f"display:grid;grid-template-columns:repeat({len(sounds)},1fr);gap:20px"
    return f'<div style="{look}">{"".join(player(sound, rate) for sound in sounds)}</div>'


def encode(wave: Tensor, rate: int, kind: str = "WAV") -> bytes:
    """The bytes of a 16-bit sound file of amplitudes (T,)."""
    import soundfile  # type: ignore[import-untyped,unused-ignore]

    buffer = io.BytesIO()
    soundfile.write(buffer, whole(wave), rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def whole(wave: Tensor) -> np.ndarray:
    """Amplitudes (T,) as 16-bit numbers."""
    scaled = (wave.double().cpu() * 2**15).round().clamp(-(2**15), 2**15 - 1)
    found: np.ndarray = scaled.numpy().astype(np.int16)
    return found


def write_sounds(folder: str | Path, copies: Sequence[Copy], rate: int) -> list[Path]:
    """Writes originals/*.wav and samples/*.wav, a pair of equal names a clip; gives the paths."""
    paths = []
    for i, copy in enumerate(copies):
        name = f"{i}-{_plain(copy.name)}.wav"
        for side, wave in (("originals", copy.original), ("samples", copy.sample)):
            path = Path(folder) / side / name
            with files.atomic(path) as temporary:
                temporary.write_bytes(encode(wave, rate))
            paths.append(path)
    return paths


def _plain(name: str) -> str:
    """A clip's name as a file's: what could be a folder or its suffix is no longer one."""
    stem = Path(name.replace("\\", "/")).stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)[:60]
