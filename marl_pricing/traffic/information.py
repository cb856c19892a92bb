"""The cost of information: what shoppers pay because prices know something about them, and how agents wear it down."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.traffic.params import Array, MarkupParams, QuoteParams


def session_markup(signal: Array, params: MarkupParams) -> Array:
    """Factor on the posted price: 1 + strength · σ((signal − threshold) / temperature).

    PHANTOM's prototype, `_session_markup_multiplier`.

    Args:
        signal: [...] interest that a session has shown.
    """
    return 1.0 + params.strength * jax.nn.sigmoid((signal - params.threshold) / params.temperature)


def expected_factor(interest: Array, params: MarkupParams, headroom: Array) -> Array:
    """Mean factor [Y, N] on the posted prices that the sessions of people (class 0) and agents (1) pay for a unit.

    Agents come back in a clean session. Exact: orders do not depend on the interest that their session showed.

    Args:
        interest: [Y, F] shares of a class's purchases whose session showed an interest of 0, ½, 1, …
        headroom: [N] the highest price over the posted one, at least 1.
    """
    shown = session_markup(0.5 * jnp.arange(interest.shape[-1], dtype=headroom.dtype), params)
    people = interest[0] @ jnp.minimum(shown[:, None], headroom)
    clean = jnp.minimum(session_markup(params.clean_signal, params), headroom)
    return jnp.stack([people, clean][: interest.shape[0]])


def lowest_quote_law(count: int, num_quotes: Array) -> Array:
    """Chance [n] that the lowest of N independent quotes is the i-th lowest of n that are as likely each.

    [(n − i)/n]^N − [(n − i − 1)/n]^N for i = 0, 1, …; the PHANTOM methodology, theorem 1, as `erosion`.
    """
    above = jnp.arange(count, -1, -1) / count
    return -jnp.diff(above**num_quotes)


def session_quotes(uniform: Array, params: QuoteParams) -> tuple[Array, Array]:
    """(factor on the posted price of a session's own quote, of the lowest of an agent's N quotes), each [M].

    Both from one uniform number, so that the second is never above the first.
    """
    count = params.factors.size
    own = jnp.minimum((uniform * count).astype(jnp.int32), count - 1)
    limits = jnp.cumsum(lowest_quote_law(count, params.identities))[:-1]
    lowest = (uniform[:, None] >= limits).sum(-1)
    return params.factors[own], params.factors[lowest]


def expected_quoted(markups: Array, params: QuoteParams) -> Array:
    """Mean factor [Y, N] on the posted price that people (class 0) and agents (1) pay where quotes differ.

    Args:
        markups: [n, Y, N] mean mark-up of each class at each quote, up to the highest price.
    """
    paid = params.factors[:, None, None] * markups
    law = lowest_quote_law(params.factors.size, params.identities)
    agents = jnp.tensordot(law, paid[:, -1], axes=1)
    return jnp.stack([paid[:, 0].mean(0), agents][: markups.shape[1]])


def coi_level(prices_paid: np.ndarray, units: np.ndarray, lowest_viable: np.ndarray) -> float:
    """COI level: mean price paid less the lowest viable one, money per unit (the PHANTOM methodology, definition 1).

    Args:
        prices_paid, units, lowest_viable: [...] of one shape; prices are weighted by units.

    Raises:
        ValueError: if nothing was sold.
    """
    units = np.asarray(units, np.float64)
    if not units.sum() > 0:
        raise ValueError("units: nothing was sold, so there is no mean price")
    return float(((np.asarray(prices_paid) - np.asarray(lowest_viable)) * units).sum() / units.sum())


def constant_tax(cost: Array, scores: Array) -> Array:
    """COI leak with a constant InfoValue: Σ_m f_m · c_info, in money (the PHANTOM methodology, r_t).

    Args:
        cost: [] money per session.  scores: [M] suspicion.
    """
    return cost * scores.sum(-1)


def revelation(cost: Array, scores: Array, log_prob: Array) -> Array:
    """COI leak with InfoValue = −log π of the prices shown: an unlikely price tells more about the policy.

    Args:
        cost: [] money per session and nat.  scores: [M].  log_prob: [S] of each seller's prices under its own policy.

    Returns:
        [S] money.
    """
    return cost * scores.sum(-1) * -log_prob


def erosion(prices: np.ndarray, num_quotes: int | np.ndarray) -> np.ndarray:
    """E[p_(1)]: expected lowest of N independent quotes from a sample of prices (the PHANTOM methodology, theorem 1).

    Exact for the empirical law of the sample: Σ_i p_(i) [((n − i + 1)/n)^N − ((n − i)/n)^N].

    Args:
        prices: [n] money.  num_quotes: N ≥ 1, a number or an array of them.

    Returns:
        Money, of the shape of `num_quotes`.

    Raises:
        ValueError: for an empty sample, a price that is no number, or N below 1.
    """
    sample = np.sort(np.asarray(prices, np.float64).ravel())
    quotes = np.asarray(num_quotes, np.float64)
    if not sample.size or not np.all(np.isfinite(sample)):
        raise ValueError("prices: accepted is at least one price, all of them numbers")
    if np.any(quotes < 1):
        raise ValueError(f"num_quotes={num_quotes!r}: accepted is a whole number of at least 1")
    above = np.arange(sample.size, -1, -1) / sample.size
    mass = -np.diff(above ** quotes[..., None], axis=-1)
    return (mass * sample).sum(-1)
