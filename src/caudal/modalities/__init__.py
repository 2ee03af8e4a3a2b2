"""The kinds of data, a module each; `caudal.modality` finds them by name."""
