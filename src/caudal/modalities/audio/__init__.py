"""Sound: clips of any length, from folders of recordings or arrays with a rate."""

from caudal.modalities.audio.audio import Audio

__all__ = ["Audio"]
