"""Sellers as people call them: by number, or by name where the market has names."""

from __future__ import annotations

from collections.abc import Sequence

from marl_pricing.config.errors import refuse


def seller_number(field: str, given: str, num_sellers: int, names: Sequence[str], what: str = "a seller") -> int:
    """The number of a seller.

    Args:
        field: where it was given.  names: of the sellers; empty where they have none.  what: is called for.

    Raises:
        ConfigError: for one that the market does not have.
    """
    if given in names:
        return list(names).index(given)
    if given.isdecimal() and int(given) < num_sellers:
        return int(given)
    known = f", or a seller's name: {', '.join(names)}" if names else ""
    raise refuse(field, given, f"{what} from 0 to {num_sellers - 1}{known}")
