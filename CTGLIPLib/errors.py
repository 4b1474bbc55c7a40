"""The exception tree of CT-GLIP: every message says what was expected, what came and what to do."""

from __future__ import annotations


class CTGLIPError(Exception):
    """Any error that a user of CT-GLIP can cause and mend; commands print it in one line and exit with 1."""


class GeometryError(CTGLIPError):
    """Two arrays do not share a grid, or a grid cannot be used (no overlap, tilted, not 3-D)."""


class InputError(CTGLIPError):
    """A file or array that the user gave is missing, broken, or not what it should be."""


class LabelError(CTGLIPError):
    """A label map whose organ names are missing, ambiguous or unusable."""


class ConfigError(CTGLIPError):
    """A configuration with unknown keys or values outside their range."""


class CheckpointError(CTGLIPError):
    """A model folder or study file that is not ours, altered, of another version, or of another model."""


class DependencyError(CTGLIPError):
    """An optional package or its weights are missing; the message names the extra or the way around."""


class UnfinishedError(DependencyError):
    """An outside program started on this input and did not finish; with another input it may."""


class OutputError(CTGLIPError):
    """A result that could not be written; nothing half-written is left behind."""


class Cancelled(CTGLIPError):
    """The user cancelled; nothing was written."""
