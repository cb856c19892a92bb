"""What ships beside the code: settings (`conf/`) and examples, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
# A wheel holds them inside the package, see setup.py.
_INSIDE = "shipped"


def shipped(name: str) -> Path:
    """The folder `conf` or `examples`."""
    inside = _PACKAGE / _INSIDE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def found(path: str | Path) -> Path:
    """A file as it is named from the current folder; where it is not there, the shipped file of that name.

    So `examples/grocery/sales.csv` means the example's sales in any folder, as long as the folder has none of its own.
    """
    own = Path(path)
    if own.is_absolute() or own.parts[:1] != ("examples",) or own.exists():
        return own
    there = shipped("examples").joinpath(*own.parts[1:])
    return there if there.exists() else own
