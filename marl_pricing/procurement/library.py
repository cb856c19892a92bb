"""NegMAS, imported where it is needed and kept from writing into the home folder."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from types import ModuleType

from marl_pricing.config.errors import ConfigError


def load() -> ModuleType:
    """NegMAS. Its worlds write logs, into a folder of this process that goes with it unless NEGMAS_LOG_BASE says where.

    Raises:
        ConfigError: where it is not installed.
    """
    if "NEGMAS_LOG_BASE" not in os.environ:
        # Worlds read it when NegMAS is imported first, and would write to ~/negmas without it.
        folder = tempfile.mkdtemp(prefix="negmas_")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["NEGMAS_LOG_BASE"] = folder
    try:
        import negmas
        import negmas.sao
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'marl-pricing[procurement]'") from None
    return negmas
