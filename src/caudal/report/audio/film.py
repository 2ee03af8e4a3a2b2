"""A second of sound that the flow makes, as training goes on."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from caudal import files
from caudal.data import Dataset
from caudal.flow import Flow
from caudal.report.audio.copies import Copy, clips_to_copy, draw_copies, encode
from caudal.report.audio.pictures import draw_spectrograms, sounds_of, top_of
from caudal.report.film import Film
from caudal.report.page import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECONDS = 1.0


class CopiesFilm(Film):
    """Called with a step, makes a sound given the context of a clip: `folder/step-000123.wav`.

    Its spectrogram beside the clip's is `folder/step-000123.png`.

    Args:
        folder: for the files.
        flow: that is trained.
        dataset: of whose validation clips one is copied, the same one each time.
        seed: of the noise.
    """

    def __init__(self, folder: str | Path, flow: Flow, dataset: Dataset, seed: int) -> None:
        super().__init__(folder, flow, seed)
        self.dataset = dataset
        self.clip = clips_to_copy(dataset.valid, 1, seed)

    def write(self, path: Path) -> Path:
        schema, clips = self.dataset.schema, self.dataset.valid
        copies = draw_copies(self.flow, clips, self.clip, schema, seed=self.seed, seconds=_SECONDS)
        path = path.with_suffix(".wav")
        for copy in copies:
            with files.atomic(path) as temporary:
                temporary.write_bytes(encode(copy.sample, schema.rate))
            write_figure(path.with_suffix(".png"), partial(_spectrograms, copy, schema.rate))
        return path


def _spectrograms(copy: Copy, rate: int) -> "Figure":
    top = top_of([copy.original], rate)
    return draw_spectrograms([sounds_of(copy)], [copy.name], rate, top)
