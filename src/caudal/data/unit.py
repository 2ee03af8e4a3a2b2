"""The unit in which scores of one kind of data are given."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """How a log-probability in nats becomes the score that people read.

    Attributes:
        name: as it is printed, such as "bits/dim".
        key: of the score in eval.json and in tables, such as "bits_per_dim".
        bits: whether the score is a code length in bits, fewer being better, each item divided by
            its elements; otherwise it is the log-probability of an item in nats.
        digits: after the point, in tables on screen and on the page.
    """

    name: str
    key: str
    bits: bool
    digits: int = 3

    @property
    def scale(self) -> float:
        """What a log-probability in nats is multiplied by."""
        return -1 / math.log(2) if self.bits else 1.0


NATS = Unit("nats", "log_prob", bits=False)
BITS_PER_DIM = Unit("bits/dim", "bits_per_dim", bits=True, digits=4)
BITS_PER_SAMPLE = Unit("bits/sample", "bits_per_sample", bits=True)
