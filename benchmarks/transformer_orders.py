"""Flows of any order beside those of flips: likelihood, and draws given columns or halves."""

import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import budget
import caudal
import tables
from caudal.bijections import AnyOrder
from caudal.conditioning import conditional_sample, sampling
from caudal.data import Column, TableSchema, hidden_pixels
from caudal.data.source import Rows
from caudal.losses import bits_per_dim
from caudal.recipes import Recipe
from transformer_tell import Row

SCORED, MIXED = 2000, 8
"""Test items, and the orders of which the mean density is scored."""
GIVEN_ROWS, GIVEN_DRAWS = 200, 32
"""Test rows half of whose columns are hidden, and how often these are drawn."""
SHOWN, COMPLETED, HIDDEN = 6, 7, 96
"""Digits of the picture, completions of each, and the shade of what is hidden."""


def table_task(data: str) -> budget.Task:
    """A table as `caudal train` takes it, from its copula on; scores are of standardised rows."""
    train, valid, test = map(Rows, tables.TABLES[data](budget.DATA_DIR))
    columns = (Column(f"c{i}", "real") for i in range(train.x.shape[1]))
    schema = TableSchema(tuple(columns))

    def build(recipe: Recipe) -> caudal.Flow:
        return caudal.assemble(recipe, schema)

    return budget.Task(train, Rows(valid.x[:20_000]), test, 256, build, lambda flow: {})


@torch.no_grad()
def scores(flow: caudal.Flow, x: Tensor) -> Row:
    """In the order of the data, in others on average, and of the mean density of all of these.

    Bits/dim of images, nats of rows; all with the same noise.
    """
    length = next((p.length for p in flow.modules() if isinstance(p, AnyOrder)), 0)
    torch.manual_seed(1)
    orders = [torch.randperm(length).tolist() for _ in range(MIXED - 1)] if length else []
    others = [flow.in_order(order) for order in orders]
    x, seeded = x[:SCORED].to(flow.base.like), torch.Generator().manual_seed
    each = [one.log_prob(x, None, seeded(0)).double() for one in (flow, *others)]
    two_se = 2 * float(each[0].std()) / len(each[0]) ** 0.5
    row: Row = {"score": float(each[0].mean()), "two_se": two_se}
    if others:
        row["others"] = float(torch.stack(each[1:]).mean())
        row["mixed"] = float((torch.stack(each).logsumexp(0) - np.log(MIXED)).mean())
    if x.ndim == 2:
        return row
    bits = {name: bits_per_dim(value, x[0].numel()) for name, value in row.items()}
    return bits | {"two_se": -bits["two_se"]}


@torch.no_grad()
def given(flow: caudal.Flow, test: Tensor, weighed: bool) -> Row:
    """Half of the columns of test rows drawn given the others: seconds a draw, and errors.

    The error of the mean is over hidden values, in deviations of their columns. The CRPS,
    E|X - x| - E|X - X'| / 2, is a score of the whole conditional, likewise.
    """
    torch.manual_seed(1)
    x = test[:GIVEN_ROWS]
    free = torch.rand(x.shape).argsort(1) < x.shape[1] // 2
    rows, mask = (each.repeat_interleave(GIVEN_DRAWS, 0) for each in (x, free))
    generator, start = torch.Generator().manual_seed(0), time.process_time()
    never = patch.object(sampling, "completes", lambda flow: False)
    with never if weighed else nullcontext():
        drawn, account = conditional_sample(flow, rows, mask, generator=generator)
    took = time.process_time() - start
    drawn = drawn.unflatten(0, (GIVEN_ROWS, GIVEN_DRAWS)).double()
    away = (drawn - x[:, None]) / test.double().std(0)
    first, second = drawn.chunk(2, 1)
    spread = ((first - second) / test.double().std(0)).abs().mean(1)
    return {
        "draw": took / len(rows),
        "rmse": float(away.mean(1)[free].square().mean().sqrt()),
        "crps": float((away.abs().mean(1) - spread / 2)[free].mean()),
        "ess": None if account.exact else account.ess,
    }


def draw_completions(path: Path, flow: caudal.Flow, images: Tensor) -> None:
    """Digits (N, 1, H, W), then with a half hidden, and completed: the lower halves, the upper."""
    sheets = []
    for number, mask in enumerate(("bottom", "top")):
        shown = images[number * SHOWN : (number + 1) * SHOWN].float()
        hidden = torch.from_numpy(hidden_pixels(mask, _schema(shown))).expand_as(shown)
        generator = torch.Generator().manual_seed(0)
        x, free = (each.repeat_interleave(COMPLETED, 0) for each in (shown, hidden))
        drawn, _ = conditional_sample(flow, x, free, generator=generator)
        columns = [shown, torch.where(hidden, float(HIDDEN), shown)]
        columns += drawn.unflatten(0, (SHOWN, COMPLETED)).unbind(1)
        sheets.append(torch.stack(columns, 1)[:, :, 0].numpy().astype(np.uint8))
    rows = [np.concatenate([*row], 1) for sheet in sheets for row in sheet]
    gap = np.full((8, rows[0].shape[1]), 255, np.uint8)
    sheet = np.concatenate([*rows[:SHOWN], gap, *rows[SHOWN:]])
    Image.fromarray(sheet.repeat(2, 0).repeat(2, 1)).save(path, optimize=True)


def _schema(images: Tensor) -> caudal.data.ImageSchema:
    channels, height, width = images.shape[1:]
    return caudal.data.ImageSchema((channels, height, width))
