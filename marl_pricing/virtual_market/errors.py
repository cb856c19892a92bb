"""What cannot be used, in one line: what, where it stands, and what is accepted."""

from __future__ import annotations


class LogError(ValueError):
    """A log that cannot be used. One line: the file, the line, the value, what is accepted."""


class GraphError(ValueError):
    """A decision graph that is none. One line: file, line, what stands there, what is accepted."""


class ModelError(ValueError):
    """A model that cannot be read, or cannot be asked so. One line: what, and what is accepted."""
