"""The numbers of an evaluation on images."""

from dataclasses import asdict, dataclass
from typing import Any

from caudal.report.evaluate import plain


@dataclass(frozen=True)
class ImageEvaluation:
    """How many bits a pixel's channel takes, on average over images: fewer is better.

    An image scores -inf where one of its values is none that the flow knows, or it is too far
    from the data for the flow's floating point. Then the mean over all images is infinite;
    `bits_per_dim_inside` and what follows from it are of the other images.

    Attributes:
        bits_per_dim: mean over all images; an upper bound, as log_prob is a lower one.
        two_se: two standard errors of it over images, of those inside.
        log_prob: mean log-probability of an image, nats: a mass of whole numbers, no density.
        log_prob_two_se: two standard errors of it.
        rows: how many images there were.
        rows_outside: how many of them score -inf.
        bits_per_dim_inside: mean over the others, NaN if there are none.
        elements: of an image, by which nats are divided.
        bits: of each element: 8 are not comparable with fewer.
        draws: of noise for each image; bits_per_dim is of the mean log-probability over them.
        kind: which bound it is, by the noise that fills the steps between pixel values, and
            whether it is an estimate (`Flow.kind`).
        split: which they were: train, valid, test, or a file.
        seed: of the noise, and of estimates.
        noise_std: standard deviation of one image's bits/dim over draws of that noise, and of the
            estimate if it is one (4 redraws of up to 256 images, their variances averaged).
        noise_two_se: two standard errors that the noise alone causes in bits_per_dim.
        estimate_std: of an estimated flow, the part of noise_std that is the estimate's: over
            redraws of it at the same noise.
        estimate_two_se: two standard errors that this causes in bits_per_dim.
        bias_bound: of a biased one, how far bits_per_dim is off at most for that.
        bits_per_dim_importance: with several draws, of the log of their mean probability: a
            tighter bound, of importance sampling; not to be compared with others' bits_per_dim.
            None of an estimated flow: the exponential of an unbiased estimate is too high.
        gaussian_bits_per_dim: the same images under the Gaussian.
        gain: bits/dim by which the flow is below the Gaussian, over the images inside.
        gain_two_se: two standard errors of that, from the images' own differences.
        gaussian: what the Gaussian is, in words.
        unit: always "bits/dim".
    """

    bits_per_dim: float
    two_se: float
    log_prob: float
    log_prob_two_se: float
    rows: int
    rows_outside: int
    bits_per_dim_inside: float
    elements: int
    bits: int
    draws: int = 1
    kind: str = "lower bound"
    split: str = "test"
    seed: int = 0
    noise_std: float | None = None
    noise_two_se: float | None = None
    estimate_std: float | None = None
    estimate_two_se: float | None = None
    bias_bound: float | None = None
    bits_per_dim_importance: float | None = None
    gaussian_bits_per_dim: float | None = None
    gain: float | None = None
    gain_two_se: float | None = None
    gaussian: str = "not known, as the run's training images are not"
    unit: str = "bits/dim"

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: both are null."""
        return {k: plain(v) for k, v in asdict(self).items() if v is not None}
