"""A model written to a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal import files
from caudal.model import card
from caudal.model.config import wherever_read
from caudal.training.checkpoint import save_model
from caudal.training.rebuilt import check_rebuilt
from caudal.training.rows import fingerprint
from caudal.training.run import Run

if TYPE_CHECKING:
    from caudal.model.model import Model


def save(model: "Model", folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes the model, its config and its training curve to a run folder; gives the folder.

    Raises:
        InputError: a run is there already, or the recipe builds another flow.
    """
    path = files.path_of(folder, "folder")
    check_rebuilt(model.flow, model.recipe, model._schema)
    is_own = model.folder is not None and path.resolve() == model.folder.resolve()
    config = wherever_read(model.config)
    run = Run(folder, config=config, overwrite=overwrite and not is_own)
    Run(folder, overwrite=overwrite).check_folder("folder", goes_on=False)
    run.begin()  # the numbers and pictures of another model would be taken for those of this
    save_model(run.model_path, model.flow, model.recipe, model._schema, _extra(model))
    if model.fitted is not None:
        run.write_metrics(model.fitted.history)
    model.folder, model.name = run.path, str(folder)
    card.write_card(model)
    return run.path


def _extra(model: "Model") -> dict[str, Any]:
    """What the model file holds beside the weights: where they are from, and of which rows."""
    names = ("step", "valid", "data")
    extra = {name: model.metadata[name] for name in names if name in model.metadata}
    if model.fitted is not None:
        extra |= {"step": model.fitted.best_step, "valid": model.fitted.best_valid}
    if model.fitted is not None and model._dataset is not None:
        parts = {"train": model._dataset.train, "validation": model._dataset.valid}
        extra["data"] = {name: fingerprint(part) for name, part in parts.items()}
    return extra
