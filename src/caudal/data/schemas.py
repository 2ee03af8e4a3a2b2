"""All kinds of schemas, by the name under which a model file keeps them."""

from typing import Any

from caudal.data.audio.schema import AudioSchema
from caudal.data.images.schema import ImageSchema
from caudal.data.schema import Schema
from caudal.data.table.schema import TableSchema

SCHEMAS: dict[str, type[Schema]] = {s.kind: s for s in (TableSchema, ImageSchema, AudioSchema)}


def schema_from_dict(data: dict[str, Any]) -> Schema:
    """The schema that its `to_dict` described, perhaps through JSON; tables name no kind."""
    return SCHEMAS[data.get("kind", TableSchema.kind)].from_dict(data)
