"""How training went: log-likelihoods, and what else was measured, against the step."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.report.evaluate import Evaluation
from caudal.report.style import DATA, INK, QUIET, SAMPLES, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metrics = Sequence[Mapping[str, Any]]
BESIDE = {
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tails": "in the splines' tails (share)",
}


def has_curves(metrics: Metrics) -> bool:
    """Whether there is anything to draw a line through."""
    return len(_series(metrics, "valid")[0]) > 1


def draw_curves(metrics: Metrics, evaluation: Evaluation) -> "Figure":
    """Training and validation log-likelihood large; the other measurements small beside it."""
    beside = {key: label for key, label in BESIDE.items() if len(_series(metrics, key)[0]) > 1}
    figure = new_figure(WIDTH, 3.6)
    if not beside:
        _likelihoods(figure.subplots(), metrics, evaluation)
        return figure
    left, right = figure.subfigures(1, 2, width_ratios=(2.2, 1))
    _likelihoods(left.subplots(), metrics, evaluation)
    panels = right.subplots(len(beside), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (key, label) in zip(panels, beside.items(), strict=True):
        axes.plot(*_series(metrics, key), color=QUIET, linewidth=1)
        axes.set_title(label, loc="left")
        axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("step")
    return figure


def _likelihoods(axes: "Axes", metrics: Metrics, evaluation: Evaluation) -> None:
    train, valid = (_series(metrics, key) for key in ("train", "valid"))
    axes.plot(train[0], -train[1], color=DATA, alpha=0.35, linewidth=1, label="training batches")
    axes.plot(valid[0], -valid[1], color=SAMPLES, linewidth=1.6, label="validation")
    best = int(valid[1].argmin())
    axes.plot(valid[0][best], -valid[1][best], "o", color=SAMPLES, markersize=5)
    axes.annotate(
        f"best {-valid[1][best]:.3f}",
        (valid[0][best], -valid[1][best]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        color=INK,
        fontsize=8,
    )
    axes.axhline(
        evaluation.gaussian_log_prob,
        color=QUIET,
        linewidth=1,
        linestyle=(0, (4, 3)),
        label=f"one Gaussian, {evaluation.split} rows",
    )
    axes.set_ylim(*_frame(train[1], valid[1], evaluation.gaussian_log_prob))
    axes.set_xlabel("step")
    axes.set_ylabel("log-likelihood of a row (nats)")
    axes.legend(loc="lower right")


def _frame(train: np.ndarray, valid: np.ndarray, gaussian: float) -> tuple[float, float]:
    """The range without the first steps, which fall far below what follows."""
    settled = -np.concatenate([train[len(train) // 10 :], valid[len(valid) // 10 :]])
    low = min(float(np.quantile(settled, 0.01)), gaussian)
    high = max(float(settled.max()), gaussian)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _series(metrics: Metrics, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one measurement, where it was made."""
    pairs = [(m["step"], m[key]) for m in metrics if m.get(key) is not None]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(steps, float), np.array(values, float)
