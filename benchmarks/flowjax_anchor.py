"""FlowJAX in its own process and environment, for `speed.py --flowjax PYTHON`.

    python -m venv ENV && ENV/bin/pip install flowjax

Reads one JSON object a line from stdin: a flow to prepare, or null to run it once more; answers
each with a line, the seconds taken. Whatever XLA compiles it compiles while preparing.
FlowJAX mixes columns by a permutation where the others also have an LU linear layer, and has plain
nets where they have residual ones; these are given as many hidden-to-hidden layers.
"""

import json
import os
import sys
import time

THREADS = int(sys.argv[1])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax.random as jr  # noqa: E402
import optax  # noqa: E402
from flowjax.bijections import RationalQuadraticSpline  # noqa: E402
from flowjax.distributions import Normal  # noqa: E402
from flowjax.flows import coupling_flow, masked_autoregressive_flow  # noqa: E402


def build(kind, layers, hidden, features, bins, bound):
    spline = kind.startswith("nsf")
    make = masked_autoregressive_flow if kind in ("maf", "nsf-ar") else coupling_flow
    options = (
        {"transformer": RationalQuadraticSpline(knots=bins, interval=bound)} if spline else {}
    )
    return make(
        jr.key(0),
        base_dist=Normal(jnp.zeros(features)),
        flow_layers=layers,
        nn_width=hidden,
        nn_depth=5 if spline else 2,
        **options,
    )


def prepare(rows, train, **model):
    """A function that does the work once and waits for it."""
    params, static = eqx.partition(build(**model), eqx.is_inexact_array)
    x = jr.normal(jr.key(1), (rows, model["features"]))

    def log_prob(params):
        return eqx.combine(params, static).log_prob(x)

    score = jax.jit(log_prob)
    if not train:
        return lambda: jax.block_until_ready(score(params))
    optimiser = optax.adam(1e-4)

    @jax.jit
    def step(params, state):
        _, grads = jax.value_and_grad(lambda p: -log_prob(p).mean())(params)
        updates, state = optimiser.update(grads, state)
        return optax.apply_updates(params, updates), state

    held = [params, optimiser.init(params)]

    def run():
        held[:] = jax.block_until_ready(step(*held))

    return run


def main():
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        if request is not None:
            run = prepare(**request)
        run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
