"""The loops over steps that Numba compiles: a block of a masked net, and a whole WaveNet.

In a block of a masked net, the products with what came before are done already. What remains is
small and sequential, and plain Python would spend most of its time between products of a few
numbers. A WaveNet of one row reads every weight once a step, and this takes nearly all the time:
weights lie in the order in which they are read, and each product goes along their rows. Its
numbers of channels are multiples of 16, padded with zeros.
"""

import math

from numba import njit

from caudal.nets.fast.maps import forward

FLAGS = {"contract", "reassoc", "nsz", "arcp"}  # not those that would lose NaN


@njit(fastmath=True)
def add_block_products(into, rows, top, weight, source, columns):
    """into[r - top] += weight[r, c] source[c], summed over columns, for every row and batch."""
    if into.shape[1] < 8:  # for a small batch, along the weights
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

    net holds, for each layer, its weight, the first row of each step, and its products with all
    that was known before the block; then the values of each hidden layer, and the weight of direct
    connections. The last layer's rows are the parameters of the map.
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
                add_block_products(sums[k], rows, top, weights[k], x, (first, t))
            else:
                known = (dues[k - 1][first], dues[k - 1][t + 1])
                add_block_products(sums[k], rows, top, weights[k], hidden[k - 1], known)
            if k == outputs:
                if len(direct) > 0:
                    add_block_products(sums[k], rows, top, direct, x, (first, t))
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


@njit(fastmath=FLAGS)
def add_products(into, x, weight):
    """into[b] += x[b] weight, for weight (inputs, outputs): eight inputs at a time."""
    for k in range(0, len(weight), 8):
        w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        w4, w5, w6, w7 = weight[k + 4], weight[k + 5], weight[k + 6], weight[k + 7]
        for b in range(len(into)):
            x0, x1, x2, x3 = x[b, k], x[b, k + 1], x[b, k + 2], x[b, k + 3]
            x4, x5, x6, x7 = x[b, k + 4], x[b, k + 5], x[b, k + 6], x[b, k + 7]
            row = into[b]
            for j in range(len(row)):
                low = (x0 * w0[j] + x1 * w1[j]) + (x2 * w2[j] + x3 * w3[j])
                high = (x4 * w4[j] + x5 * w5[j]) + (x6 * w6[j] + x7 * w7[j])
                row[j] += low + high


@njit(fastmath=FLAGS)
def to_tanh(values, rational):
    """Replaces each value by its tanh: x P(x^2) / Q(x^2), x clamped to the last coefficient.

    The coefficients have the type of the values: otherwise all would become double.
    """
    a0, a1, a2, a3 = rational[0], rational[1], rational[2], rational[3]
    a4, a5, a6, b0 = rational[4], rational[5], rational[6], rational[7]
    b1, b2, b3, most = rational[8], rational[9], rational[10], rational[11]
    for j in range(len(values)):
        x = values[j]
        x = most if x > most else x
        x = -most if x < -most else x
        s = x * x
        above = ((((((a0 * s + a1) * s + a2) * s + a3) * s + a4) * s + a5) * s + a6) * x
        values[j] = above / (((b0 * s + b1) * s + b2) * s + b3)


@njit(fastmath=FLAGS)
def to_tanh_double(values):
    """Replaces each value by its tanh: 1 - 2 / (1 + exp(2 x)), exp by series and ten squarings."""
    for j in range(len(values)):
        x = values[j]
        x = 20.0 if x > 20.0 else x
        x = -20.0 if x < -20.0 else x
        y = x / 512
        e = 1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6)))))
        for _ in range(10):
            e = e * e
        values[j] = 1 - 2 / (1 + e)


@njit(fastmath=FLAGS)
def gate(values, units, rational):
    """Fills units with tanh(filter) (1 + tanh(gate)), from values (B, 2 channels)."""
    channels = units.shape[1]
    for b in range(len(units)):
        if values.itemsize == 4:
            to_tanh(values[b], rational)
        else:
            to_tanh_double(values[b])
        for j in range(channels):
            units[b, j] = values[b, j] + values[b, j] * values[b, channels + j]


@njit(fastmath=FLAGS)
def add_row(into, added, row):
    """Writes or adds a row to each of a batch: loops compile faster than array expressions."""
    for b in range(len(into)):
        for j in range(len(row)):
            into[b, j] = into[b, j] + row[j] if added else row[j]


@njit(fastmath=FLAGS)
def relu(values):
    """Clips negative values at zero, in place."""
    for b in range(len(values)):
        for j in range(values.shape[1]):
            if values[b, j] < 0:
                values[b, j] = 0


@njit(fastmath=FLAGS)
def queued(queue, slot, h):
    """Writes h into a slot of a queue."""
    for b in range(len(h)):
        for j in range(queue.shape[2]):
            queue[slot, b, j] = h[b, j]


@njit(cache=True, nogil=True, fastmath=FLAGS)
def run_steps(kind, constants, z, x, log_slope, net, inputs, state, scratch):
    """Fills x and log_slope (T, B) for noise z, and advances the state.

    net: weight and bias of the first layer (2, channels); taps (layers, kernel, channels, 2
    channels); outs (layers, channels, channels or twice as many), their biases; the two layers of
    the head and their biases; the dilations; coefficients of tanh. inputs: biases plus conditions
    of the gates (rows, B or 1, layers, 2 channels), and the number of steps that each row is for.
    state: queues (rows, B, channels) of all layers one after the other, the next slot of each, and
    the samples before. scratch: memory (B, n) for streams, gates, units and parameters.
    """
    first, taps, outs, out_bias, inner, inner_bias, last, last_bias, dilations, rational = net
    conditions, hold = inputs
    queues, slots, before = state
    streams, values, units, params = scratch  # streams: residual, then skips
    batch, channels, kernel = z.shape[1], first.shape[1], taps.shape[1]
    head = streams[:, outs.shape[2] - channels :]
    for t in range(len(z)):
        rows = conditions[min(t // hold, len(conditions) - 1)]
        for b in range(batch):
            for j in range(streams.shape[1]):
                streams[b, j] = 0
            for j in range(channels):
                streams[b, j] = first[0, j] * before[b] + first[1, j]
        top = 0
        for i in range(len(taps)):
            for b in range(batch):
                row = rows[b if len(rows) > 1 else 0, i]
                for j in range(len(row)):
                    values[b, j] = row[j]
            size, slot = (kernel - 1) * dilations[i], slots[i]
            for k in range(kernel - 1):
                seen = slot + k * dilations[i]
                seen = seen - size if seen >= size else seen
                add_products(values, queues[top + seen], taps[i, k])
            add_products(values, streams, taps[i, kernel - 1])
            queued(queues, top + slot, streams)
            slots[i] = slot + 1 if slot + 1 < size else 0
            top += size
            gate(values, units, rational)
            add_row(streams, True, out_bias[i])
            add_products(streams, units, outs[i])
        relu(head)
        add_row(units, False, inner_bias)
        add_products(units, head, inner)
        relu(units)
        add_row(params, False, last_bias)
        add_products(params, units, last)
        for b in range(batch):
            x[t, b], log_slope[t, b] = forward(kind, z[t, b], params.T, 0, b, constants)
            before[b] = x[t, b]
