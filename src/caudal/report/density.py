"""How near a flow is to a density that is known up to its constant, in one table."""

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from caudal.annealing import anneal
from caudal.correction import STEPS, corrected_sample
from caudal.flow import Flow
from caudal.report.distilled import ScreenTable
from caudal.report.numbers import number, plain, plus_minus
from caudal.targets import LogDensity, Target, log_density_of
from caudal.weights import effective_share, log_mean, pareto_k, smoothed

DRAWS = 10_000
"""Draws of the flow that are weighed, unless another number is asked for."""
_ANNEALED = 1000  # draws that are annealed to the density
_CHAINS = 500  # exact samples, whose chains say how many proposals they accept
_FAR = 1.0  # nats of KL(p||q), beyond which a part of the density is missing
LAGS = (
    "Annealed rows lag behind the temperatures, or the flow is 0 on part of the density: log Z by "
    "annealing may be off by more than its error, mostly too low"
)
_USEFUL = 0.7  # Pareto index above which weights are of little use


@dataclass(frozen=True)
class DensityEvaluation:
    """How near a flow q is to a density p(x) = exp(t(x)) / Z, by weights w = exp(t) / q.

    Attributes:
        draws: of the flow.
        log_z: log of the mean weight at draws of q: an estimate of log Z in nats.
        log_z_error: its standard error, by the delta method.
        log_z_smoothed: the same with the largest weights smoothed (`caudal.weights.smoothed`).
        known_log_z: log Z, where it is known.
        ess: reverse effective size, (E_q w)^2 / E_q w^2, a share of the draws.
        pareto_k: tail index of the weights: above 0.7 all these estimates are uncertain.
        exact_rows: exact samples of p, where they are known; else 0.
        forward_ess: the same size from these, 1 / (E_p w E_p 1/w); one sample where q is far too
            thin makes it 0.
        forward_kl: KL(p||q) = E_p log w - log Z from these, in nats: large where q misses a mode.
        annealed_log_z: log Z by sequential Monte Carlo from the flow (`caudal.annealing`).
        annealed_error: its standard error.
        annealed_settled: whether the annealed rows kept up with the temperatures, and hardly any
            moved to where the flow is 0; if not, the error is too small.
        temperatures: those that this took; 1 is plain importance sampling.
        acceptance: the share of proposals that exact samples by independence Metropolis accept.
        left: how far in total variation such samples are from p at most, after 20 proposals,
            as far as the draws tell.
        seconds: how long all of it took.
    """

    draws: int
    log_z: float
    log_z_error: float
    log_z_smoothed: float
    known_log_z: float | None
    ess: float
    pareto_k: float
    exact_rows: int
    forward_ess: float | None
    forward_kl: float | None
    annealed_log_z: float
    annealed_error: float
    annealed_settled: bool
    temperatures: int
    acceptance: float
    left: float
    seconds: float

    def table(self) -> ScreenTable:
        """All numbers, for the screen and the page."""
        known = "" if self.known_log_z is None else f"it is {self.known_log_z:.4f}"
        steps = "1 step" if self.temperatures == 1 else f"{self.temperatures} steps"
        z = [
            ("log Z", plus_minus(self.log_z, 2 * self.log_z_error), known),
            ("log Z, smoothed", number(self.log_z_smoothed), "largest weights as a Pareto tail"),
            ("log Z, annealed", plus_minus(self.annealed_log_z, 2 * self.annealed_error), steps),
        ]
        sizes = [("reverse ESS", f"{self.ess:.1%}", f"of {self.draws:,} draws of the flow")]
        if self.forward_ess is not None:
            of = f"at {self.exact_rows:,} exact samples"
            sizes.append(("forward ESS", f"{self.forward_ess:.1%}", of))
        if self.forward_kl is not None:
            sizes.append(("KL(density||flow)", number(self.forward_kl), "nats, at these"))
        rest = [
            ("Pareto k", number(self.pareto_k), "above 0.7 the weights are of little use"),
            ("accepted", f"{self.acceptance:.1%}", "proposals of exact samples"),
        ]
        rows = [list(row) for row in (*z, *sizes, *rest)]
        return ScreenTable("the flow beside the density", ["", "", ""], rows, " n ")

    def verdict(self) -> list[str]:
        """What the numbers come to."""
        lines = []
        if not self.pareto_k <= _USEFUL:
            lines.append(
                f"The weights have a heavy tail (Pareto k {self.pareto_k:.2f}): the flow lacks "
                f"mass somewhere, and the estimates from its draws alone are uncertain."
            )
        if self.forward_kl is not None and self.forward_kl > _FAR:
            lines.append(
                f"At exact samples the flow is {self.forward_kl:.2f} nats below the density in "
                f"the mean: it misses a part of it."
            )
        if not self.annealed_settled:
            lines.append(f"{LAGS}.")
        if not lines:
            lines.append(
                f"The flow's draws are worth {self.ess:.0%} as many samples of the density."
            )
        return lines

    @property
    def legend(self) -> str:
        """What the numbers are."""
        forward = "" if self.forward_ess is None else ", forward the same by exact samples"
        misses = self.forward_kl is not None and self.forward_kl > _FAR
        is_reliable = self.pareto_k <= _USEFUL and not misses
        left = f"; {STEPS} proposals leave at most {self.left:.1g} of total variation"
        return (
            f"Z: the integral of the density, in nats, ± two standard errors. Reverse ESS: "
            f"effective size of the flow's draws by their weights{forward}. Accepted: by "
            f"independence Metropolis, which makes draws samples of the density"
            f"{left if is_reliable else ''}. Took {self.seconds:.0f} s."
        )

    def sentences(self) -> list[str]:
        """The verdict, then what the numbers are."""
        return [*self.verdict(), self.legend]

    def to_dict(self) -> dict[str, Any]:
        """For eval.json."""
        return {name: plain(v) for name, v in asdict(self).items()} | {"verdict": self.verdict()}

    def __str__(self) -> str:
        from caudal.report.numbers import aligned

        table = self.table()
        return "\n".join([table.title, *aligned([table.head, *table.rows]), *self.sentences()])


