"""Puts `conf/` and `examples/` into the package when a wheel is built: an installed package trains like a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class Whole(build_py):
    """The modules, and what ships beside them."""

    def run(self) -> None:
        """Build; an editable install finds both where they are."""
        super().run()
        if self.editable_mode:
            return
        for name in ("conf", "examples"):
            target = Path(self.build_lib) / "marl_pricing" / "shipped" / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / name, target, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": Whole})
