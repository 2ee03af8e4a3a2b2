"""The version, in one place: the build, `caudal --version` and the model files take it from here."""

__version__ = "0.2.0"
