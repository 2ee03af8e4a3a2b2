"""What training writes, and in which order."""

from typing import TYPE_CHECKING, Any

from caudal.errors import InputError
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.training.checkpoint import grafted, save_model
from caudal.training.devices import leads
from caudal.training.engine import Engine
from caudal.training.run import Run, write_config
from caudal.training.state import Position, read_state, save_state

if TYPE_CHECKING:
    from caudal.data.schema import Schema


class Keeper:
    """Keeps a run folder, if there is one and this process leads; else does nothing.

    The state is written last and is complete in itself, so a kill at any moment leaves a state
    from which the other files come out as they would have.
    """

    def __init__(
        self,
        run: Run | None,
        recipe: Recipe | None,
        schema: "Schema | None",
        resume: bool = False,
        overwrite: bool = False,
        config: dict[str, Any] | None = None,
        whole: Flow | None = None,
    ) -> None:
        if resume and overwrite:
            raise InputError("--resume and --overwrite: choose one of them")
        if run and recipe is None:
            raise InputError("out= needs recipe=: the model file could not be loaded without it")
        if run and not resume and not overwrite and run.started():
            raise InputError(
                f"{run.path}: a run is there already; resume it (--resume), or name another folder"
            )
        if run and resume and run.model_path.exists() and not run.state_path.exists():
            raise InputError(f"{run.path}: holds a model but no state.pt to resume from")
        self.run, self.recipe, self.schema, self.resume = run, recipe, schema, resume
        self.overwrite, self.config, self.whole = overwrite, config, whole

    @property
    def place(self) -> str | None:
        """The folder, for messages."""
        return None if self.run is None else str(self.run.path)

    def read(self, identity: dict[str, Any]) -> dict[str, Any] | None:
        """The state to resume from; None to start anew.

        Raises:
            InputError: the state is damaged, or of another run.
        """
        if self.run is None or not self.resume or not self.run.state_path.exists():
            return None
        return read_state(self.run.state_path, identity)

    def history(self, step: int) -> list[dict[str, Any]]:
        """The records up to a step; those after it are of work that was lost."""
        records = [] if self.run is None else self.run.metrics()
        return [record for record in records if record["step"] <= step]

    def begin(self) -> None:
        """Touches the folder for the first time, when nothing is left to refuse.

        Removes an old run that is to be replaced, and what a killed process left half-written.
        """
        if self.run is None or not leads():
            return
        self.run.sweep()
        if self.overwrite:
            self.run.clear()
        if self.config is not None:
            write_config(self.run.path, self.config)

    def keep_best(self, flow: Flow, position: Position, identity: dict[str, Any]) -> None:
        """Writes the best weights, with their step, validation loss and marks of the data."""
        if self.run and leads() and self.recipe and position.best:
            extra = {"step": position.best_step, "valid": position.best_valid}
            whole, weights = flow, position.best
            if self.whole is None:
                extra |= {"data": identity["data"]}
            else:  # what a part was trained on are no rows of the whole
                whole, weights = self.whole, grafted(self.whole, flow, position.best)
            save_model(self.run.model_path, whole, self.recipe, self.schema, extra, weights)

    def keep_state(
        self,
        engine: Engine,
        position: Position,
        history: list[dict[str, Any]],
        identity: dict[str, Any],
    ) -> None:
        """Writes the curve, and then all that resuming needs."""
        if self.run and leads():
            self.run.write_metrics(history)
            save_state(self.run.state_path, position, engine, identity)
