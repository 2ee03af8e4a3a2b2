"""Pictures of predictions of one column: beside the truth, their calibration, and single rows."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from caudal.flow import Flow
from caudal.report.page import Drawn
from caudal.report.style import DATA, INK, QUIET, SAMPLES, WIDTH, grid, new_figure, shorten
from caudal.report.table.comparison import edges, level_names, limits, name_ticks
from caudal.report.table.predictions import CategoryPredictions, Judged, Predictions
from caudal.univariate import below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 400  # rows beside the band
EXAMPLES = 8
CLASSES = 12  # in the picture of a matrix
COLOURS = (SAMPLES, QUIET, "#5f9e6e", DATA)  # the flow's, and those of the models beside it

BAND = (
    "Rows in the order of the predicted median (line), with the interval of 90 % (band) and the "
    "true values (dots)."
)
CALIBRATION = (
    "Left, the share of true values below the predicted quantile of each level: on the diagonal "
    "it is as promised. Right, how far it is off; within the grey band by chance (2 s.e.)."
)
EXAMPLE = (
    "What the flow expects in single rows, from low to high predicted medians, and the true value "
    "(line)."
)
RELIABILITY = "Accuracy of the likeliest class by its probability: on the diagonal it is as said."
MATRIX = "The mean probability of each class (across) in rows of each true class (down)."
CLASS_EXAMPLE = "The probabilities of single rows, from the surest to the least sure; * is true."


def draw_predictions(flow: Flow, predictions: Predictions) -> Iterator[Drawn]:
    """The pictures of the page."""
    name = predictions.column.name
    if isinstance(predictions, CategoryPredictions):
        drawn = draw_reliability(predictions.judged)
        yield "calibration", f"Calibration of '{name}'", RELIABILITY, drawn
        yield "classes", f"Predictions of '{name}'", MATRIX, draw_matrix(predictions)
        yield "examples", f"'{name}' in single rows", CLASS_EXAMPLE, draw_classes(predictions)
        return
    yield "predictions", f"Predictions of '{name}'", BAND, draw_bands(predictions)
    drawn = draw_calibration(predictions.judged, len(predictions.truth))
    yield "calibration", f"Calibration of '{name}'", CALIBRATION, drawn
    yield "examples", f"'{name}' in single rows", EXAMPLE, draw_examples(flow, predictions)


# --- numbers -------------------------------------------------------------------------------------


def draw_bands(predictions: Predictions) -> "Figure":
    """Medians, intervals and true values: of the flow, and of the best model beside it."""
    beside = sorted(predictions.judged[1:], key=lambda j: float(j.losses.mean()))
    shown = [predictions.judged[0], *beside[:1]]
    figure = new_figure(WIDTH, 3.4)
    panels = np.atleast_1d(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0])
    chosen = np.linspace(0, len(predictions.truth) - 1, POINTS).round().astype(int)
    chosen = np.unique(chosen)
    bands = np.concatenate([j.shown[chosen] for j in shown] + [predictions.truth[chosen, None]], 1)
    low, high = limits(bands.flatten())
    for axes, judged, colour in zip(panels, shown, (SAMPLES, DATA), strict=False):
        order = chosen[np.argsort(judged.shown[chosen, 1], kind="stable")]
        place, band = np.arange(len(order)), judged.shown[order]
        axes.fill_between(place, band[:, 0], band[:, 2], color=colour, alpha=0.25, linewidth=0)
        axes.plot(place, band[:, 1], color=colour, linewidth=1.2)
        axes.scatter(place, predictions.truth[order], s=5, color=INK, linewidths=0, alpha=0.6)
        axes.set_title(judged.name, loc="left", color=colour)
        axes.set_xticks([])
        axes.set_xlabel("rows, by predicted median")
        axes.set_ylim(low, high)
    panels[0].set_ylabel(shorten(predictions.column.name, 30))
    name_ticks(panels[0].yaxis, predictions.column)
    return figure


def draw_calibration(judged: Sequence[Judged], rows: int) -> "Figure":
    """Observed shares below each level, and their distance from it."""
    figure = new_figure(WIDTH, 3.4)
    left, right = figure.subplots(1, 2)
    levels = judged[0].curve.predicted
    chance = 2 * np.sqrt(levels * (1 - levels) / rows)
    left.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle="--")
    right.fill_between(levels, -chance, chance, color=QUIET, alpha=0.25, linewidth=0)
    right.axhline(0, color=QUIET, linewidth=0.8)
    for j, colour in zip(judged, COLOURS, strict=False):
        left.plot(levels, j.curve.observed, color=colour, label=j.name)
        right.plot(levels, j.curve.observed - levels, color=colour)
    left.set_ylabel("share of true values below")
    right.set_ylabel("share minus level")
    for axes in (left, right):
        axes.set_xlabel("level of the quantile")
    left.legend(loc="upper left")
    return figure


def draw_examples(flow: Flow, predictions: Predictions) -> "Figure":
    """The density of the column in a few rows, from its distribution function."""
    column, truth = predictions.column, predictions.truth
    order = np.argsort(predictions.judged[0].shown[:, 1], kind="stable")
    rows = order[(np.linspace(0.03, 0.97, EXAMPLES) * (len(order) - 1)).astype(int)]
    bins = edges(column, truth)
    context = predictions.rows.context
    assert context is not None
    contexts = context[torch.from_numpy(rows.copy())].to(flow.base.like)
    cuts = _lifted(flow, torch.from_numpy(bins).to(flow.base.like), column.step or 0.0)
    shares = below(flow, cuts.expand(len(rows), -1), contexts).diff().cpu().numpy()
    figure, panels = grid(len(rows), across=4)
    for axes, row, share in zip(panels, rows, shares, strict=True):
        axes.stairs(share / np.diff(bins), bins, fill=True, color=SAMPLES, alpha=0.45)
        axes.stairs(share / np.diff(bins), bins, color=SAMPLES)
        axes.axvline(truth[row], color=INK, linewidth=1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=2 if column.unit else 4)
        name_ticks(axes.xaxis, column)
    return figure


def _lifted(flow: Flow, edge: Tensor, step: float) -> Tensor:
    """Edges of bins in the line that the flow models, in which values in steps fill their step."""
    atoms = getattr(flow.dequantization, "atoms", None)
    opened = edge if atoms is None else atoms.open(edge[:, None])[0][:, 0]
    return opened + step / 2


# --- categories ----------------------------------------------------------------------------------


def draw_reliability(judged: Sequence[Judged]) -> "Figure":
    """Accuracy by confidence, of all models."""
    figure = new_figure(WIDTH / 2, 3.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle="--")
    for j, colour in zip(judged, COLOURS, strict=False):
        axes.plot(*j.curve, color=colour, marker="o", markersize=3.5, label=j.name)
    axes.set_xlabel("probability of the likeliest class")
    axes.set_ylabel("share that is right")
    axes.legend(loc="upper left")
    return figure


def draw_matrix(predictions: Predictions) -> "Figure":
    """Mean probabilities by true class, of the classes there are most of."""
    names, truth = level_names(predictions.column), predictions.truth.astype(int)
    counts = np.bincount(truth[truth >= 0], minlength=len(names))
    shown = np.sort(np.argsort(-counts, kind="stable")[:CLASSES])
    shown = shown[counts[shown] > 0]
    shares = predictions.judged[0].shown
    means = np.stack([shares[truth == code].mean(0)[shown] for code in shown])
    figure = new_figure(0.55 * len(shown) + 2.6, 0.42 * len(shown) + 1.4)
    axes = figure.subplots()
    axes.imshow(means, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
    for (down, across), mean in np.ndenumerate(means):
        colour = "white" if mean > 0.6 else INK
        axes.text(across, down, f"{mean:.2f}", ha="center", va="center", color=colour, fontsize=8)
    labels = [shorten(names[code], 14) for code in shown]
    turned = 45 if max(map(len, labels)) > 5 else 0
    ha = "right" if turned else "center"
    axes.set_xticks(range(len(shown)), labels, rotation=turned, ha=ha)
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xlabel("class: its mean probability")
    axes.set_ylabel("rows whose true class is")
    return figure


def draw_classes(predictions: Predictions) -> "Figure":
    """Bars of the probabilities of a few rows, of the flow and of the best model beside it."""
    beside = sorted(predictions.judged[1:], key=lambda j: float(j.losses.mean()))
    models = [predictions.judged[0], *beside[:1]]
    names, first = level_names(predictions.column), predictions.judged[0].shown
    order = np.argsort(-first.max(1), kind="stable")
    rows = order[(np.linspace(0.03, 0.97, EXAMPLES) * (len(order) - 1)).astype(int)]
    figure, panels = grid(len(rows), across=4, height=1.7)
    for axes, row in zip(panels, rows, strict=True):
        shown = np.argsort(-first[row], kind="stable")[:4]
        for i, (model, colour) in enumerate(zip(models, (SAMPLES, DATA), strict=False)):
            place = np.arange(len(shown)) + 0.36 * (i - 0.5 * (len(models) - 1))
            axes.barh(place, model.shown[row][shown], 0.34, color=colour, label=model.name)
        true = int(predictions.truth[row])
        labels = [shorten(names[c], 12) + (" *" if c == true else "") for c in shown]
        axes.set_yticks(range(len(shown)), labels)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure
