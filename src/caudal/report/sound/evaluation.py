"""The numbers of an evaluation on audio."""

from dataclasses import asdict, dataclass
from typing import Any

from caudal.report.evaluate import plain


@dataclass(frozen=True)
class AudioEvaluation:
    """How many bits a sample takes, over all samples of all clips: fewer is better.

    Means are ratios, the total over the clips by their total length: a long clip counts for more
    than a short one. Errors are by clips, whose samples hang together.

    A clip scores -inf where one of its samples is none that the flow knows, or it is too far from
    the data for the flow's floating point. Then the mean over all clips is infinite;
    `bits_per_sample_inside` and what follows from it are of the other clips.

    Attributes:
        bits_per_sample: -log2 of the mass of whole numbers; an upper bound, as log_prob is a
            lower one.
        two_se: two standard errors of it over clips, of those inside.
        log_prob: nats of an average clip: a mass of whole numbers, no density.
        nats_per_sample: log-mass of a sample, nats: -bits_per_sample ln 2.
        density_nats_per_sample: log-density of a sample in units of amplitude, from -1 to 1 in
            steps of 2^(1 - bits): nats_per_sample + (bits - 1) ln 2.
        rows: how many clips there were.
        rows_outside: how many of them score -inf.
        bits_per_sample_inside: over the others, NaN if there are none.
        samples: of all clips.
        duration: of all clips, in seconds.
        rate: samples a second.
        bits: of each sample: 16 are not comparable with fewer.
        kind: which bound it is, and whether it is an estimate (`Flow.kind`).
        split: which they were: train, valid, test, or a file.
        seed: of the noise that fills the steps, drawn once a clip.
        discretized_bits_per_sample: with each step's mass taken whole instead of by noise; None
            where the flow has no such mass.
        discretized_two_se: two standard errors of that.
        uniform_bits_per_sample: where every whole number is as likely as any other: `bits`.
        gaussian_bits_per_sample: the same clips under the baseline.
        gain: bits a sample by which the flow is below the baseline, over the clips inside.
        gain_two_se: two standard errors of that, from the clips' own differences.
        gaussian: what the baseline is, in words.
        unit: always "bits/sample".
    """

    bits_per_sample: float
    two_se: float
    log_prob: float
    nats_per_sample: float
    density_nats_per_sample: float
    rows: int
    rows_outside: int
    bits_per_sample_inside: float
    samples: int
    duration: float
    rate: int
    bits: int
    kind: str = "lower bound"
    split: str = "test"
    seed: int = 0
    discretized_bits_per_sample: float | None = None
    discretized_two_se: float | None = None
    uniform_bits_per_sample: float = 16.0
    gaussian_bits_per_sample: float | None = None
    gain: float | None = None
    gain_two_se: float | None = None
    gaussian: str = "not known, as the run's training clips are not"
    unit: str = "bits/sample"

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: both are null."""
        return {k: plain(v) for k, v in asdict(self).items() if v is not None}
