"""A customer's state from day to day: the document's formula, and means over days with an order."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.virtual_market.states import first_state, next_state, roll_states


def _document(state: np.ndarray, act: np.ndarray) -> np.ndarray:
    """The transition rules as the promotion document prints them."""
    next_state = np.empty(state.shape)
    size = (state[0] / state[1]) if state[1] > 0 else 0
    next_state[0] = state[0] + act[0]
    next_state[1] = state[1] + 1 / (size + 1) * (act[0] - state[1])
    next_state[2] = state[2] + 1 / (size + 1) * (act[1] - state[2])
    return next_state


def test_the_document_s_formula_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    state = np.stack([rng.integers(0, 60, 500), rng.uniform(0, 3, 500), rng.uniform(0, 80, 500)], axis=-1)
    state[:40, :2] = 0.0
    action = np.stack([rng.integers(0, 4, 500), rng.uniform(0, 80, 500)], axis=-1)
    mine = next_state(state, action, "document")
    theirs = np.stack([_document(one, act) for one, act in zip(state, action, strict=True)])
    assert (mine == theirs).all()


# Six days of one customer, computed by hand. (orders, fee) → state after it.
_ORDER_DAYS = [
    ((0, 0.0), (0, 0.0, 0.0)),
    ((2, 20.0), (2, 2.0, 20.0)),
    ((0, 0.0), (2, 2.0, 20.0)),
    ((1, 26.0), (3, 1.5, 23.0)),
    ((3, 17.0), (6, 2.0, 21.0)),
    ((0, 0.0), (6, 2.0, 21.0)),
]
# The document's: after the first order its means run over all days. The fifth day's size is 3 / (3/3) = 3.
_DOCUMENT = [
    ((0, 0.0), (0, 0.0, 0.0)),
    ((2, 20.0), (2, 2.0, 20.0)),
    ((0, 0.0), (2, 1.0, 10.0)),
    ((1, 26.0), (3, 1.0, 10 + 16 / 3)),
    ((3, 17.0), (6, 1.5, 10 + 16 / 3 + (17 - 10 - 16 / 3) / 4)),
    ((0, 0.0), (6, 1.2, 0.8 * (10 + 16 / 3 + (17 - 10 - 16 / 3) / 4))),
]


@pytest.mark.parametrize(("form", "table"), [("order_days", _ORDER_DAYS), ("document", _DOCUMENT)])
def test_both_forms_on_a_table_worked_by_hand(form, table) -> None:
    orders = np.array([[day[0] for day, _ in table]])
    fee = np.array([[day[1] for day, _ in table]])
    states = roll_states(orders, fee, np.zeros((1, 3)), form)
    np.testing.assert_allclose(states[0, 1:], [after for _, after in table], rtol=1e-14)
    jitted = next_state(jnp.asarray(states[:, :-1]), jnp.asarray(np.stack([orders, fee], -1)), form, jnp)
    np.testing.assert_allclose(jitted, states[:, 1:], rtol=1e-6)


def test_forms_agree_where_there_is_an_order_every_day_and_differ_elsewhere() -> None:
    rng = np.random.default_rng(1)
    orders, fee = rng.integers(1, 4, (50, 20)), rng.uniform(5, 50, (50, 20))
    start = first_state(orders[:, :5], fee[:, :5])
    both = [roll_states(orders[:, 5:], fee[:, 5:], start, form) for form in ("order_days", "document")]
    np.testing.assert_array_equal(*both)
    orders[:, 10] = 0
    both = [roll_states(orders[:, 5:], fee[:, 5:] * (orders[:, 5:] > 0), start, f) for f in ("order_days", "document")]
    assert (both[0][:, 6, 1] > both[1][:, 6, 1]).all()


@pytest.mark.parametrize("form", ["order_days", "document"])
def test_rolling_on_from_a_history_is_the_longer_history(form) -> None:
    rng = np.random.default_rng(2)
    orders = rng.poisson(0.7, (80, 40))
    orders[:, 0] = 1  # the document counts days from the first order on
    fee = rng.uniform(5, 50, (80, 40)) * (orders > 0)
    rolled = roll_states(orders[:, 30:], fee[:, 30:], first_state(orders[:, :30], fee[:, :30], form), form)
    np.testing.assert_allclose(rolled[:, -1], first_state(orders, fee, form), rtol=1e-12)
