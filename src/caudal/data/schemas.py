"""What a flow was trained on: a table, images, or audio."""

from typing import Any

from caudal.data.audio.schema import AudioSchema
from caudal.data.images.schema import ImageSchema
from caudal.data.schema import Schema

AnySchema = Schema | ImageSchema | AudioSchema
"""Of a table, of images or of audio; all have `context`, `countable` and `to_dict`."""


def schema_from_dict(data: dict[str, Any]) -> AnySchema:
    """The schema that its `to_dict` described, perhaps through JSON."""
    kinds: dict[Any, type[AnySchema]] = {"images": ImageSchema, "audio": AudioSchema}
    return kinds.get(data.get("kind"), Schema).from_dict(data)
