"""The page and the picture of `equal_time.py`: a table a budget, and scores against seconds."""

import math
import statistics
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from environment import table, write
from equal_time import BASELINES, DATA, Cell

PEERS = ("zuko", "nflows", "normflows", "flowjax")
SHOWN = ("caudal", *PEERS)
TITLES = {"flowjax": "FlowJAX"}
COLOURS = {
    "caudal": "#d1495b",
    "zuko": "#33658a",
    "nflows": "#86bbd8",
    "normflows": "#758e4f",
    "flowjax": "#f6ae2d",
}
QUIET = "#8b949e"
USUAL = 60
"""The seconds after which all peers were run."""
BASELINE = "copula (images: Gaussian)"
Cells = dict[tuple[str, str, float, int], Cell]


class Score(NamedTuple):
    """Mean over the seeds, its standard error (NaN of one seed), and the seeds."""

    mean: float
    error: float
    seeds: int

    def __str__(self) -> str:
        if math.isnan(self.error):
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {2 * self.error:.3f}"


def score(cells: Cells, data: str, library: str, budget: float) -> Score | None:
    """Of the best flow of a library on these data after so many seconds, if any was run."""
    found = flow(cells, data, library, budget)
    if not found:
        return None
    scores = [cell.score for cell in found]
    error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else math.nan
    return Score(statistics.mean(scores), error, len(scores))


def flow(cells: Cells, data: str, library: str, budget: float) -> list[Cell]:
    """The seeds of the documented flow of a library that validates best."""
    flows: dict[str, list[Cell]] = {}
    for cell in cells.values():
        if (cell.data, cell.library.split(":")[0], cell.budget) == (data, library, budget):
            flows.setdefault(cell.library, []).append(cell)
    return max(flows.values(), key=_valid, default=[])


def _valid(seeds: list[Cell]) -> float:
    return statistics.mean(-math.inf if c.valid is None else c.valid for c in seeds)


def sign(unit: str) -> int:
    """1 where more is better, -1 for bits/dim."""
    return 1 if unit == "nats" else -1


class Row(NamedTuple):
    """One data set after one budget; `ahead` is ours less the best peer's, better if positive."""

    data: str
    unit: str
    scores: dict[str, Score]
    peer: str | None
    ahead: float
    error: float

    @property
    def verdict(self) -> str:
        if self.peer is None:
            return ""
        if math.isnan(self.error) and not math.isnan(self.ahead):
            return "first, of one seed" if self.ahead > 0 else "**not first, of one seed**"
        if math.isnan(self.ahead) or self.ahead < -2 * self.error:
            return "**behind**"
        return "ahead" if self.ahead > 2 * self.error else "equal"

    def cells(self) -> list[str]:
        best = max(self.scores, key=lambda name: self.rank(name))
        shown = {k: f"**{v}**" if k == best else str(v) for k, v in self.scores.items()}
        columns = [shown.get(name, "") for name in (*SHOWN, *BASELINES)]
        gap = "" if self.peer is None else f"{self.ahead:+.3f}"
        return [self.data, self.unit, *columns, gap, self.verdict]

    def rank(self, name: str) -> float:
        mean = self.scores[name].mean
        return -math.inf if math.isnan(mean) else sign(self.unit) * mean


def rows(cells: Cells, budget: float) -> Iterable[Row]:
    """The data sets that something was run on, in the order of `DATA`."""
    for data, source in DATA.items():
        found = {name: score(cells, data, name, budget) for name in SHOWN}
        found |= {name: score(cells, data, name, 0) for name in BASELINES}
        scores = {name: s for name, s in found.items() if s is not None}
        if not any(name in scores for name in SHOWN):
            continue
        row = Row(data, source.unit, scores, None, math.nan, math.nan)
        peers = [name for name in PEERS if name in scores]
        if peers and "caudal" in scores:
            peer = max(peers, key=row.rank)
            ours, theirs = scores["caudal"], scores[peer]
            ahead = sign(source.unit) * (ours.mean - theirs.mean)
            row = row._replace(peer=peer, ahead=ahead, error=math.hypot(ours.error, theirs.error))
        yield row


def page(cells: Cells) -> str:
    budgets = sorted({cell.budget for cell in cells.values()} - {0})
    found = {budget: list(rows(cells, budget)) for budget in budgets}
    head = ["data", "unit", *(TITLES.get(n, n) for n in (*SHOWN, *BASELINES))]
    head += ["ours - best peer", "verdict"]
    text = ["# Scores after equal seconds of one core", "", *_lost(found), "", *_facts(cells), ""]
    for budget, lines in found.items():
        text += [f"## {budget:g} seconds", "", *table(head, [row.cells() for row in lines]), ""]
    for budget in budgets[1:]:
        text += [*_sizes(cells, budget), ""]
    return "\n".join(text)


