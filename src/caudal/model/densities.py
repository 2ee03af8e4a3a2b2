"""The log-densities of the user's items, piece by piece, as means over the same noise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from caudal.data import Items, Piece
from caudal.fields import check_value
from caudal.flow import DRAWS
from caudal.report import log_prob_items
from caudal.training.options import Count
from caudal.training.together import in_turns

if TYPE_CHECKING:
    from caudal.model.model import Model

COLUMN, ERROR = "log_prob", "log_prob_se"
Scored = tuple[Piece, np.ndarray, np.ndarray]
"""A piece of the data, and the log-density of each of its items with its standard error (N,)."""


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
        return scores

    pieces = model.voice.track(items.pieces(), "scoring", items.total)
    for piece, scores in in_turns(pieces, score):
        yield piece, scores[0], scores[1]
