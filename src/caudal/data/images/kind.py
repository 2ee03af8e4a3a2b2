"""What makes a file an image."""

from caudal.data.files.lots import FileKind

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
CLASS = "class"
IMAGES = FileKind("image", "images", "images", SUFFIXES, CLASS, plain=True, parts_first=True)
