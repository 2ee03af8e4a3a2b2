"""Whether a density given a context is calibrated: ranks of true rows, and coverage of regions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caudal.flow import Flow
from caudal.report.distilled import ScreenTable
from caudal.report.page import write_figure
from caudal.report.style import DATA, QUIET, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Calibration:
    """What N simulations say of a posterior.

    Attributes:
        ranks: (N, D), the share of the posterior's draws below each true parameter. For a
            calibrated posterior they are uniform, in the mean over observations.
        levels: (N,), the mass of the smallest region of highest density that holds the true
            parameters; uniform likewise. Below the diagonal the posterior is too sure of itself.
        p_values: of a Kolmogorov-Smirnov test of uniformity for each parameter, (D,).
        p_coverage: of that of the levels.

    Reference: Simulation-based calibration (Talts, Betancourt, Simpson, Vehtari, Gelman, 2018),
    arXiv:1804.06788; expected coverage (Hermans et al., 2021), arXiv:2110.06581.
    """

    ranks: Tensor
    levels: Tensor
    p_values: Tensor
    p_coverage: float

    def coverage(self, level: float) -> float:
        """The share of true parameters in the region of highest density of that mass."""
        return float((self.levels <= level).double().mean())

    def table(self) -> ScreenTable:
        """How often the truth lies in regions of highest density, beside their mass."""
        head = ["region of highest density", "holds the truth"]
        rows = [[f"{level:.0%}", f"{self.coverage(level):.1%}"] for level in _LEVELS]
        return ScreenTable("", head, rows, "nn")

    def sentences(self) -> list[str]:
        """What it found, in words."""
        n, worst = len(self.levels), int(self.p_values.argmin())
        p = min(1.0, float(self.p_values[worst]) * len(self.p_values))
        verdict = "not uniform" if p < 0.01 else "uniform as far as this can tell"
        shares = ", ".join(f"{self.coverage(a):.1%} in regions of {a:.0%}" for a in _LEVELS)
        return [
            f"Ranks of {n} simulations are {verdict}: the least p-value of "
            f"{len(self.p_values)} parameters is {p:.2g} (Bonferroni), of parameter {worst}.",
            f"True parameters lie {shares}; the p-value of the levels is {self.p_coverage:.2g}.",
        ]

    def picture(self, path: str | Path) -> None:
        """Draws ranks and coverage, beside the band in which 99 % of calibrated ones would lie."""
        write_figure(Path(path), self.figure)

    def figure(self) -> "Figure":
        """The distribution of ranks and levels, as differences to the uniform one."""
        from scipy.stats import kstwo

        figure = new_figure(9.6, 3.4)
        left, right = figure.subplots(1, 2, sharey=True)
        for index, ranks in enumerate(self.ranks.t()):
            _draw_difference(left, ranks, f"parameter {index}" if index < 6 else None)
        _draw_difference(right, self.levels, "true parameters", color=DATA)
        left.set(xlabel="rank among draws", ylabel="share found less share expected")
        right.set(xlabel="mass of the region")
        left.set_title("Ranks of the true parameters")
        right.set_title("Coverage of regions of highest density")
        for axes in (left, right):
            band = kstwo.ppf(0.99, len(self.levels))
            axes.axhspan(-band, band, color=QUIET, alpha=0.2, linewidth=0)
            axes.legend()
        return figure


class Given:
    """A flow given a context, as `calibration` asks it."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def draws(self, context: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """N rows (n, D) given one context."""
        return self.flow.sample(n, context, generator=generator)

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Log-densities of rows (N, D) given one context, in nats, (N,)."""
        with torch.no_grad():
            return self.flow.log_prob(x, context)


def calibration(
    posterior: Any, theta: Tensor, x: Tensor, draws: int, generator: torch.Generator
) -> Calibration:
    """Ranks and levels of N simulations, each by so many draws of the posterior.

    Ties count by half; a random share of a step makes ranks continuous.
    """
    ranks, levels = [], []
    for truth, observation in zip(theta, x, strict=True):
        drawn = posterior.draws(observation, draws, generator)
        ranks.append(_below(truth, drawn))
        scores = posterior.log_prob(torch.cat([truth.unsqueeze(0), drawn]), observation)
        levels.append(_below(-scores[0], -scores[1:]))
    below, inside = (
        (torch.stack(each) + _share(torch.stack(each), generator)).cpu() / (draws + 1)
        for each in (ranks, levels)
    )
    p_values = torch.tensor([_uniformity(column) for column in below.t()])
    return Calibration(below, inside, p_values, _uniformity(inside))


def _share(like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), where the generator is."""
    drawn = torch.rand(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return drawn.to(like.device)


def _below(truth: Tensor, drawn: Tensor) -> Tensor:
    """How many draws (n, ...) are below the truth (...), float64; equal ones count by half."""
    return ((drawn < truth).double() + 0.5 * (drawn == truth)).sum(0)


def _uniformity(shares: Tensor) -> float:
    """The p-value of a Kolmogorov-Smirnov test against the uniform law."""
    from scipy.stats import kstest

    return float(kstest(shares.numpy(), "uniform").pvalue)


def _draw_difference(axes: Any, shares: Tensor, label: str | None, **style: Any) -> None:
    """The empirical distribution function less that of the uniform law."""
    edges = torch.cat([shares.new_zeros(1), shares.sort().values, shares.new_ones(1)])
    steps = torch.linspace(0, 1, len(edges), dtype=edges.dtype)
    axes.plot(edges.numpy(), (steps - edges).numpy(), label=label, linewidth=1.2, **style)