@torch.no_grad()
def evaluate_density(
    flow: Flow, log_density: LogDensity, *, draws: int = DRAWS, seed: int = 0
) -> DensityEvaluation:
    """How near a flow is to a density that is known up to its constant.

    Args:
        flow: over vectors, without context, exact.
        log_density: t(x), log-densities (N,) in nats of rows (N, D); a `caudal.targets.Target` may
            know log Z and exact samples.
        draws: of the flow, and at most as many exact samples.
        seed: of all random numbers.

    Raises:
        InputError: the density does not give one number a row, or has no gradient.
        NumericalError: a log-density is NaN or +inf.
    """
    begun = time.monotonic()
    device = flow.base.like.device
    generator = torch.Generator(device).manual_seed(seed)
    x, log_q = flow.sample_with_log_prob(draws, generator=generator)
    log_w = log_density_of(log_density, x).double() - log_q.double()
    log_z, error = log_mean(log_w)
    known = log_density.log_z if isinstance(log_density, Target) else None
    exact, forward, forward_kl = _exact(flow, log_density, draws, seed)
    if forward_kl is not None:
        forward_kl -= log_z if known is None else known
    annealed = anneal(log_density, flow, min(draws, _ANNEALED), generator)
    _, corrected = corrected_sample(flow, log_density, _CHAINS, generator=generator)
    return DensityEvaluation(
        draws=draws,
        log_z=log_z,
        log_z_error=error,
        log_z_smoothed=log_mean(smoothed(log_w))[0],
        known_log_z=known,
        ess=effective_share(log_w),
        pareto_k=pareto_k(log_w),
        exact_rows=exact,
        forward_ess=forward,
        forward_kl=forward_kl,
        annealed_log_z=annealed.log_z,
        annealed_error=annealed.log_z_error,
        annealed_settled=annealed.settled,
        temperatures=len(annealed.temperatures),
        acceptance=corrected.acceptance,
        left=corrected.left,
        seconds=time.monotonic() - begun,
    )


def _exact(
    flow: Flow, log_density: LogDensity, n: int, seed: int
) -> tuple[int, float | None, float | None]:
    """How many exact samples there are, the forward effective size, and the mean of log w."""
    if not isinstance(log_density, Target) or not log_density.samples_exactly:
        return 0, None, None
    x = log_density.sample(n, torch.Generator().manual_seed(seed)).to(flow.base.like)
    log_w: Tensor = log_density_of(log_density, x).double() - flow.log_prob(x).double()
    share = float(2 * math.log(n) - log_w.logsumexp(0) - (-log_w).logsumexp(0))
    return n, math.exp(min(share, 0.0)), float(log_w.mean())
