"""A second of sound that the flow makes, as training goes on."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from caudal import files
from caudal.data import Dataset
from caudal.flow import Flow
from caudal.report.audio.copies import Copy, clips_to_copy, draw_copies, encode
from caudal.report.audio.pictures import draw_spectrograms, sounds_of, top_of
from caudal.report.film import Film, spread, steps_in
from caudal.report.page import Sound, write_figure
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDING = "recording.wav"
_SECONDS = 1.0
_MOST, _ACROSS = 8, 3  # steps of a timeline; players in a row


class CopiesFilm(Film):
    """Called with a step, makes a sound given the context of a clip: `folder/step-000123.wav`.

    Its spectrogram beside the clip's is `folder/step-000123.png`, and as much of the clip itself
    is `folder/recording.wav`.

    Args:
        folder: for the files.
        flow: the one that is trained.
        dataset: of whose test clips one is copied, the same one each time; it is heard, and no
            figure follows from it.
        seed: of the noise.
    """

    always = True

    def __init__(self, folder: str | Path, flow: Flow, dataset: Dataset, seed: int) -> None:
        super().__init__(folder, flow, seed)
        self.dataset = dataset
        self.clip = clips_to_copy(dataset.test, 1, seed)

    @property
    def words(self) -> str:
        if not self.clip:
            return super().words
        name = self.dataset.test.names[self.clip[0]]
        what = "copy of" if self.dataset.schema.mels else "sample beside"
        return f"to listen to while it trains, at each validation a {what} test clip {name}"

    def write(self, path: Path) -> Path:
        schema, clips = self.dataset.schema, self.dataset.test
        copies = draw_copies(self.flow, clips, self.clip, schema, seed=self.seed, seconds=_SECONDS)
        path = path.with_suffix(".wav")
        for copy in copies:
            _save(path, copy.sample, schema.rate)
            if not (recording := path.with_name(RECORDING)).exists():
                _save(recording, copy.original, schema.rate)
            write_figure(path.with_suffix(".png"), partial(_spectrograms, copy, schema.rate))
        return path


def timeline(folder: Path) -> list[list[Sound]]:
    """Players of the recording, and of its copies from the first to the last, in rows."""
    steps = steps_in(folder, ".wav")
    if len(steps) < 2:
        return []
    recording = folder / RECORDING
    players = [_player("recording", DATA, recording)] if recording.is_file() else []
    for step in spread(list(steps), _MOST):
        players.append(_player(f"step {step:,}", SAMPLES, steps[step]))
    return [players[first : first + _ACROSS] for first in range(0, len(players), _ACROSS)]


def _player(title: str, colour: str, path: Path) -> Sound:
    import soundfile

    wave, rate = soundfile.read(path, dtype="float32")
    flac = encode(torch.from_numpy(wave), rate, "FLAC")
    return Sound(title, colour, len(wave) / rate, flac)


def _save(path: Path, wave: Tensor, rate: int) -> None:
    with files.atomic(path) as temporary:
        temporary.write_bytes(encode(wave, rate))


def _spectrograms(copy: Copy, rate: int) -> "Figure":
    top = top_of([copy.original], rate)
    return draw_spectrograms([sounds_of(copy)], [copy.name], rate, top)
