"""Sound that leaves the program as it is made: through a player, or as numbers on stdout."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from caudal.errors import InputError

_RATE = "RATE"
_RAW = {
    "aplay": ["-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", _RATE, "-"],
    "ffplay": ["-nodisp", "-autoexit", "-loglevel", "error", "-f", "s16le", "-ar", _RATE, "-"],
    "play": ["-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", _RATE, "-"],
}
"""Players that take numbers on their standard input as they come."""
_WHOLE = "afplay"
"""The player of macOS, which takes a whole file."""


def play(pieces: Iterable[Any]) -> tuple[str, float]:
    """Plays pieces of sound as they come; gives the player's name and how many seconds it had.

    Raises:
        InputError: no player is there, or it fails.
    """
    program = next((name for name in (*_RAW, _WHOLE) if shutil.which(name)), None)
    if program is None:
        raise InputError(
            f"--play: none of {', '.join((*_RAW, _WHOLE))} is there to play with: install one, or "
            f"give --out"
        )
    pieces = iter(pieces)
    first = next(pieces)
    sink = _piped if program in _RAW else _filed
    with sink(program, first.rate) as write:
        seconds = _write([first], write) + _write(pieces, write)
    return program, seconds


def to_stdout(pieces: Iterable[Any]) -> float:
    """Writes pieces of sound to stdout, 16 bits, little-endian; gives their seconds."""
    return _write(pieces, sys.stdout.buffer.write)


def _write(pieces: Iterable[Any], write: Any) -> float:
    """Writes each piece as it comes; gives the seconds of all."""
    seconds = 0.0
    for piece in pieces:
        write(numbers(piece))
        seconds += len(piece.samples) / piece.rate
    sys.stdout.flush()
    return seconds


def numbers(piece: Any) -> bytes:
    """A piece of sound as 16-bit numbers, little-endian."""
    whole = np.round(piece.samples * 2**15).clip(-(2**15), 2**15 - 1)
    return bytes(whole.astype("<i2").tobytes())


@contextmanager
def _piped(program: str, rate: int) -> Iterator[Any]:
    """What writes to the standard input of a player, which then plays to its end."""
    words = [program, *(str(rate) if word == _RATE else word for word in _RAW[program])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as player:
        assert player.stdin is not None
        assert player.stderr is not None
        try:
            yield _flushing(player.stdin)
            player.stdin.close()
        except BrokenPipeError:  # it was closed, or it failed and says why
            pass
        why = player.stderr.read().decode(errors="replace").strip()
        if player.wait():
            raise InputError(f"--play: {program} failed, {why.splitlines()[-1] if why else ''}")


def _flushing(pipe: Any) -> Any:
    def write(data: bytes) -> None:
        pipe.write(data)
        pipe.flush()

    return write


@contextmanager
def _filed(program: str, rate: int) -> Iterator[Any]:
    """What collects the sound for a player of files."""
    import soundfile

    data = bytearray()
    yield data.extend
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        soundfile.write(path, np.frombuffer(data, "<i2"), rate, subtype="PCM_16")
        if subprocess.run([program, str(path)], capture_output=True).returncode:
            raise InputError(f"--play: {program} failed")
