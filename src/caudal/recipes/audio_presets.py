"""Configurations of the papers for sound, by the recipe; they report opinions, not likelihoods."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caudal.recipes.recipe import Recipe
from caudal.recipes.wavenet import WaveNet


@dataclass(frozen=True)
class AudioPreset:
    """A recipe with what its paper trained it with on speech.

    Attributes:
        recipe: with the paper's sizes, as far as it has them.
        parameters: of the flow, given the spectrum of `audio`.
        training: options of training, by their names.
        audio: options of audio, by their names.
        note: where it leaves the paper, or what to know.
    """

    recipe: Recipe
    parameters: int
    training: Mapping[str, Any] = field(default_factory=dict)
    audio: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def size(self) -> str:
        """Rate and spectrum, in words."""
        return f"{self.audio['rate'] / 1000:g} kHz, {self.audio['mels']} bands"

    @property
    def options(self) -> Mapping[str, Any]:
        """Those that are of the data's kind alone."""
        return self.audio

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.size}, {self.parameters:,} parameters{note}"


_LONG = {"steps": 1_000_000, "patience": 0, "validate_every": 10_000}

AUDIO_PRESETS: dict[str, dict[str, AudioPreset]] = {
    "wavenet": {
        "parallel-wavenet": AudioPreset(
            WaveNet(layers=30, kernel=3, channels=256, law="logistics", hop=120),
            20_810_270,
            {**_LONG, "batch_size": 32, "ema": 0.9999},
            {"rate": 24_000, "mels": 80, "window": 1024, "seconds": 0.32},
            "the teacher of arXiv:1711.10433, given a spectrum instead of linguistic features; "
            "its stream has 512 channels",
        ),
        "clarinet": AudioPreset(
            WaveNet(layers=20, kernel=2, channels=128, floor=-9.0, hop=256),
            3_187_458,
            {**_LONG, "batch_size": 8, "lr": 1e-3, "ema": 0.9999},
            {"rate": 22_050, "mels": 80, "window": 1024, "seconds": 0.7},
            "the teacher of arXiv:1807.07281, by its public code; no source tells the steps",
        ),
    },
}
"""By the name of the recipe, and of the preset."""