def _lost(found: dict[float, list[Row]]) -> list[str]:
    """What caudal loses, first."""
    lost = [
        f"- {row.data}, {budget:g} s: {TITLES.get(row.peer or '', row.peer)} by {-row.ahead:.3f} "
        f"{row.unit}"
        for budget, lines in found.items()
        for row in lines
        if row.verdict.startswith("**")
    ]
    below = [
        f"- {row.data}, {budget:g} s: {name} by {ours - theirs:.3f} {row.unit}"
        for budget, lines in found.items()
        for row in lines
        for name in BASELINES
        if name in row.scores
        and "caudal" in row.scores
        and (ours := row.rank(name)) > (theirs := row.rank("caudal"))
    ]
    judged = [row for lines in found.values() for row in lines if row.peer]
    won = sum(row.verdict == "ahead" for row in judged)
    first = sum(row.verdict == "first, of one seed" for row in judged)
    alone = {b: [r for r in lines if "one seed" in r.verdict] for b, lines in found.items()}
    single = sum(map(len, alone.values()))
    text = []
    if len(judged) > single:
        text.append(f"caudal is ahead of every peer in {won} of {len(judged) - single} cells.")
    if single:
        in_how_many = "all" if first == single else f"{first}"
        text.append(f"{single} cells have one seed, and no error: it is first in {in_how_many} of")
        text.append(f"them, beside {_beside(alone, found)}.")
    text.append("")
    text += ["It is behind a peer here:", "", *lost, ""] if lost else ["It is behind in none.", ""]
    if below:
        text += ["It is behind a classical baseline here:", "", *below, ""]
    return text[:-1]


def _beside(single: dict[float, list[Row]], found: dict[float, list[Row]]) -> str:
    """Which peers ran in cells of one seed: not all that the page has after less time."""
    usual = {row.data: row for row in found.get(USUAL, [])}
    for row in (row for lines in single.values() for row in lines):
        full = usual.get(row.data)
        peers = sorted((name for name in PEERS if full and name in full.scores), key=full.rank)
        if set(peers[-2:]) != {name for name in PEERS if name in row.scores}:
            return "the peers that the tables have there"
    return f"the two peers that lead after {USUAL:g} s (of images the only one)"


def _measured_alone(cells: Cells) -> list[str]:
    """The cells of caudal that were run again without the peers."""
    runs: dict[tuple[str, float, int], set[tuple[str, str]]] = {}
    for cell in cells.values():
        if cell.library.split(":")[0] in PEERS:
            runs.setdefault((cell.data, cell.budget, cell.seed), set()).add(
                (cell.commit, cell.date)
            )
    alone: dict[str, set[tuple[int, float]]] = {}
    for cell in cells.values():
        beside = runs.get((cell.data, cell.budget, cell.seed))
        if cell.library == "caudal" and beside and (cell.commit, cell.date) not in beside:
            alone.setdefault(cell.data, set()).add((cell.seed, cell.budget))
    if not alone:
        return []
    same: dict[str, list[str]] = {}
    for data, pairs in alone.items():
        after: dict[tuple[int, ...], list[str]] = {}  # budgets by their seeds
        for budget in sorted({budget for _, budget in pairs}):
            seeds = tuple(sorted(seed for seed, its in pairs if its == budget))
            after.setdefault(seeds, []).append(f"{budget:g}")
        which = " and ".join(
            f"after {' and '.join(budgets)} s (seed{'s' * (len(seeds) > 1)} "
            f"{', '.join(map(str, seeds))})"
            for seeds, budgets in after.items()
        )
        same.setdefault(which, []).append(data)
    named = "; ".join(f"{', '.join(data)} {which}" for which, data in same.items())
    text = (
        "Libraries ran at once on the same core, but for some cells of caudal that were run again "
        f"by later code without the peers: {named}. The seconds are the processor's own there "
        "too, but what else the machine did befell caudal alone."
    )
    return ["", *textwrap.wrap(text, 92)]


