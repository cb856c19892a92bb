"""`marl-pricing describe experiment=NAME`: what sellers are shown, what they may do, what they are paid."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence

from marl_pricing.doors import as_typed, say_errors
from marl_pricing.presentation import pulse
from marl_pricing.presentation.output import readable
from marl_pricing.presentation.words import say

_USAGE = """What a market shows its sellers, what they may do, and what it pays them, with units and ranges.

usage: marl-pricing describe experiment=NAME [field=value …]   the market that `train experiment=NAME …` trains in
       marl-pricing describe env=NAME                          an environment: phantom_defence, phantom_prototype

  json=true              the same as JSON, for programs"""
_MANY = 12  # choices that are listed one by one


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the description; 2 and a line on standard error for settings that cannot be had."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    with say_errors():
        from marl_pricing.environments.description import as_json
        from marl_pricing.presentation.words import using

        pulse.doing("building the market")
        as_text = "json=true" not in given
        rest = [own for own in given if own not in ("json=true", "json=false")]
        name, own, words = _described(rest)
        with using(words):
            if as_text:
                for line in _lines(name, own):
                    print(readable(say(line)))
            else:
                print(say(json.dumps({"name": name, **as_json(own)}, indent=1, ensure_ascii=False)))
    return 0


def _described(given: list[str]):
    """(name, description, words) of what was asked for."""
    from marl_pricing.config.errors import ConfigError, refuse
    from marl_pricing.environments import description as of
    from marl_pricing.presentation.words import NAMELESS

    wanted = [text.removeprefix("env=") for text in given if text.startswith("env=")]
    if wanted:
        from marl_pricing import phantom_defence_env, phantom_prototype_env

        makers: dict[str, Callable] = {
            "phantom_defence": phantom_defence_env, "phantom_prototype": phantom_prototype_env,
        }  # fmt: skip
        if wanted[0] not in makers:
            raise refuse("env", wanted[0], ", ".join(makers))
        if len(given) > 1:
            raise ConfigError(f"{next(own for own in given if own != f'env={wanted[0]}')}: accepted is env=NAME alone")
        return wanted[0], of.describe_env(makers[wanted[0]]()), NAMELESS
    from marl_pricing.config import read_settings
    from marl_pricing.config.calibrated import words_of
    from marl_pricing.config.composing import compose_settings
    from marl_pricing.config.market import build_market

    data = compose_settings(as_typed(given))
    if data.pop("study") is not None:
        raise ConfigError("study: is several runs; accepted is the experiment of one run")
    data.pop("resume")
    own = read_settings(data)
    return own.name, of.describe_market(*build_market(own.market, own.traffic)), words_of(own.market.calibration)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _ends(low: float, high: float) -> str:
    if math.isinf(high):
        return "any number" if math.isinf(low) else f"{_number(low)} and more"
    return f"{_number(low)} to {_number(high)}"


def _lines(name: str, own) -> Iterator[str]:
    alike = "seller" if own.sellers == 1 else "sellers"
    products = "1 product each" if own.products == 1 else f"{own.products} products each"
    yield f"{name}: {own.sellers} {alike}, {products}, {own.epochs} epochs an episode"
    yield ""
    yield f"observation of a seller: {len(own.inputs)} numbers"
    rows = [
        (str(number), one.name, _ends(*one.shown), _raw(one.raw), one.unit) for number, one in enumerate(own.inputs)
    ]
    yield from _table([("#", "what", "shown", "stands for", "unit"), *rows])
    yield ""
    yield f"action of a seller: {own.space}"
    for choice in own.choices:
        yield f"  {choice.name}: {choice.form}; {choice.unit}"
        same = len(set(choice.values)) == 1
        for seller, values in enumerate(choice.values[:1] if same else choice.values):
            yield f"    {'' if same else f'seller {seller}: '}{_listed(values)}"
    yield ""
    yield "reward of an epoch: money"
    for term in own.terms:
        values = f": {_listed(term.values, alike=True)}" if term.values else ""
        yield f"  {term.name}, {term.unit}{values}"
    if own.sellers > 1:
        omega = _listed(own.shaping, alike=True)
        yield f"  shaped: ω r + (1 - ω) Σ r, ω = {omega}; 1 is selfish, 0 fully cooperative"
    yield ""
    yield "an episode ends:"
    yield from (f"  {text}" for text in own.ends)


def _raw(raw: Sequence[tuple[float, float]]) -> str:
    texts = [_ends(*own) for own in raw]
    return texts[0] if len(set(texts)) == 1 else "; ".join(f"seller {i}: {text}" for i, text in enumerate(texts))


def _listed(values: Sequence[float], alike: bool = False) -> str:
    """Values in a line: one where all are alike, the first and the last of many."""
    if alike and len(set(values)) == 1:
        return _number(values[0])
    texts = [_number(value) for value in values]
    if len(texts) > _MANY:
        return f"{', '.join(texts[:3])} … {', '.join(texts[-2:])}"
    return ", ".join(texts)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    rows = [[say(text) for text in row] for row in rows]  # names are wider than what they stand for
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
