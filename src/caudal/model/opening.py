"""The data of a model: those it was trained on, and others that are read as those were."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from caudal.data import Dataset
from caudal.errors import InputError
from caudal.model import choices, settings
from caudal.model.config import data_options, missing_paths
from caudal.training.rows import fingerprint

if TYPE_CHECKING:
    from caudal.model.model import Model


def dataset_or(model: "Model", instead: str = "") -> Dataset:
    """`Model.dataset`; where the data cannot be had, the message also advises `instead`."""
    if model._dataset is None:
        model._dataset = _reopened(model, instead)
        for note in model._dataset.notes:
            model.voice.note(note)
    return model._dataset


def _reopened(model: "Model", instead: str) -> Dataset:
    or_else = f", or {instead}" if instead else ""
    config = {**model.config, **model._data}
    if not choices.is_there(config.get("data")):
        raise InputError(
            f"{model.name} holds no data, and does not say which it was trained on: give them "
            f"again in Python, as caudal.load({model.name!r}, data=...){or_else}"
        )
    for option, path in missing_paths(config):
        raise InputError(
            f"no file {path}, which {model.name} was trained with (`{option}`): put it back"
            f"{or_else}"
        )
    options = data_options(config, model.kind)
    dataset = model.kind.open(options, model.recipe, model.schema, model.voice)
    before = model.metadata.get("data", {}).get("train")
    if before is None or before == fingerprint(dataset.train):
        return dataset
    change = f"{dataset.name} changed since the run was trained: its rows, and their split"
    return replace(dataset, notes=(*dataset.notes, f"{change}, are others now"))


def open_all(model: "Model", data: Any, reading: Mapping[str, Any]) -> Any:
    """Everything in `data`, encoded as the run's own data; its notes are told."""
    return _opened(model, model.kind.open_all, data, reading)


def open_given(model: "Model", data: Any, reading: Mapping[str, Any]) -> Any:
    """Like `open_all`, but `data` need not have the columns that the flow models."""
    return _opened(model, model.kind.open_given, data, reading)


def _opened(
    model: "Model", opens: Callable[..., Any], data: Any, reading: Mapping[str, Any]
) -> Any:
    options = model.options(model.kind.reading, reading)
    items = opens(data, model.schema, options, model.config, model.voice)
    for note in items.notes:
        model.voice.note(note)
    return items


def options(model: "Model", of: type, values: Mapping[str, Any]) -> Any:
    """The options `of` a modality, made from keywords.

    Raises:
        InputError: the modality has no such option.
    """
    return settings.options_of(of, values, model.schema.what)
