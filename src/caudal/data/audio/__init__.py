"""Audio: what clips are, where they come from, and how samples go back to files."""

from caudal.data.audio.clips import Clip, Clips
from caudal.data.audio.mel import log_mel
from caudal.data.audio.open import open_audio, open_clips
from caudal.data.audio.output import AudioWriter
from caudal.data.audio.recordings import finds_audio
from caudal.data.audio.schema import AudioSchema

__all__ = [
    "AudioSchema",
    "AudioWriter",
    "Clip",
    "Clips",
    "finds_audio",
    "log_mel",
    "open_audio",
    "open_clips",
]
