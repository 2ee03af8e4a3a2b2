"""The loops of linear prediction that Numba compiles.

Each step needs the one before, and is so small that tensors spend nearly all time between steps.
`caudal.bijections.prediction` does the same with tensors, and a test holds both equal.
"""

import numpy as np
from numba import njit

FLAGS = {"contract", "reassoc", "nsz", "arcp"}  # not those that would lose NaN


@njit(cache=True, nogil=True, fastmath=FLAGS)
def find_filters(correlation, frame, filters, variances):
    """Fills filters (B, E + F, P) and variances (B, E + F) by Levinson's and Durbin's recursion.

    correlation: of F frames, (B, F, P + 1). frame: those of the first E samples, whose filters, of
    order 0, 1, ... E - 1, are the first rows; the others are those of order P of all frames. The
    coefficient of the oldest sample comes first.
    """
    order = filters.shape[2]
    early = len(frame)
    filter_, before = np.zeros(order), np.zeros(order)  # the nearest sample first
    for b in range(len(correlation)):
        for f in range(correlation.shape[1]):
            lags = correlation[b, f]
            variance = lags[0]
            for m in range(order + 1):
                if m > 0:
                    known = 0.0
                    for k in range(m - 1):
                        before[k] = filter_[k]
                        known += filter_[k] * lags[m - 1 - k]
                    reflection = (lags[m] - known) / variance
                    for k in range(m - 1):
                        filter_[k] = before[k] - reflection * before[m - 2 - k]
                    filter_[m - 1] = reflection
                    variance *= 1 - reflection * reflection
                if m == order or (m < early and frame[m] == f):
                    row = early + f if m == order else m
                    variances[b, row] = variance
                    for k in range(m):
                        filters[b, row, order - 1 - k] = filter_[k]


@njit(cache=True, nogil=True, fastmath=FLAGS)
def drive(filters, rows, driven, x):
    """Fills x (B, P + n) after its first P samples: x_t = driven_t + sum_k a_k x_(t-k).

    filters: (B, R, P), the coefficient of the oldest sample first. rows: which of them predicts
    each sample, (n,). driven: (B, n).
    """
    order = filters.shape[2]
    for b in range(len(x)):
        for t in range(len(rows)):
            total, filter_ = driven[b, t], filters[b, rows[t]]
            for k in range(order):
                total += filter_[k] * x[b, t + k]
            x[b, order + t] = total
