"""Tables: rows of named columns, from files, DataFrames and arrays."""

from caudal.modalities.table.table import Table

__all__ = ["Table"]
