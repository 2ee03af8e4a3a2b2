"""The arrow types a column may have, and their names."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from caudal.data.temporal import is_modelled
from caudal.errors import InputError

_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=(\w+), ordered=([01])>")
_ZONED = re.compile(r"timestamp\[(\w+), tz=(.+)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)")


def parse(name: str) -> pa.DataType:
    """The arrow type whose `str` is `name`.

    Raises:
        InputError: there is no such type.
    """
    if match := _DICTIONARY.fullmatch(name):
        values, index, ordered = match.groups()
        return pa.dictionary(parse(index), parse(values), ordered == "1")
    if match := _DECIMAL.fullmatch(name):
        make = getattr(pa, f"decimal{match[1]}")
        return make(int(match[2]), int(match[3]))
    if match := _ZONED.fullmatch(name):
        return pa.timestamp(match[1], match[2])
    try:
        return pa.type_for_alias(name)
    except ValueError:
        raise InputError(f"unknown column type '{name}' in a schema") from None


def has_name(dtype: pa.DataType) -> bool:
    """Whether `parse` finds the type by its name."""
    try:
        return parse(str(dtype)) == dtype
    except InputError:
        return False


def value_type(dtype: pa.DataType) -> pa.DataType:
    """The plain type of the values of a column of type `dtype`, decimals read as doubles."""
    if pat.is_dictionary(dtype):
        return value_type(dtype.value_type)
    if is_text(dtype):
        return pa.string()
    if pat.is_decimal(dtype):
        return pa.float64()
    return pa.float32() if pat.is_float16(dtype) else dtype


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as its plain `value_type`."""
    dtype = value_type(column.type)
    return column if column.type == dtype else column.cast(dtype)


def restore(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Plain values as an array of type `dtype`, the inverse of `plain`."""
    if not pat.is_dictionary(dtype):
        return array if array.type == dtype else array.cast(dtype, safe=False)
    coded = array.cast(dtype.value_type).dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        coded.indices.cast(dtype.index_type), coded.dictionary, ordered=dtype.ordered
    )


def is_text(dtype: pa.DataType) -> bool:
    """Whether values are strings."""
    return str(dtype) in ("string", "large_string", "string_view")


def is_number(dtype: pa.DataType) -> bool:
    """Whether values are numbers; booleans are not."""
    return pat.is_integer(dtype) or pat.is_floating(dtype) or pat.is_decimal(dtype)


def float_type(dtype: pa.DataType) -> np.dtype:
    """The NumPy floating type that holds such values as they are."""
    plain = value_type(dtype)
    if pat.is_float16(dtype):
        return np.dtype(np.float16)
    return np.dtype(np.float32 if pat.is_float32(plain) else np.float64)


def refusal(dtype: pa.DataType) -> str | None:
    """Why a column of this type cannot be used and what to do, or None where it can."""
    if pat.is_dictionary(dtype):
        return refusal(dtype.value_type)
    if is_text(dtype) or is_number(dtype) or pat.is_boolean(dtype) or is_modelled(dtype):
        return None
    if pat.is_null(dtype):
        return "has no values: leave it out with `columns`"
    return f"holds {dtype}, not one value a row: flatten it or leave it out with `columns`"
