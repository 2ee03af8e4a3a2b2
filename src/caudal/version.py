"""The version, in one place: the build, the command line and model files take it from here."""

__version__ = "0.2.0"
