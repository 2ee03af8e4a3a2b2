"""The numbers of an evaluation, and how they are rendered."""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from caudal.data.schema import NATS, Unit
from caudal.report.copying import Copying
from caudal.report.numbers import a, aligned, number, plain, plus_minus
from caudal.report.recognition import Recognition
from caudal.report.sentences import estimate_sentence, noise_sentence, upper_bound
from caudal.training.progress import duration

if TYPE_CHECKING:
    from caudal.report.table.scoreboard import Scoreboard

OUTSIDE = (
    "outside the support of the data, where the density is 0, or too far from the data for the "
    "flow's precision"
)

_WORDS = ("one", "many", "baseline_name", "beginning_name", "beginning_short", "beginning_key")


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How well a flow explains items, in the unit of their kind of data.

    Scores are log-likelihoods in nats, of which more is better, or code lengths in bits, of which
    fewer is better (`unit`). A score in bits is the total over all items divided by the number of
    their elements, so that a long clip counts for more than a short one; its error is over items,
    whose elements depend on each other.

    An item scores -inf outside the support, where the density is 0, and where it is so far from
    the data that the flow's floating point cannot hold its log-density. Then the mean over all
    items is infinite; `score_inside` and what follows from it are of the other items, which are
    called inside.

    In JSON the names of scores have the unit's key in them (see `to_dict`).

    Attributes:
        score: over all items.
        score_inside: over the items inside, NaN if there are none.
        two_se: two standard errors of it; NaN if fewer than two items are inside.
        unit: of the scores.
        kind: whether the score is exact, a lower bound or an estimate (`Flow.kind`), and by which
            noise the steps between pixel values were filled.
        rows: how many items there were.
        rows_outside: how many of them score -inf.
        effective_rows: where rows have weights, by which all means are taken: how many rows of
            equal weights tell a mean as well (Kish). Rows of weight 0 are none.
        split: which part they were: train, valid, test; None for other data.
        data: the name of other data than the run's own.
        seed: of the noise that fills steps and gaps, and of estimates.
        draws: of that noise for each item; scores are of the mean log-probability over them.
        log_prob: mean log-probability of an item in nats.
        log_prob_two_se: two standard errors of its mean over the items inside.
        one, many: what an item and items are called.
        baseline_name: what the baseline is called.
        note: what the baseline is, in words.
        elements: of an item, where the unit divides by them and all items have as many.
        bits_per_column: of a table whose columns are all integers with two known ends.
        noise_std: for a dequantised flow, standard deviation of one item's score over draws of the
            noise and, if there is one, of the estimate (4 redraws of up to 256 items, whose
            variances are averaged).
        noise_two_se: two standard errors that this causes in the mean; two_se includes them.
        estimate_std: for an estimated flow, the part of it that is the estimate's: over redraws of
            the estimate at the same noise.
        estimate_two_se: two standard errors that this causes in the mean.
        bias_bound: for a biased estimate, how far the mean over such draws is off at most.
        importance: with several draws, the score by the log of their mean probability, a tighter
            bound by importance sampling; not to be compared with other scores. None for an
            estimated flow: the exponential of an unbiased estimate is too high.
        discretized: for sound, the score with the mass of each step taken whole instead of by
            noise; None where the flow has no such mass.
        discretized_two_se: two standard errors of it.
        uniform: for sound, the score if every whole number were equally likely.
        baseline: all items under the baseline.
        baseline_inside: the items inside under the baseline, for rows of a table.
        gain: by how much the flow is better than the baseline, over the items inside.
        gain_two_se: two standard errors of it, from the items' own differences.
        beginning: the items inside under the second baseline, with which flows of such data begin:
            of a table the Gaussian copula, of sound a linear prediction by its spectrum.
        beginning_gain: by how much the flow is better than that.
        beginning_gain_two_se: two standard errors of it.
        beginning_note: what it is, in words.
        beginning_name: what it is called.
        beginning_short: the same, where it is known which one is meant.
        beginning_key: of its scores in JSON.
        bits: of a pixel or a sample; scores of 8 bits are not comparable with scores of fewer.
        rate: for sound, samples a second.
        samples: for sound, samples of all clips.
        duration: for sound, seconds of all clips.
        nats_per_sample: for sound, log-mass of a sample: -score ln 2.
        target: for a table, how well its one column is predicted given the others, a
            `caudal.report.table.predictions.Predictions`.
        density_nats_per_sample: for sound, log-density of a sample in units of amplitude, from -1
            to 1 in steps of 2^(1 - bits): nats_per_sample + (bits - 1) ln 2.
        scoreboard: for a table, how samples of the flow compare with test rows; None where that
            was not asked for, or where there are fewer than 50 test rows.
        copies: for sound that is given its spectrum, how like the clips the flow's copies are.
        recognitions: for images and sound that are given labels, how often the likelihood given
            each value of a label picks the right one.
    """

    score: float
    score_inside: float
    two_se: float
    unit: Unit = NATS
    kind: str = "exact"
    rows: int = 0
    rows_outside: int = 0
    effective_rows: float | None = None
    split: str | None = "test"
    data: str | None = None
    seed: int = 0
    draws: int = 1
    log_prob: float = math.nan
    log_prob_two_se: float = math.nan
    one: str = "row"
    many: str = "rows"
    baseline_name: str = "Gaussian"
    note: str = ""
    elements: int | None = None
    bits_per_column: float | None = None
    noise_std: float | None = None
    noise_two_se: float | None = None
    estimate_std: float | None = None
    estimate_two_se: float | None = None
    bias_bound: float | None = None
    importance: float | None = None
    discretized: float | None = None
    discretized_two_se: float | None = None
    uniform: float | None = None
    baseline: float | None = None
    baseline_inside: float | None = None
    gain: float | None = None
    gain_two_se: float | None = None
    beginning: float | None = None
    beginning_gain: float | None = None
    beginning_gain_two_se: float | None = None
    beginning_note: str | None = None
    beginning_name: str = ""
    beginning_short: str = ""
    beginning_key: str = ""
    bits: int | None = None
    rate: int | None = None
    samples: int | None = None
    duration: float | None = None
    nats_per_sample: float | None = None
    density_nats_per_sample: float | None = None
    target: Any = None
    scoreboard: "Scoreboard | None" = None
    copies: Copying | None = None
    recognitions: tuple[Recognition, ...] = ()

    def __str__(self) -> str:
        """The table of scores, its title above and what the numbers are below; then the rest."""
        head, lines, _ = self.table()
        text = [self.title, *aligned([head, *lines])]
        if self.copies is not None:
            copies = self.copies.table()
            text += ["", copies.title, *aligned([copies.head, *copies.rows])]
        text += self.sentences()
        for beside in (self.target, self.scoreboard):
            if beside is not None:
                table = beside.table()
                text += ["", table.title, *aligned([table.head, *table.rows])]
                text += beside.sentences()
        return "\n".join(text)

    def __repr__(self) -> str:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        known = ", ".join(f"{name}={value!r}" for name, value in values if value is not None)
        return f"Evaluation({known})"

    def to_dict(self) -> dict[str, Any]:
        """The content of eval.json; JSON knows neither infinity nor NaN, so both are null."""
        key = self.unit.key
        names = {
            "score": key,
            "score_inside": f"{key}_inside",
            "importance": f"{key}_importance",
            "discretized": f"discretized_{key}",
            "uniform": f"uniform_{key}",
            "baseline": f"gaussian_{key}",
            "baseline_inside": f"gaussian_{key}_inside",
            "bits_per_column": "bits_per_dim",
            "note": "gaussian",
            "beginning": f"{self.beginning_key}_{key}",
            "beginning_gain": f"{self.beginning_key}_gain",
            "beginning_gain_two_se": f"{self.beginning_key}_gain_two_se",
            "beginning_note": self.beginning_key,
        }
        apart = {"target": self.target, "scoreboard": self.scoreboard, "copies": self.copies}
        kept = [f.name for f in fields(self) if f.name not in (*_WORDS, *apart, "recognitions")]
        values = {name: getattr(self, name) for name in kept} | {"unit": self.unit.name}
        content = {names.get(k, k): plain(v) for k, v in values.items() if v is not None}
        if self.recognitions:
            content["recognitions"] = [each.to_dict() for each in self.recognitions]
        return content | {k: v.to_dict() for k, v in apart.items() if v is not None}

    @property
    def title(self) -> str:
        """What the table shows."""
        what = self.unit.name if self.unit.bits else "log-likelihood"
        items = self.one if self.rows == 1 else self.many
        of = f"{self.rows:,} {self.data or self.split} {items}"
        if self.effective_rows is not None:
            of += f", weighted (as {self.effective_rows:,.0f} of equal weights)"
        return f"{what} of {of}, mean ± 2 s.e."

    def table(self) -> tuple[list[str], list[list[str]], str]:
        """Head, rows and looks ("n" for a column of numbers) of a table of all scores."""
        unit = self.unit.name if self.unit.bits else f"{self.unit.name} {a(self.one)}"
        return ["", unit, ""], [row for row in self._lines() if row[1]], " n "

    def _lines(self) -> list[list[str]]:
        """Name, value and meaning of each score; the value is empty where there is none."""
        # The name of an estimate is long enough for a line.
        whole = self.unit.bits and self.estimate_std is None
        kind = self.kind + (" of the likelihood" if whole else "")
        name, some, among = self.baseline_name, self.rows_outside < self.rows, ""
        lines = [["flow", self._text(self.score, self.two_se), kind]]
        if some and self.rows_outside:
            among = f", {self.rows - self.rows_outside:,} finite {self.many}"
            inside = self._text(self.score_inside, self.two_se)
            lines.append([f"flow{among}", inside, kind])
        drawn = f"a tighter bound, by importance weights of {self.draws} draws"
        whole_mass = self._text(self.discretized, self.discretized_two_se)
        lines += [
            ["flow, weighted", self._text(self.importance), drawn],
            ["flow, discretised", whole_mass, "no noise"],
            [name, self._text(self.baseline), ""],
        ]
        if among:
            lines.append([f"{name}{among}", self._text(self.baseline_inside), ""])
        lines.append(["uniform", self._text(self.uniform), ""])
        side = "below" if self.unit.bits else "above"
        gain = self._text(self.gain, self.gain_two_se) if some else ""
        begun = self._text(self.beginning_gain, self.beginning_gain_two_se)
        return [
            *lines,
            [f"{self.beginning_name}{among}", self._text(self.beginning), ""],
            [f"flow {side} {name}{among}", gain, ""],
            [f"flow {side} {self.beginning_short}{among}", begun, ""],
        ]

    def _text(self, value: float | None, two_se: float | None = None) -> str:
        return plus_minus(value, two_se, self.unit.digits)

    def sentences(self) -> list[str]:
        """What the numbers are, what limits them, and what the baseline is."""
        bits, words = self.bits_per_column, []
        if bits is not None and math.isfinite(bits):
            words.append(f"{number(bits, 4)} bits per column ({upper_bound(self.kind)}).")
        if self.discretized is not None:
            words.append(
                "Discretised: the mass of each step is taken whole, by the distribution "
                "function, without noise."
            )
        lines = [self._meaning(), noise_sentence(self), *words, estimate_sentence(self)]
        lines += [self.outside, f"The {self.baseline_name}: {self.note}."]
        if self.beginning_note:
            lines.append(f"{self.beginning_short.capitalize()}: {self.beginning_note}.")
        lines += [each.sentence(self.many) for each in self.recognitions]
        if self.copies is not None:
            lines += [f"{line[0].upper()}{line[1:]}" for line in self.copies.sentences()]
        return [line for line in lines if line]

    def _meaning(self) -> str:
        """What the score is, and what it can be compared with."""
        if not self.unit.bits:
            return (
                f"Log-likelihoods are means in nats {a(self.one)}, in the units of the data, ± "
                f"two standard errors; more is better."
            )
        if self.rate is None or self.duration is None:
            elements = f"{self.elements:,} elements; the mean over {self.many}"
            divided, density = f"{a(self.one)}, divided by its {elements}", ""
            alike = f"{self.bits}-bit pixels and the same kind of dequantisation"
        else:
            total = f"{self.samples:,} samples ({duration(self.duration)})"
            divided = f"all {self.many}, divided by their {total},"
            density = (
                f"A sample has {number(self.nats_per_sample)} nats, as a mass of whole "
                f"{self.bits}-bit numbers; as a density of amplitudes in [−1, 1] it has "
                f"{number(self.density_nats_per_sample)}. "
            )
            alike = f"the same clips, at {self.bits} bits and {self.rate / 1000:g} kHz"
        name = self.unit.name.capitalize()
        nats = plus_minus(self.log_prob, self.log_prob_two_se, 2)
        return (
            f"{name}: −log₂ of the probability of {divided} ± two standard errors. Fewer is "
            f"better. An average {self.one} has {nats} nats. {density}To be compared only "
            f"with figures of {alike}."
        )

    @property
    def outside(self) -> str:
        """How many items score -inf and why; empty if none does."""
        n = self.rows_outside
        if not n:
            return ""
        items = f"1 {self.one} scores" if n == 1 else f"{n:,} {self.many} score"
        return f"{items} −∞: {OUTSIDE}."
