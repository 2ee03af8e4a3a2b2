"""Recordings before they are read: what each is called, where it is, and what is known of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Sound(NamedTuple):
    """Amplitudes, float32 (T, channels), and how many there are a second."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True)
class Recording:
    """One clip as its source has it.

    Attributes:
        name: what results call it: its file, relative to the folder.
        place: what errors call it, such as `speech/anna/1.wav`.
        raw: its file, or its sound.
        labels: what is said of it, by name.
        number: among all of its source, from 0.
    """

    name: str
    place: str
    raw: Path | Sound
    labels: dict[str, Any] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Attributes:
        name: what the user called it.
        parts: its recordings, by `TRAIN`, `VALID` and `TEST`; all under `TRAIN` without parts.
        notes: what the user should know, such as files that were passed over.
        folder: where it is, None where it is no folder.
    """

    name: str
    parts: dict[int, list[Recording]]
    notes: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def recordings(self) -> list[Recording]:
        """All of them."""
        return [recording for some in self.parts.values() for recording in some]
