"""Calibrated markets: the file that the calibration wrote, with what a configuration says on top of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from marl_pricing.config.errors import ConfigError, parse_yaml, read_bytes
from marl_pricing.intake import plain
from marl_pricing.presentation.words import Words
from marl_pricing.shipped import found

if TYPE_CHECKING:
    from marl_pricing.config.market_settings import Calibration

FORMAT = 1
_TAGS = {"demand": "model", "prices": "map", "inventory": "rule"}


def read_market_file(path: str) -> dict[str, Any]:
    """The `market` settings of a calibrated file, with its path and SHA-256 under `calibration`.

    Raises:
        ConfigError: for a file that is not there, is no YAML, or is not of this format.
    """
    if path == "???":
        raise ConfigError("market.path: has to be given, a market.yaml that `python -m marl_pricing.calibration` wrote")
    content = read_bytes(found(path), f"market.path={path!r}", plain.MOST_YAML)
    data = parse_yaml(content, f"market.path={path!r}")
    if not isinstance(data, dict) or not isinstance(data.get("market"), dict) or "format" not in data:
        raise ConfigError(
            f"market.path={path!r}: is no calibrated market; accepted is a market.yaml of the calibration"
        )
    if data["format"] != FORMAT:
        raise ConfigError(f"market.path={path!r}: is of format {data['format']!r}; accepted is {FORMAT}")
    own = dict(data["market"])
    given = own.get("calibration")
    if not isinstance(given, dict):
        raise ConfigError(f"market.path={path!r}: market.calibration is missing")
    named = {name: str(data[name]) for name in ("currency", "period") if data.get(name)}
    own["calibration"] = given | named | {"path": path, "sha256": hashlib.sha256(content).hexdigest()}
    return own


def words_of(own: Calibration | None) -> Words:
    """What money, an epoch, sellers and products are called in a market; nothing special where it is not calibrated."""
    return Words() if own is None else Words(own.currency, own.period, tuple(own.sellers), tuple(own.products))


def _merge(given: Any, base: Any) -> Any:
    """`given` over `base`; a null of `given` takes what `base` says."""
    if given is None:
        return base
    if not isinstance(given, Mapping):
        return given
    of_file = base if isinstance(base, Mapping) else {}
    merged = {name: _merge(value, of_file.get(name)) for name, value in given.items()}
    # What neither says is left to the defaults.
    return dict(of_file) | {name: value for name, value in merged.items() if value is not None}


def resolve(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`market:` settings with `path` replaced by what that file says; others as they are.

    What stands beside `path` wins over the file; a group of another kind (another demand model, price map or
    replenishment rule) replaces the file's.

    Raises:
        ConfigError: as `read_market_file`.
    """
    if "path" not in settings:
        return dict(settings)
    own = {name: value for name, value in settings.items() if name != "path"}
    base = read_market_file(settings["path"])
    for group, tag in _TAGS.items():
        given, of_file = own.get(group), base.get(group)
        if isinstance(given, Mapping) and given.get(tag) not in (None, (of_file or {}).get(tag)):
            base.pop(group, None)
            if group == "demand":
                raise ConfigError(
                    f"market.demand.model={given[tag]!r}: accepted is the file's own, {of_file['model']!r}"  # type: ignore[index]
                )
    return _merge(own, base)
