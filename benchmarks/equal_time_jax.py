"""A worker of `equal_time.py`: FlowJAX as its documentation has it.

The loop is that of its `fit_to_data` (batches of 100, Adam) until the time is out; what XLA takes
to compile a step is in that time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import (
    block_neural_autoregressive_flow,
    coupling_flow,
    masked_autoregressive_flow,
)

from equal_time_job import Job, Problem, race, work

CHUNK = 1000


class Flow(NamedTuple):
    build: Callable[[Any, int], Any]
    rate: float


def nsf_ar(key: Any, features: int) -> Any:
    """https://danielward27.github.io/flowjax/examples/unconditional.html (19.1.2)."""
    spline = RationalQuadraticSpline(knots=8, interval=4)
    return masked_autoregressive_flow(
        key, base_dist=Normal(jnp.zeros(features)), transformer=spline
    )


def nsf(key: Any, features: int) -> Any:
    """The same page, with its other flow."""
    spline = RationalQuadraticSpline(knots=8, interval=4)
    return coupling_flow(key, base_dist=Normal(jnp.zeros(features)), transformer=spline)


def bnaf(key: Any, features: int) -> Any:
    """https://github.com/danielward27/flowjax, README (19.1.2)."""
    return block_neural_autoregressive_flow(key, base_dist=Normal(jnp.zeros(features)))


FLOWS = {
    "flowjax": Flow(nsf_ar, 1e-3),
    "flowjax:coupling": Flow(nsf, 1e-3),
    "flowjax:bnaf": Flow(bnaf, 5e-3),
}


class JaxLearner:
    """A documented flow in training."""

    batch = 100
    anneals = False

    def __init__(self, flow: Flow, problem: Problem, seed: int) -> None:
        self._train = jnp.asarray(problem.units("train"))
        built = flow.build(jr.key(seed), self._train.shape[1])
        self._params, static = eqx.partition(
            built,
            eqx.is_inexact_array,
            is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
        )
        self.parameters = sum(p.size for p in jax.tree.leaves(self._params))
        optimiser = optax.adam(flow.rate)
        self._state = optimiser.init(self._params)

        def log_prob(params: Any, x: Any) -> Any:
            return paramax.unwrap(eqx.combine(params, static)).log_prob(x)

        def step(params: Any, state: Any, x: Any) -> Any:
            grads = jax.grad(lambda p: -log_prob(p, x).mean())(params)
            updates, state = optimiser.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self._step, self._log_prob = jax.jit(step), jax.jit(log_prob)

    def step(self, rows: np.ndarray, done: float) -> None:
        result = self._step(self._params, self._state, self._train[rows])
        self._params, self._state = jax.block_until_ready(result)

    def snapshot(self) -> Any:
        return self._params

    def log_prob(self, flow: Any, x: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(x), CHUNK):
            chunk = x[start : start + CHUNK]
            whole = np.pad(chunk, ((0, CHUNK - len(chunk)), (0, 0)), mode="edge")
            found.append(np.asarray(self._log_prob(flow, whole))[: len(chunk)])
        return np.concatenate(found).astype(np.float64)


def run(job: Job, problem: Problem) -> None:
    race(JaxLearner(FLOWS[job.library], problem, job.seed), problem, job)


if __name__ == "__main__":
    work(run)
