"""What makes a file audio."""

from caudal.data.files.lots import FileKind

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")
AUDIO = FileKind("clip", "clips", "audio", SUFFIXES, "folder", plain=False, parts_first=False)
