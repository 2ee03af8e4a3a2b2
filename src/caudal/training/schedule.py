"""The learning rate as a function of the step."""

import math

from caudal.training.options import Training


def learning_rate(step: int, total: int, training: Training) -> float:
    """The rate of step `step` (from 0) of `total`: a line up, then a cosine down to zero.

    lr (step + 1) / warmup while step < warmup; then lr (1 + cos(pi t)) / 2, where t goes from 0
    at the end of the warm-up to 1 one step past the end. A warm-up longer than a tenth of the
    run is cut to that.
    """
    warmup = min(training.warmup, total // 10)
    if step < warmup:
        return training.lr * (step + 1) / warmup
    if not training.cosine:
        return training.lr
    done = (step - warmup) / max(total - warmup, 1)
    return training.lr * 0.5 * (1 + math.cos(math.pi * done))
