"""Log-densities of the user's items, as means over several draws of the noise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.data import Items, Piece, as_container
from caudal.fields import check_value
from caudal.flow import DRAWS
from caudal.report import log_prob_items
from caudal.training.options import Count
from caudal.training.seeds import check_seed
from caudal.training.threads import uncrowded
from caudal.training.together import in_turns

if TYPE_CHECKING:
    from caudal.model.model import Model

COLUMN, ERROR = "log_prob", "log_prob_se"
Scored = tuple[Piece, np.ndarray, np.ndarray]
"""A piece of the data, and the log-density of each of its items with its standard error (N,)."""


@uncrowded()
def log_prob(
    model: "Model", data: Any, *, seed: int = 0, draws: int | None = None, **reading: Any
) -> Any:
    """The log-density of each row, image or clip of `data`, in nats: a Series or an array.

    `kind` of the flow says whether it is exact, a lower bound or an estimate. A row outside
    of the support has -inf; one with a missing value that the run left out has NaN. The noise
    that fills steps and gaps belongs to the values of a row and the seed, so that a score does
    not depend on the other rows, and equal rows have equal scores.

    Args:
        data: a path, a DataFrame, an array, images or clips, as the model was trained on.
        seed: of the noise that fills steps and gaps, and of estimates.
        draws: how many draws of that noise a score is the mean of; if None, as many as the kind of
            data needs: 32 for rows of a table, 4 for images, 1 for clips.
        reading: options of how such data are read, as of `caudal score`.

    Raises:
        InputError: the data do not fit the model.
        NumericalError: a log-density is not a number.
    """
    check_seed(seed)
    draws = draws_of(model, draws)
    parts = scored(model, model.open_all(data, reading), seed, draws)
    values = np.concatenate([log_prob for _, log_prob, _ in parts])
    return as_container(values, COLUMN, data)


def draws_of(model: "Model", draws: int | None = None) -> int:
    """How many draws a score is the mean of: one where nothing is drawn."""
    check_value("draws", draws, Count | None)
    if not model.flow.noisy:
        return 1
    usual = DRAWS if model.flow.dequantization is None else model.kind.draws
    return draws or usual


def scored(model: "Model", items: Items, seed: int, draws: int) -> Iterator[Scored]:
    """The items piece by piece, with the log-density of each and its standard error."""

    def score(piece: Piece) -> np.ndarray:
        scores = np.full((2, piece.beside.num_rows), np.nan)
        keep = slice(None) if piece.keep is None else piece.keep
        pair = log_prob_items(model.flow, piece.batch, seed, draws)
        scores[:, keep] = [part.cpu().numpy() for part in pair]
        if piece.impossible is not None:
            scores[:, piece.impossible & ~np.isnan(scores[0])] = [[-np.inf], [0.0]]
        return scores

    pieces = model.voice.track(items.pieces(), "scoring", items.total)
    for piece, scores in in_turns(pieces, score):
        yield piece, scores[0], scores[1]
