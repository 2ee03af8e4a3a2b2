"""Labels from the names of files, such as `{digit}_{speaker}_{index}`."""

import re
from dataclasses import dataclass

from caudal.data.audio.folder import stem_of
from caudal.data.audio.recordings import Recording
from caudal.errors import InputError


@dataclass(frozen=True)
class Pattern:
    """Names in braces, and the text between them.

    It is matched against the name of a file without its suffix, and against as many folders above
    as it has slashes.

    Raises:
        InputError: no names in braces, or the same twice.
    """

    text: str

    def __post_init__(self) -> None:
        names = self.names
        if not names or not all(name.isidentifier() for name in names):
            raise InputError(
                f"--labels {self.text}: give names in braces, such as {{speaker}}_{{index}}"
            )
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"--labels {self.text}: '{name}' is there twice")

    @property
    def names(self) -> list[str]:
        """The labels that it gives."""
        return re.findall(r"\{(.*?)\}", self.text)

    def labels(self, recording: Recording) -> dict[str, str]:
        """What the name of a recording says.

        Raises:
            InputError: it does not match.
        """
        depth = self.text.count("/") + 1
        stem = "/".join(stem_of(recording.name).split("/")[-depth:])
        pieces = re.split(r"\{(.*?)\}", self.text)
        made = [re.escape(p) if i % 2 == 0 else f"(?P<{p}>[^/]+?)" for i, p in enumerate(pieces)]
        match = re.fullmatch("".join(made), stem)
        if match is None:
            raise InputError(
                f"{recording.place} does not match --labels {self.text}: rename it, or give "
                f"another pattern"
            )
        return match.groupdict()
