"""The tables of a report on audio: how far copies are, and how fast they are drawn."""

from collections.abc import Sequence

from caudal.report.numbers import number
from caudal.report.sound.distilled import DistilledAudio, SamplingRate
from caudal.report.sound.measures import CopyMeasures, Mean

MEASURES_HEAD = ["", "teacher", "student", ""]
COPIES_HEAD = ["", "samples", ""]


def copy_rows(measures: CopyMeasures) -> list[list[str]]:
    """Name, value and meaning of each measure of a flow's own copies, for tables."""
    return [[words, _mean(getattr(measures, name)), said] for name, words, said in _MEASURES]


def measure_rows(d: DistilledAudio) -> list[list[str]]:
    """Name, the teacher's value, the student's and the meaning of each measure, for tables."""
    kl = f"{number(d.kl, 4)} ± {number(d.kl_two_se, 4)}"
    rows = [["KL(student||teacher)", "", kl, "nats a sample"]]
    for name, words, meaning in _MEASURES:
        pair = [_mean(getattr(side, name)) for side in (d.of_teacher, d.of_student)]
        rows.append([words, *pair, meaning])
    return rows


_MEASURES = (
    ("convergence", "STFT, convergence", "of magnitudes, loud parts above all; 0 is equal"),
    ("log_magnitude", "STFT, log-magnitude", "nepers, all parts alike; 1 is 8.7 dB"),
    ("log_spectral_distance", "log-spectral distance", "dB, root mean square over frequencies"),
    ("loudness_error", "loudness error", "dB, of 50 ms frames that are not silent"),
    ("level", "level", "dB above the originals; far below 0 is quiet"),
    ("treble", "treble", "dB above the originals', beyond a quarter of the rate; below 0 dull"),
)


def _mean(m: Mean) -> str:
    spread = f" ± {number(2 * m.se, 2)}" if m.se == m.se else ""
    return f"{number(m.mean, 2)}{spread}".replace("-", "−")


RATES_HEAD = ["", "on", "seconds of sound", "took (s)", "samples a second", "times real time"]


def rate_rows(speeds: Sequence[SamplingRate]) -> list[list[str]]:
    """How fast each draws, for tables."""
    return [
        [
            s.who,
            s.device,
            number(s.seconds, 2),
            number(s.took, 3),
            number(s.times_real * s.rate, 0),
            number(s.times_real, 3),
        ]
        for s in speeds
    ]
