"""What limits a score, in words: noise between steps, estimates and their bias."""

import math
from typing import TYPE_CHECKING

from caudal.report.numbers import a, short

if TYPE_CHECKING:
    from caudal.report.evaluation import Evaluation


def estimate_sentence(e: "Evaluation") -> str:
    """How an estimated log-det affects an evaluation; empty if the log-det is exact."""
    if e.estimate_std is None:
        return ""
    unit = e.unit.name
    start = "The log-det is an unbiased estimate"
    if e.bias_bound is not None:
        off = off_by(e.bias_bound, unit if e.unit.bits else f"{unit} {a(e.one)}")
        start = f"The log-det is a biased estimate, {off}"
    if not e.estimate_std > 0:  # or it is not known, as no item is inside
        return start + "."
    return (
        f"{start}: drawn again, it moves one {e.one} by ± {short(e.estimate_std)} {unit} (s.d.), "
        f"the mean by ± {short(e.estimate_two_se)} (2 s.e.)."
    )


def noise_sentence(e: "Evaluation") -> str:
    """Where a score is a lower bound because noise fills steps, and what that noise does."""
    if e.noise_std is None and "lower bound" not in e.kind:
        return ""
    draws = "one draw" if e.draws == 1 else f"{e.draws} draws"
    bound = "a lower bound, bits an upper one" if e.unit.bits else "a lower bound"
    missing = "" if e.unit.bits else " or are missing"
    moves = ""
    if e.noise_two_se is not None and math.isfinite(e.noise_two_se):
        moves = f", which moves the mean by ± {short(e.noise_two_se)}"
    return (
        f"The likelihood is {bound}: values that come in steps{missing} are filled with noise, "
        f"{draws} {a(e.one)}{moves}."
    )


def upper_bound(kind: str) -> str:
    """The kind of a code length in bits, where its log-density is a lower bound of this kind."""
    words = kind.replace("a lower", "an upper").replace("lower", "upper")
    return f"{'a' if kind.startswith('biased') else 'an'} {words}"


def off_by(bound: float, unit: str = "nats a row") -> str:
    """How far an estimate is off by its bias, in words."""
    if not math.isfinite(bound):
        return "off without a limit"
    return f"off by at most {short(bound)} {unit}"
