"""How training went: losses, and what else was measured, against the step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.report.page import Drawn, Story
from caudal.report.style import DATA, INK, QUIET, SAMPLES, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIGHT: Any = ("axes fraction", "data")
_ABOVE: Any = {"xytext": (0, 5), "textcoords": "offset points", "ha": "right"}
_BELOW: Any = {**_ABOVE, "xytext": (0, -7), "va": "top"}
_TRAINING: Any = {"color": DATA, "alpha": 0.4, "linewidth": 1, "label": "training batches"}
_VALIDATION: Any = {"color": SAMPLES, "linewidth": 1.6, "label": "validation"}
_PAPER: Any = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0}
Metrics = Sequence[Mapping[str, Any]]
BESIDE = {
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tails": "in the splines' tails (share)",
}
TERMS = {
    "train_kl": "KL (nats/sample)",
    "train_spectral": "spectral distance",
    "lr": "learning rate",
}
"""What stands beside a loss of several terms, which matter more than the gradient's norm."""


def curves(
    story: Story, losses: str, what: str, scale: float, baseline: str = "one Gaussian"
) -> Iterator[Drawn]:
    """The picture of training, if there is anything to draw a line through.

    Args:
        story: of the run.
        losses: what the losses are, at the beginning of a sentence.
        what: the name of the axis.
        scale: multiplies the losses.
        baseline: the name of its line.
    """
    if len(_series(story.metrics, "valid")[0]) < 2:
        return
    e, student = story.evaluation, story.distilled is not None
    value = None if e is None or student else e.baseline
    caption = (
        f"{losses} as training went on, {'higher' if scale < 0 else 'lower'} is better; the "
        f"weights with the best validation value were kept. The first steps may lie outside the "
        f"frame."
    )
    yield "curves", "Training", caption, draw_curves(story.metrics, value, what, scale, baseline)


def draw_curves(
    metrics: Metrics,
    gaussian: float | None,
    what: str = "log-likelihood of a row (nats)",
    scale: float = -1.0,
    baseline: str = "one Gaussian",
) -> "Figure":
    """Training and validation losses large; the other measurements small beside them.

    What is drawn is `scale` times the losses, and `what` names it: by default log-likelihoods, of
    which more is better. `gaussian` is the value of the baseline, for a line with its name.
    """
    several = any("train_kl" in record for record in metrics)
    named = (TERMS if several else BESIDE).items()
    beside = {key: label for key, label in named if len(_series(metrics, key)[0]) > 1}
    figure = new_figure(WIDTH, 3.6)
    if not beside:
        _losses(figure.subplots(), metrics, (baseline, gaussian), what, scale)
        return figure
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.2, 1), wspace=0.03)
    _losses(parts[0].subplots(), metrics, (baseline, gaussian), what, scale)
    panels = parts[1].subplots(len(beside), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (key, label) in zip(panels, beside.items(), strict=True):
        axes.plot(*_series(metrics, key), color=DATA, linewidth=1.2)
        axes.set_title(label, loc="left")
        values = _series(metrics, key)[1]
        top = float(values.max())
        if key.startswith("train"):  # its first steps are far worse than what follows
            top = float(np.quantile(values[len(values) // 5 :], 0.98))
        axes.set_ylim(0, 1.1 * top or 1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.locator_params(axis="y", nbins=3)
    panels[-1].set_xlabel("step")
    return figure


def _losses(
    axes: "Axes",
    metrics: Metrics,
    baseline: tuple[str, float | None],
    what: str,
    scale: float,
) -> None:
    # On the line of a validation the training loss is a mean since the last one, not a point.
    points = [m for m in metrics if "valid" not in m]
    train, valid = _series(points or metrics, "train"), _series(metrics, "valid")
    for (steps, losses), look in ((train, _TRAINING), (valid, _VALIDATION)):
        axes.plot(steps, scale * losses, **look)
    _mark_best(axes, *valid, scale)
    low, high = sorted(scale * end for end in _frame(train[1], valid[1]))
    name, value = baseline
    if value is not None:
        low, high = _draw_baseline(axes, name, value, low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel("step")
    axes.set_ylabel(what)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)


def _mark_best(axes: "Axes", steps: np.ndarray, losses: np.ndarray, scale: float) -> None:
    best = int(losses.argmin())
    point = (float(steps[best]), scale * float(losses[best]))
    axes.plot(*point, "o", color=SAMPLES, markersize=5)
    # The training curve is usually better than this point, so the words go to the other side.
    words = f"best {point[1]:.3f}".replace("-", "−")
    side = _BELOW if scale < 0 else _ABOVE
    axes.annotate(words, point, **side, color=INK, fontsize=8, bbox=_PAPER)


def _draw_baseline(
    axes: "Axes", name: str, value: float, low: float, high: float
) -> tuple[float, float]:
    """Draws a line for the baseline, and returns the ends of a frame that holds it.

    A line far away would flatten the curves: it is not drawn but named at that end of the frame.
    """
    words = f"{name} {value:,.2f}".replace("-", "−")
    near, at, side = 1.5 * (high - low), value, _ABOVE
    if value < low - near:
        words, at = f"{words}, below the frame", low
    elif value > high + near:
        words, at, side = f"{words}, above the frame", high, _BELOW
    else:
        low = min(low, value - 0.1 * (high - value))
        high = max(high, value + 0.15 * (value - low))
        axes.axhline(value, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(words, (1.0, at), xycoords=_RIGHT, **side, color=QUIET, fontsize=8)
    return low, high


def _frame(train: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """The range of losses; the first steps, far worse than what follows, are left out."""
    settled = np.concatenate([train[len(train) // 5 :], valid[len(valid) // 5 :]])
    low, high = float(settled.min()), float(np.quantile(settled, 0.98))
    margin = 0.12 * (high - low) or 1.0
    return low - margin, high + margin


def _series(metrics: Metrics, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps at which something was measured, and its values."""
    pairs = [(m["step"], m[key]) for m in metrics if m.get(key) is not None]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(steps, float), np.array(values, float)
