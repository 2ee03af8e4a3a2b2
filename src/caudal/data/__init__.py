"""Where rows come from, what their columns are, and how samples go back to files."""

from caudal.data.audio import (
    AudioDataset,
    AudioSchema,
    AudioWriter,
    finds_audio,
    open_audio,
    open_clips,
)
from caudal.data.builtin import NAMES as BUILT_IN
from caudal.data.dataset import MISSING, Dataset, open_data
from caudal.data.describe import Summary
from caudal.data.images import (
    ImageDataset,
    ImageSchema,
    ImageWriter,
    finds_images,
    open_images,
    open_whole,
    write_grid,
)
from caudal.data.input import open_rows, read_tables
from caudal.data.output import TableWriter
from caudal.data.schema import KINDS, Column, Schema
from caudal.data.source import Batch, Rows, Source, require_rows
from caudal.data.streaming import ParquetRows

__all__ = [
    "BUILT_IN",
    "KINDS",
    "MISSING",
    "AudioDataset",
    "AudioSchema",
    "AudioWriter",
    "Batch",
    "Column",
    "Dataset",
    "ImageDataset",
    "ImageSchema",
    "ImageWriter",
    "ParquetRows",
    "Rows",
    "Schema",
    "Source",
    "Summary",
    "TableWriter",
    "finds_audio",
    "finds_images",
    "open_audio",
    "open_clips",
    "open_data",
    "open_images",
    "open_rows",
    "open_whole",
    "read_tables",
    "require_rows",
    "write_grid",
]
