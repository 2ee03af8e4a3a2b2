"""Where data come from, what they are, and how samples go back to files."""

from caudal.data.audio import AudioSchema, AudioWriter, finds_audio, open_audio, open_clips
from caudal.data.dataset import Dataset, Items, Piece
from caudal.data.images import (
    ImageSchema,
    ImageWriter,
    finds_images,
    hidden_pixels,
    open_images,
    open_whole,
    write_grid,
)
from caudal.data.refusals import BUILT_IN
from caudal.data.schema import KINDS, Column, Schema, Unit, schema_from_dict
from caudal.data.source import Batch, Rows, Source, item_rows
from caudal.data.table.fill import gap_codes, like_data, open_gaps, open_to_gaps
from caudal.data.table.frames import as_container, as_table, container_of, like
from caudal.data.table.guess import Summary
from caudal.data.table.open import open_data, open_rows, read_tables
from caudal.data.table.output import TableWriter
from caudal.data.table.schema import TableSchema
from caudal.data.table.streamed import ParquetRows
from caudal.data.tensors import TensorSchema
from caudal.data.writing import (
    Writer,
    check_writable,
    prepare_output,
    prepare_picture,
    refuse_existing,
)

__all__ = [
    "BUILT_IN",
    "KINDS",
    "AudioSchema",
    "AudioWriter",
    "Batch",
    "Column",
    "Dataset",
    "ImageSchema",
    "ImageWriter",
    "Items",
    "ParquetRows",
    "Piece",
    "Rows",
    "Schema",
    "Source",
    "Summary",
    "TableSchema",
    "TableWriter",
    "TensorSchema",
    "Unit",
    "Writer",
    "as_container",
    "as_table",
    "check_writable",
    "container_of",
    "finds_audio",
    "finds_images",
    "gap_codes",
    "hidden_pixels",
    "item_rows",
    "like",
    "like_data",
    "open_audio",
    "open_clips",
    "open_data",
    "open_gaps",
    "open_images",
    "open_rows",
    "open_to_gaps",
    "open_whole",
    "prepare_output",
    "prepare_picture",
    "read_tables",
    "refuse_existing",
    "schema_from_dict",
    "write_grid",
]
