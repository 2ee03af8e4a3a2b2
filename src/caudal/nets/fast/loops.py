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
def add_block_products(into, rows, weight, source, columns):
    """into[r] += weight[r, c] source[c], summed over columns, for every row and batch.

    into has the rows that are due, and source all rows of its layer.
    """
    if into.shape[1] < 8:  # for a small batch, along the weights
        for b in range(into.shape[1]):
            for r in range(rows[0], rows[1]):
                total = into[r - rows[0], b]
                for c in range(columns[0], columns[1]):
                    total += weight[r, c] * source[c, b]
                into[r - rows[0], b] = total
        return
    for r in range(rows[0], rows[1]):
        row = into[r - rows[0]]
        for c in range(columns[0], columns[1]):
            w, values = weight[r, c], source[c]
            for b in range(len(row)):
                row[b] += w * values[b]


@njit(cache=True, nogil=True)
def run_block(kind, constants, steps, z, x, log_slope, net, tops, sums, hidden, params):
    """Fills rows steps[0] to steps[1] of x and log_slope, and of the hidden layers.

    net: the weights of all layers and of the direct connections, one after the other, and where
    each begins; the first row of each step in each layer, and the first row of each layer in
    hidden, which has the units of one after the other, and the number of units after the last;
    whether there are residuals, whether units are relu, and whether there are direct connections.
    tops: where the block's rows of each layer begin in sums, which has the products with all that
    was known before the block. params: room for the parameters of the map, the last layer's rows.

    All arrays have the same number of dimensions however deep the net: it is compiled once.
    """
    weights, places, dues, begins, (residual, relu, direct) = net
    first, last = steps
    outputs = len(dues) - 1
    for t in range(first, last):
        for k in range(outputs + 1):
            rows, top = (dues[k, t], dues[k, t + 1]), tops[k] - dues[k, first]
            if rows[0] == rows[1]:
                continue
            into = sums[top + rows[0] : top + rows[1]]
            if k == 0:
                weight = weights[places[0] : places[1]].reshape(-1, len(x))
                add_block_products(into, rows, weight, x, (first, t))
            else:
                units = hidden[begins[k - 1] : begins[k]]
                weight = weights[places[k] : places[k + 1]].reshape(-1, len(units))
                known = (dues[k - 1, first], dues[k - 1, t + 1])
                add_block_products(into, rows, weight, units, known)
            if k == outputs:
                if direct:
                    weight = weights[places[k + 1] :].reshape(-1, len(x))
                    add_block_products(into, rows, weight, x, (first, t))
                continue
            for r in range(rows[0], rows[1]):
                for b in range(z.shape[1]):
                    value = sums[top + r, b]
                    if residual and k > 0 and k % 2 == 0:
                        value += sums[tops[k - 2] - dues[k - 2, first] + r, b]
                        sums[top + r, b] = value
                    if not (residual and k == outputs - 1):
                        value = max(value, value - value) if relu else math.tanh(value)
                    hidden[begins[k] + r, b] = value
        row = tops[outputs] + (t - first) * len(params)
        for b in range(z.shape[1]):
            for j in range(len(params)):
                params[j] = sums[row + j, b]
            x[t, b], log_slope[t, b] = forward(kind, 1.0 * z[t, b], params, constants)


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
    the samples before. scratch: memory (B, n) for streams, gates, units and parameters, and for
    the parameters of one row as the map takes them, double.
    """
    first, taps, outs, out_bias, inner, inner_bias, last, last_bias, dilations, rational = net
    conditions, hold = inputs
    queues, slots, before = state
    streams, values, units, params, own = scratch  # streams: residual, then skips
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
            for j in range(len(own)):
                own[j] = params[b, j]
            x[t, b], log_slope[t, b] = forward(kind, 1.0 * z[t, b], own, constants)
            before[b] = x[t, b]
