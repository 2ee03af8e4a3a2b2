"""What a flow was trained on: a table, or images."""

from typing import Any

from caudal.data.images.schema import ImageSchema
from caudal.data.schema import Schema

AnySchema = Schema | ImageSchema
"""Of a table or of images; both have `context`, `countable` and `to_dict`."""


def schema_from_dict(data: dict[str, Any]) -> AnySchema:
    """The schema that its `to_dict` described, perhaps through JSON."""
    kind = ImageSchema if data.get("kind") == "images" else Schema
    return kind.from_dict(data)
