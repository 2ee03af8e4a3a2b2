"""The options of sound: which clips, how they are read, and what samples are conditioned on."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from caudal.data.audio.convention import Log, Name, Scale
from caudal.data.audio.schema import PREDICTION
from caudal.errors import InputError
from caudal.fields import check_fields, check_value


@dataclass(frozen=True)
class AudioReading:
    """How recordings are read."""

    corrupt: Literal["refuse", "skip"] = "refuse"
    """Refuse files that cannot be read, or are silent, clipped or too short, or skip them."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class AudioOptions:
    """Which clips of sound to learn, how they are read, and what a flow is conditioned on."""

    data: str
    """A folder of .wav, .flac, .ogg or .mp3 files, one such file, or the built-in vowels."""
    context: tuple[str, ...] = ("mel",)
    """What to condition on: mel, the spectrum; none; or labels."""
    labels: str | None = None
    """What file names say, such as '{digit}_{speaker}_{index}': names for the context."""
    metadata: str | None = None
    """A .csv or .tsv with a row for each file, whose columns are names for the context."""
    valid: str | None = None
    """Validation clips, or a pattern of file names, instead of a share of the data."""
    test: str | None = None
    """Test clips, or a pattern of file names such as '*_[0-4].flac', instead of a share."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test clips, for parts that the data do not have."""
    split_by: str | None = None
    """A label, such as speaker, or a regular expression on names: clips that have it in common
    stay in one part."""
    split_seed: int = 0
    """Seed of the split, apart from that of training: runs of several seeds share one split."""
    corrupt: Literal["refuse", "skip"] = "refuse"
    """Refuse files that cannot be read, or are silent, clipped or too short, or skip them."""
    rate: int | None = None
    """Samples a second to resample to; the commonest rate of the files if not given."""
    seconds: float = 0.25
    """Length of the crops to train on."""
    mels: Annotated[int, Ge(0)] = 64
    """Bands of the log-mel spectrum to condition on."""
    window: int | None = None
    """Samples of the spectrum's window; the power of two nearest to 46 ms if not given."""
    trim: bool = True
    """Cut silence off at both ends."""
    normalize: bool = True
    """Scale each clip to the same peak."""
    mel_convention: Name = "caudal"
    """How the spectrum is made, so that spectra from elsewhere fit: caudal's own way, or that of
    torchaudio (MelSpectrogram and AmplitudeToDB), HiFi-GAN, or Tacotron 2."""
    mel_low: float | None = None
    """Where the first band begins, in Hz; the convention's own value if not given, as below."""
    mel_high: float | None = None
    """Where the last band ends, in Hz."""
    mel_scale: Scale | None = None
    """Scale on which the bands are evenly spaced: Slaney's or HTK's."""
    mel_log: Log | None = None
    """What numbers in files of spectra are: logarithms to the base e or 10, or decibels (db)."""
    mel_floor: float | None = None
    """The least value before the logarithm."""
    prediction: Annotated[int, Ge(0)] = PREDICTION
    """Samples that a linear prediction by the spectrum looks back; the flow learns what it leaves.
    0 for none."""
    update: bool = False
    """Update that prediction by the spectra of frames that have begun: at 8 kHz voices
    have more pitch from the start, and a step takes about twice as long."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("data", "valid", "test"))


@dataclass(frozen=True)
class AudioDrawing:
    """What clips are conditioned on; a flow that is given a spectrum copies clips."""

    mel_of: str | None = None
    """What to make sound of: a file of audio or a folder, whose clips are copied; or spectra, as
    a front end writes them, in a .npy or .npz file (bands, frames). The run's test clips are
    copied if not given."""
    mel_convention: Name | None = None
    """How spectra in a file were made, if not as the run's own."""
    mel_hop: int | None = None
    """Samples a frame in those spectra, if not the run's own number, which it has to divide."""
    mel_log: Log | None = None
    """What their numbers are: logarithms to the base e or 10, or decibels (db)."""
    trim: bool = False
    """Cut silence off at both ends of clips that are copied; else copies are as long as these."""
    normalize: bool = False
    """Give copies the peak that the run gave its clips; else they are as loud as the originals."""
    refine: Annotated[int, Ge(0)] = 0
    """Steps by which samples are made consistent with the spectrum they are given; 32 are enough.
    Voices get their pitch, hoarseness goes, and what comes out is no sample of the density."""
    given: tuple[str, ...] = ()
    """Values of labels for all clips, such as digit=3."""
    seconds: float | None = None
    """Seconds of each clip, 1 if not given, where no spectrum determines them."""

    def __post_init__(self) -> None:
        check_value("refine", self.refine, Annotated[int, Ge(0)])
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise InputError(f"`seconds` {self.seconds}: must be a positive number")
