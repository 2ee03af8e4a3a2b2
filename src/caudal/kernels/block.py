"""All steps of a block of a masked net in one compiled loop (see `caudal.nets.unroll`).

The block's products with what came before are done; what is left is small and sequential, and
plain Python spends most of its time between the products of a few numbers.
"""

import math

from numba import njit

from caudal.kernels.maps import forward


@njit(fastmath=True)
def add_products(into, rows, top, weight, source, columns):
    """into[r - top] += weight[r, c] source[c], summed over columns, for every row and batch."""
    if into.shape[1] < 8:  # a handful of columns to the batch: along the weights
        for b in range(into.shape[1]):
            for r in range(rows[0], rows[1]):
                total = into[r - top, b]
                for c in range(columns[0], columns[1]):
                    total += weight[r, c] * source[c, b]
                into[r - top, b] = total
        return
    for r in range(rows[0], rows[1]):
        row = into[r - top]
        for c in range(columns[0], columns[1]):
            w, values = weight[r, c], source[c]
            for b in range(len(row)):
                row[b] += w * values[b]


@njit(cache=True, nogil=True)
def run_block(kind, steps, z, x, log_slope, net, residual, relu, constants):
    """Fills rows steps[0] to steps[1] of x and log_slope, and of the hidden layers.

    net holds, for each layer: its weight, where the rows of each step start, how many columns were
    known before each step, the sums brought in from before the block; and of each hidden layer its
    values. The last layer's are the map's parameters.
    """
    weights, dues, sums, hidden, direct = net
    first, last = steps
    outputs = len(weights) - 1
    n_params = dues[outputs][1] - dues[outputs][0]
    for t in range(first, last):
        for k in range(outputs + 1):
            rows, top = (dues[k][t], dues[k][t + 1]), dues[k][first]
            if rows[0] == rows[1]:
                continue
            if k == 0:
                add_products(sums[k], rows, top, weights[k], x, (first, t))
            else:
                known = (dues[k - 1][first], dues[k - 1][t + 1])
                add_products(sums[k], rows, top, weights[k], hidden[k - 1], known)
            if k == outputs:
                if len(direct) > 0:
                    add_products(sums[k], rows, top, direct, x, (first, t))
                continue
            for r in range(rows[0], rows[1]):
                for b in range(z.shape[1]):
                    value = sums[k][r - top, b]
                    if residual and k > 0 and k % 2 == 0:
                        value += sums[k - 2][r - top, b]
                        sums[k][r - top, b] = value
                    if not (residual and k == outputs - 1):
                        value = max(value, value - value) if relu else math.tanh(value)
                    hidden[k][r, b] = value
        for b in range(z.shape[1]):
            row = (t - first) * n_params
            x[t, b], log_slope[t, b] = forward(kind, z[t, b], sums[outputs], row, b, constants)
