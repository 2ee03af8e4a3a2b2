"""Keeping time: other steps where the machine has another speed than when they were planned.

A laptop grows warm, another program begins or ends: what was measured in the first seconds then
holds no more. The steps that are left are planned again, and the learning rate goes on from where
it is and still ends with them.
"""

import time
from dataclasses import dataclass

SLACK = 0.95  # a machine is never quite alone
_LOOKS = 16  # how often a job looks at the clock
_LEAST = 1.0  # seconds between two looks; what is shorter says little
_TOLERANCE = 0.1  # share of the steps left by which those that fit may differ
_FEW = 0.1  # share of all steps, which are not worth a new plan
_LATE = 1.1  # training ends after so much of its time, whatever its steps


@dataclass(frozen=True)
class Course:
    """Where the learning rate is on its curve, which has `planned` steps.

    It was at `at` after `since` steps, and comes to the curve's end with the last step.
    """

    since: float = 0
    at: float = 0
    planned: float = 0

    def place(self, step: int, total: int) -> tuple[float, float]:
        """The place on the curve at a step of so many in all, and the length of the curve."""
        if not self.planned:
            return step, total
        share = (step - self.since) / max(total - self.since, 1)
        return self.at + share * (self.planned - self.at), self.planned

    def bent(self, step: int, total: int) -> "Course":
        """The same curve, which will be left from `step` on at another speed."""
        at, planned = self.place(step, total)
        return Course(step, at, planned)


class Pace:
    """How many steps fit the time, by the latest of them.

    Args:
        seconds: those that training may take, from now on; no limit if None.
        ahead: those that the planned steps will take, if that was measured.
        validation: those that one validation was measured to take.
        most: the steps that are wanted, which are never exceeded.
        first: steps that were done before.
    """

    def __init__(
        self,
        seconds: float | None = None,
        ahead: float | None = None,
        validation: float = 0.0,
        most: int = 0,
        first: int = 0,
    ) -> None:
        now = time.monotonic()
        self.limited = seconds is not None
        self.seconds = max(seconds or 0.0, 0.0)
        self.end, self.latest = (now + share * self.seconds for share in (SLACK, _LATE))
        self.ahead, self.most, self._validation = ahead, most, validation
        self._step, self._now, self._paused = first, now, 0.0
        self._per_step = 0.0

    @property
    def is_over(self) -> bool:
        """Whether training must end now."""
        return self.limited and time.monotonic() > self.latest

    @property
    def left(self) -> float:
        """Seconds that are left for training."""
        return max(self.end - time.monotonic(), 0.0)

    def paused(self, seconds: float) -> None:
        """Takes in how long a validation took, with all that happens at one."""
        self._paused += seconds
        self._validation = seconds

    def steps(self, step: int, total: int, every: int) -> int:
        """The number of steps of the whole run, after `step` of `total`: `total` if in time.

        Args:
            step: steps done.
            total: as planned so far.
            every: steps between validations.
        """
        now = time.monotonic()
        passed, done = now - self._now - self._paused, step - self._step
        if not self.limited or not done:
            return total
        latest, wait = passed / done, max(_LEAST, self.seconds / _LOOKS)
        # All steps that are planned may end before the next look, with much time left.
        ends_early = passed + latest * (total - step) < wait and self.left > 2 * wait
        if passed < wait and not ends_early:
            return total
        before = self._per_step or latest
        self._per_step = latest if latest < before / 2 else (latest + before) / 2
        self._step, self._now, self._paused = step, now, 0.0
        left = max(self.left - self._validation, 0.0)  # the last one stands at the end
        fit = int(left / (self._per_step + self._validation / every))
        need = total - step
        if abs(fit - need) > max(_TOLERANCE * need, _FEW * total):
            return min(step + max(fit, 1), self.most)
        return total
