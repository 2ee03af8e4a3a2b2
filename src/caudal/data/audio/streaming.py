"""Clips of more than fits into memory, decoded from their files as they are needed."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from caudal.data.audio.cropped import CroppedClips
from caudal.data.audio.form import Form
from caudal.data.audio.recordings import Recording
from caudal.data.audio.schema import AudioSchema
from caudal.errors import InputError


class StreamedClips(CroppedClips):
    """Clips that are decoded again in each pass, each file once.

    Args:
        schema: what they are.
        recordings: where they come from.
        lengths: samples of each.
        codes: the labels of `schema.context` as numbers, float32 (N, C).
        together: how many samples of several clips are open, and mixed, at a time.
    """

    def __init__(
        self,
        schema: AudioSchema,
        recordings: Sequence[Recording],
        lengths: Sequence[int],
        codes: Tensor,
        together: int,
    ) -> None:
        names = [recording.name for recording in recordings]
        labels = [recording.labels for recording in recordings]
        super().__init__(schema, names, lengths, labels, codes)
        self._recordings = recordings
        self._form = Form(schema)
        self._together = together

    @property
    def together(self) -> int:
        """How many samples of several clips may be open at a time."""
        return self._together

    def samples(self, index: int) -> np.ndarray:
        """The samples of one whole clip.

        Raises:
            InputError: its file is no longer what it was.
        """
        samples = self._form.read(self._recordings[index])
        if len(samples) != self.lengths[index]:
            place = self._recordings[index].place
            raise InputError(f"{place} has changed since it was opened: start again")
        return samples