def _facts(cells: Cells) -> list[str]:
    def all_of(name: str) -> str:
        return "; ".join(sorted({getattr(cell, name) for cell in cells.values()}))

    dates = sorted(cell.date for cell in cells.values())
    packages = {part for cell in cells.values() for part in cell.versions.split(", ")}
    return [
        "- command: `python benchmarks/equal_time.py`, then `--tell`; its head says what is "
        "counted, its workers cite the page of each peer's settings",
        f"- commits: {all_of('commit')}",
        f"- dates: {dates[0]} to {dates[-1]}",
        f"- machine: {all_of('machine')}; one core, CPU seconds of the process",
        f"- libraries: {', '.join(sorted(packages - {'caudal of this commit'}))}",
        "",
        "Mean over the seeds ± 2 standard errors over the seeds; the best of each row is bold.",
        "*Behind* and *ahead*: of the best peer, beyond 2 standard errors of the difference. More",
        "nats are better, and fewer bits/dim. Nats are of standardised columns. All score the",
        "same test values with the same noise. caudal's time includes its validation, and the",
        "peers' does not; a peer's step that has begun is finished. Of a library's documented",
        "flows that ran each cell has the one that validates best. What JAX compiles took most of",
        "the ten seconds on the first machine (one step) and a part of them on the second.",
        *_measured_alone(cells),
    ]


def _sizes(cells: Cells, budget: float) -> list[str]:
    """The flow, its parameters and its steps after so many seconds."""
    lines = []
    for data in DATA:
        runs = [flow(cells, data, name, budget) for name in SHOWN]
        if any(runs):
            lines.append([data, *(_size(run[0]) if run else "" for run in runs)])
    head = ["data", *(TITLES.get(name, name) for name in SHOWN)]
    return [f"## Parameters and steps in {budget:g} seconds", "", *table(head, lines)]


def _size(cell: Cell) -> str:
    name = cell.library.partition(":")[2]
    return f"{name + ' ' if name else ''}{cell.parameters:,} / {cell.steps:,}"


def draw(cells: Cells, path: Path) -> None:
    """Small multiples, a data set each; up is better in all of them."""
    import matplotlib.pyplot as plt

    names = [data for data in DATA if any(c.data == data and c.budget for c in cells.values())]
    across = min(4, len(names))
    down = -(-len(names) // across)
    size = {"figsize": (2.4 * across, 1.9 * down + 0.5), "squeeze": False}
    figure, axes = plt.subplots(down, across, **size)
    for axis, name in zip(axes.flat, names, strict=False):
        _panel(axis, cells, name)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set_xlabel("seconds of one core", fontsize=8)
    handles = {}
    for axis in axes.flat:
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    names = sorted(handles, key=[*(TITLES.get(n, n) for n in SHOWN), BASELINE].index)
    lines = [handles[name] for name in names]
    figure.legend(lines, names, ncol=6, loc="upper center", frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _panel(axis: Any, cells: Cells, data: str) -> None:
    unit = DATA[data].unit
    budgets = sorted({c.budget for c in cells.values() if c.data == data and c.budget})
    seen = []
    for name in SHOWN[::-1]:  # caudal on top
        points = [(b, s) for b in budgets if (s := score(cells, data, name, b))]
        points = [(b, s) for b, s in points if math.isfinite(s.mean)]
        if not points:
            continue
        x, y = [b for b, _ in points], [s.mean for _, s in points]
        bars = [0.0 if math.isnan(s.error) else 2 * s.error for _, s in points]
        style = {"color": COLOURS[name], "lw": 2.0 if name == "caudal" else 1.2, "ms": 3}
        axis.errorbar(x, y, bars, marker="o", label=TITLES.get(name, name), **style)
        seen += y
    base = score(cells, data, "copula", 0) or score(cells, data, "Gaussian", 0)
    if base:
        axis.axhline(base.mean, color=QUIET, lw=0.8, ls="--", label=BASELINE)
        seen.append(base.mean)
    axis.set(xscale="log", xticks=budgets, xticklabels=[f"{b:g}" for b in budgets])
    axis.minorticks_off()
    axis.set_ylim(*_limits(seen, sign(unit)))
    axis.set_title(f"{data}, {unit}", fontsize=8, loc="left")
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _limits(values: list[float], up: int) -> tuple[float, float]:
    """From bottom to top: the best half of the values fills most of it, the worst may leave it."""
    ordered = sorted((up * v for v in values), reverse=True)
    top, middle = ordered[0], ordered[len(ordered) // 2]
    low = max(ordered[-1], top - 4 * max(top - middle, 1e-3))
    margin = 0.06 * (top - low) or 1e-3
    return up * (low - margin), up * (top + margin)


def tell(cells: Cells, path: Path, picture: Path) -> None:
    """Writes the page, and the picture that it shows."""
    if not any(cell.budget for cell in cells.values()):
        raise SystemExit(f"no cells yet in {path.with_suffix('.jsonl')}: run them first")
    write(path, page(cells))
    draw(cells, picture)
