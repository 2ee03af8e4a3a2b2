"""A finished run, opened to be used: its model, its options, its data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from caudal.cli.opened_config import read_data_options
from caudal.cli.options import PATHS, is_path
from caudal.data import (
    AudioSchema,
    Dataset,
    ImageSchema,
    TableSchema,
    open_data,
)
from caudal.data.schema import Schema
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.training.checkpoint import load_model
from caudal.training.rows import fingerprint
from caudal.training.run import Run


class OpenedRun:
    """A run folder (or a model file by itself) with its model loaded.

    Args:
        path: of the folder or the file.
        device: auto, cpu, cuda, cuda:1, mps.

    Raises:
        InputError: there is no such run, or it was trained on plain tensors.
    """

    def __init__(self, path: str, device: str = "auto") -> None:
        self.folder = Path(path) if Path(path).is_dir() else Path(path).parent
        self.name = path
        loaded = load_model(path)
        if loaded.schema is None:
            raise InputError(f"{path} was trained on plain tensors: use it from Python")
        self.recipe: Recipe = loaded.recipe
        self.schema: Schema = loaded.schema
        self._metadata = loaded.metadata
        self.flow: Flow = loaded.flow.to(find_device(device))
        self._config: dict[str, Any] | None = None

    @property
    def table(self) -> TableSchema:
        """The columns of a run on a table.

        Raises:
            InputError: the run models images or audio.
        """
        if not isinstance(self.schema, TableSchema):
            raise InputError(f"{self.name} models {self.what}, not rows of a table")
        return self.schema

    @property
    def images(self) -> ImageSchema:
        """What the images of a run on images are.

        Raises:
            InputError: the run models other data.
        """
        if not isinstance(self.schema, ImageSchema):
            raise InputError(f"{self.name} models {self.what}, not images")
        return self.schema

    @property
    def audio(self) -> AudioSchema:
        """What the clips of a run on audio are.

        Raises:
            InputError: the run models other data.
        """
        if not isinstance(self.schema, AudioSchema):
            raise InputError(f"{self.name} models {self.what}, not audio")
        return self.schema

    @property
    def what(self) -> str:
        """What the run models, in words."""
        if isinstance(self.schema, TableSchema):
            return "rows of a table"
        kind = "audio" if isinstance(self.schema, AudioSchema) else "images"
        return f"{self.schema.size} {kind}"

    @property
    def has_audio(self) -> bool:
        """Whether the run models audio."""
        return isinstance(self.schema, AudioSchema)

    @property
    def has_images(self) -> bool:
        """Whether the run models images."""
        return isinstance(self.schema, ImageSchema)

    @property
    def config(self) -> dict[str, Any]:
        """The options the run was made with; empty for a model file without its folder.

        Raises:
            InputError: the file was edited, and cannot be used.
        """
        if self._config is None:
            run = Run(self.folder)
            found = run.config if run.config_path.exists() else {}
            self._config = read_data_options(found, run.config_path)
        return self._config

    @property
    def drops(self) -> bool:
        """Whether the run left rows with missing values out."""
        return self.config.get("missing") == "drop"

    def dataset(self, instead: str = "give other rows with --data") -> Dataset:
        """The data the run was trained on, split as it was then; a note where they changed since.

        Args:
            instead: the advice where they are not to be had.

        Raises:
            InputError: the data cannot be opened, or it is not known which they were.
        """
        config, schema = self.placed(instead), self.table
        dataset = open_data(
            config["data"], missing=config.get("missing", "refuse"), schema=schema, **parts(config)
        )
        return replace(dataset, notes=(*dataset.notes, *self.changed(dataset)))

    def placed(self, instead: str) -> dict[str, Any]:
        """The config, where it says what the run was trained on, and that is still there."""
        config = self.config
        if "data" not in config:
            raise InputError(f"{self.name} does not say what it was trained on: {instead}")
        for option in PATHS:
            path = config.get(option)
            if path is not None and is_path(path) and not Path(path).exists():
                raise InputError(
                    f"no file {path}, which {self.name} was trained with (--{option}): put it "
                    f"back, or {instead}"
                )
        return config

    def changed(self, dataset: Dataset) -> list[str]:
        """A note where the training rows are not those of then."""
        before = self._metadata.get("data", {}).get("train")
        if before is None or before == fingerprint(dataset.train):
            return []
        return [
            f"{dataset.name} changed since the run was trained: its rows, and their split, are "
            f"others now"
        ]


def parts(config: dict[str, Any]) -> dict[str, Any]:
    """What a config says of validation and test rows."""
    return {
        "valid": config.get("valid"),
        "test": config.get("test"),
        "split": config.get("split", (0.8, 0.1, 0.1)),
        "seed": config.get("split_seed", 0),
    }


def find_device(name: str) -> torch.device:
    """The device of that name; auto is a GPU where there is one.

    Raises:
        InputError: this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return device
