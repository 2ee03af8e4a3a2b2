"""Clips made ready for a flow: what they are, and three parts of them."""

from dataclasses import dataclass

from caudal.data.audio.clips import Clips
from caudal.data.audio.schema import AudioSchema


@dataclass(frozen=True)
class AudioDataset:
    """Clips of speech, music or any sound, in three parts.

    Attributes:
        name: what the user called it.
        schema: what the clips are.
        train, valid, test: the clips.
        notes: what the user should know, such as "skipped 2 silent files".
    """

    name: str
    schema: AudioSchema
    train: Clips
    valid: Clips
    test: Clips
    notes: tuple[str, ...] = ()
