"""What a truncated series makes of a log-det: flows trained on digits, by n terms and exactly.

    OMP_NUM_THREADS=1 python benchmarks/bias.py     a few minutes

64 columns, so that the determinant itself can be had. The traces of each block's Jacobian powers
are exact here, without probes: what is left is the bias alone. Writes bias.{md,json} and a picture
for docs/papers/iresnet.md.
"""

from typing import Any, cast

import torch
from torch import Tensor

import caudal
from caudal.bijection import walk
from caudal.bijections import Residual
from caudal.data import open_data
from caudal.numerics import Truncated
from caudal.recipes import IResNet, Recipe, ResidualFlow
from caudal.report.style import DATA, QUIET, SAMPLES, house_style
from environment import RESULTS, ROOT, describe, lines, table, write, write_json

TERMS = 30
ROWS = 128
SHOWN = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30)
TRAINING = caudal.Training(steps=600, batch_size=128, warmup=50, lr=2e-3, patience=0)
WAYS: dict[str, Recipe] = {
    "iresnet, 5 terms, coefficient 0.9": IResNet(blocks=12),
    "iresnet, 5 terms, coefficient 0.98": IResNet(blocks=12, coefficient=0.98),
    "residual-flow, roulette, coefficient 0.98": ResidualFlow(blocks=12),
}
PICTURE = ROOT / "docs" / "images" / "series.png"


def trained(recipe: Recipe) -> tuple[caudal.Flow, Tensor]:
    """A flow of digits, and some test rows as its bijection takes them."""
    data = open_data("digits", split=(0.8, 0.1, 0.1))
    flow = caudal.assemble(recipe, data.schema)
    caudal.fit(flow, data.train, data.valid, training=TRAINING)
    flow.eval()
    rows = next(iter(data.test.ordered(ROWS))).x
    lifted, _ = flow.lift(rows, torch.Generator().manual_seed(0))
    return flow, lifted


@torch.no_grad()
def measure(flow: caudal.Flow, lifted: Tensor) -> dict[str, Any]:
    """Mean log-det of the blocks by 1, 2, ... terms, less the exact one, in nats a row."""
    off, bounds, lipschitz = torch.zeros(TERMS), [0.0] * TERMS, []
    for _, part, x, _ in walk(flow.bijection, lifted):
        if isinstance(part, Residual):
            jacobian = _jacobian(part, x).double()
            off += _partial_sums(jacobian) - _exact(jacobian)
            lipschitz.append(part.net.lipschitz())
            for n in range(TERMS):
                per_dim = Truncated(n + 1).bias_bound(lipschitz[-1])
                bounds[n] += part.elements * per_dim
    return {
        "off": off.tolist(),
        "bound": bounds,
        "lipschitz": max(lipschitz),
        "blocks": len(lipschitz),
    }


def _jacobian(part: Residual, x: Tensor) -> Tensor:
    _, push = part.net.linearised(x)
    return push(torch.eye(x.shape[1]).unsqueeze(1)).permute(1, 2, 0)  # (B, D, D)


def _partial_sums(jacobian: Tensor) -> Tensor:
    power, terms = torch.eye(jacobian.shape[1], dtype=jacobian.dtype), []
    for k in range(1, TERMS + 1):
        power = power @ jacobian
        trace = power.diagonal(dim1=1, dim2=2).sum(1).mean()
        terms.append((-1) ** (k + 1) * trace / k)
    return torch.stack(terms).cumsum(0).float()


def _exact(jacobian: Tensor) -> Tensor:
    eye = torch.eye(jacobian.shape[1], dtype=jacobian.dtype)
    return cast(Tensor, torch.linalg.slogdet(jacobian + eye).logabsdet.mean().float())


def draw(found: dict[str, dict[str, Any]]) -> None:
    import matplotlib.pyplot as plt

    n = range(1, TERMS + 1)
    with house_style():
        figure, axes = plt.subplots(1, len(found), figsize=(9.6, 3.0), sharey=True)
        for ax, (name, values) in zip(axes, found.items(), strict=True):
            color = DATA if "iresnet" in name else SAMPLES
            bound = torch.tensor(values["bound"])
            ax.fill_between(n, -bound, bound, color=QUIET, alpha=0.15, lw=0)
            ax.plot(n, values["off"], color=color, marker="o", ms=2.5)
            ax.axhline(0, color=QUIET, lw=0.8)
            if "terms" in name:
                ax.axvline(5, color=QUIET, lw=0.8, ls=":")
            ax.set_title("\n".join(name.split(", ", 1)))
            ax.set_xlabel("terms")
        axes[0].set_yscale("symlog", linthresh=0.01)
        ticks = [-1000, -10, -0.1, 0, 0.1, 10, 1000]
        axes[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes[0].set_ylabel("log-det by n terms\nless the exact one, nats a row")
        figure.tight_layout()
        figure.savefig(PICTURE, metadata={"Software": None})


def rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    return [
        [name, f"{v['lipschitz']:.3f}", *(f"{v['off'][n - 1]:+.3f}" for n in SHOWN)]
        for name, v in found.items()
    ]


def main() -> None:
    found = {}
    for name, recipe in WAYS.items():
        torch.manual_seed(0)
        flow, lifted = trained(recipe)
        found[name] = measure(flow, lifted)
        print(name, [round(v, 3) for v in found[name]["off"]], flush=True)
    facts = describe()
    header = ["trained with", "Lip(g) at most", *(f"n = {n}" for n in SHOWN)]
    text = [
        "# The bias of a truncated series",
        "",
        "Mean log-det of the residual blocks by n exact terms, less the determinant itself, in "
        f"nats a row of {ROWS} test rows of digits (64 columns).",
        "",
        *lines(facts),
        "",
        *table(header, rows(found)),
    ]
    write(RESULTS / "bias.md", "\n".join(text) + "\n")
    write_json(RESULTS / "bias.json", {"made": facts, "rows": found})
    draw(found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
