"""Little audio files to test with."""

import numpy as np
import soundfile

RATE = 8000


def tone(seconds=0.6, hertz=440.0, rate=RATE, level=0.5, seed=0):
    """A tone with a little noise, float64 (T,)."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
    return level * (np.sin(2 * np.pi * hertz * time) + noise)


def save(path, wave, rate=RATE, subtype=None):
    """Writes a file, into folders that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = path.suffix.casefold()
    more = {"format": "OGG", "subtype": "OPUS"} if form == ".opus" else {"subtype": subtype}
    soundfile.write(path, wave, rate, **more)
    return path


def fill(folder, count=24, seconds=0.6, suffix=".wav", names="{}", rate=RATE):
    """Writes so many tones of different pitches and lengths, called 1 to `count`."""
    for index in range(count):
        wave = tone(seconds + 0.03 * (index % 5), 200 + 50 * index, rate, seed=index)
        save(folder / f"{names.format(index + 1)}{suffix}", wave, rate)
    return folder
