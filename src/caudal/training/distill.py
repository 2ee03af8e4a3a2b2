"""Probability density distillation: a fast density trains a flow with fast samples."""

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from caudal.data.source import Source
from caudal.flow import Flow
from caudal.losses import Terms
from caudal.training.dressing import check_dressed_alike, undressed_pair
from caudal.training.fit import Fitted, fit
from caudal.training.options import Training
from caudal.training.progress import Reporter
from caudal.training.run import Run


class Objective(Terms):
    """What a student learns from its teacher, term by term.

    Both flows share events and contexts, and are dressed alike.

    Attributes:
        student: undressed, sharing the modules of the flow that is trained.
        teacher: an undressed copy, frozen; gradients reach the student through its input.
        dressed: the frozen copy, with its dressing.
        words: what each term is called, for the user.

    Raises:
        InputError: the two flows do not go together.
    """

    words: ClassVar[Mapping[str, str]]

    def __init__(self, student: Flow, teacher: Flow) -> None:
        check_dressed_alike(student, teacher)
        self.latest = {}
        self.dressed = copy.deepcopy(teacher).requires_grad_(False).eval()
        self.student, self.teacher = undressed_pair(student, self.dressed)

    @property
    def described(self) -> list[str]:
        """What is minimised, in words."""
        return [
            self.words[name] if weight == 1 else f"{weight:g} {self.words[name]}"
            for name, weight in self.weights.items()
        ]

    @abstractmethod
    def rows(self, train: Source, valid: Source, training: Training) -> tuple[Source, Source]:
        """Rows to learn from and to validate on, made from the data of the teacher."""

    def follow(self, x: Tensor) -> None:
        """Moves everything that training has not moved to the device and the precision of x."""
        for flow in (self.student, self.teacher, self.dressed):
            like = flow.base.like
            if (like.device, like.dtype) != (x.device, x.dtype):
                flow.to(x)


def distill(
    student: Flow,
    teacher: Flow,
    train: Source,
    valid: Source,
    objective: Terms,
    *,
    training: Training | None = None,
    run: Run | None = None,
    reporter: Reporter | None = None,
) -> Fitted:
    """Trains a student to be its teacher, in place: `fit` with another loss.

    ```python
    objective = caudal.Distillation().objective(student, teacher)
    rows = objective.rows(data.train, data.valid, training)
    caudal.distill(student, teacher, *rows, objective, training=training)
    ```

    Args:
        student: new from its recipe, over the teacher's events and contexts; if it was assembled
            for a schema, it is dressed as the teacher (`build_student`, `dress_as`).
        teacher: with a fast density; it is left as it is.
        train: rows to learn from, as the objective takes them: see `Objective.rows`.
        valid: rows to select the best weights on.
        objective: the loss of this pair, term by term; each term is logged.
        training: how to train; `epochs` are passes over `train`.
        run: the run folder to leave behind, with the student's recipe and schema.
        reporter: receives progress.

    Raises:
        InputError: the two flows do not go together, or as `fit`.
        NumericalError: as `fit`.
        Interrupted: as `fit`.
    """
    check_dressed_alike(student, teacher)
    bare, _ = undressed_pair(student, teacher)
    fitted = fit(
        bare,
        train,
        valid,
        training=training,
        loss=objective,
        validation_loss=objective.validation,
        whole=student,
        run=run,
        reporter=reporter,
    )
    student.to(bare.base.like)  # the dressing is not trained, and follows: device and precision
    return replace(fitted, flow=student.eval())
