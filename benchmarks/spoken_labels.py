"""A flow of speech as a classifier: under which label each test clip is likeliest.

    OMP_NUM_THREADS=1 python benchmarks/spoken_labels.py --run runs/fsdd-labels

The run is given labels alone, digit and speaker, and no spectrum. A clip is taken for the digit k
of the greatest log p(x | digit = k, its speaker), and likewise for the speaker. The matrices of
what is taken for what go to docs/images/spoken-labels.png.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from caudal.model import load
from caudal.report.items import place, row_noise
from caudal.report.recognition import told_labels
from caudal.report.style import DATA

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "spoken-labels.png"


@torch.no_grad()
def scores(run: Path, clips: int) -> dict[int, tuple[Tensor, Tensor]]:
    """For each label, log p given each of its values (N, K), and the clips' own values (N,)."""
    model = load(run)
    flow, schema = model.flow.eval(), model.schema
    found: dict[int, list[tuple[Tensor, int]]] = {}
    for batch in model.dataset.test.items(clips):
        x, context = place(flow, batch)
        x = flow.lift(x, row_noise(flow, 0), context)[0]
        for column, n in told_labels(schema).items():
            given = context.repeat(n, *[1] * (context.ndim - 1))
            given[:, column] = torch.arange(n).view(n, *[1] * (context.ndim - 2)).to(given)
            told = flow.continuous().log_prob(x.expand(n, *x.shape[1:]), given)
            found.setdefault(column, []).append((told, int(context[0, column].flatten()[0])))
    return {
        column: (torch.stack([told for told, _ in some]), torch.tensor([own for _, own in some]))
        for column, some in found.items()
    }


def draw(ax: Axes, told: Tensor, own: Tensor, title: str, names: list[str]) -> None:
    """The matrix of which value (rows) is taken for which (columns), in per cent of each row."""
    n = told.shape[1]
    counts = torch.zeros(n, n).index_put_(
        (own, told.argmax(1)), torch.ones(len(own)), accumulate=True
    )
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp_min(1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for i in range(n):
        for j in range(n):
            if shares[i, j] >= 1:
                colour = "white" if shares[i, j] > 45 else DATA
                ax.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", color=colour)
    ax.set_xticks(range(n), names, rotation=45 if len(names[0]) > 2 else 0)
    ax.set_yticks(range(n), names)
    ax.set_xlabel(f"{title} under which a clip is likeliest")
    ax.set_ylabel(f"{title} of the clip")
    ax.set_title(f"{100 * float((told.argmax(1) == own).double().mean()):.0f} % are right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/fsdd-labels"))
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = scores(options.run, options.clips)
    schema = load(options.run).schema
    figure, axes = plt.subplots(1, len(found), figsize=(11, 5.6), layout="constrained")
    for ax, (column, (told, own)) in zip(axes, found.items(), strict=True):
        label = schema.context[column]
        draw(ax, told, own, label.name, [str(value) for value in label.categories])
        right = (told.argmax(1) == own).double()
        error = 2 * float((right.mean() * (1 - right.mean()) / len(right)).sqrt())
        margin = told.gather(1, own[:, None])[:, 0] - told.mean(1)
        print(
            f"{label.name}: {float(right.mean()):.1%} ± {error:.1%} right of {len(own)} clips, of "
            f"{told.shape[1]} values; its own is above their mean by {margin.median():.0f} nats"
        )
    figure.savefig(options.picture, dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main()
