"""Which states a robust learner's policy gradient counts, against those that the gradient of the robust value counts.

The gradient of a robust value weighs states by how often the worst law visits them (Wang and Zou 2022, theorem 2;
Wang, Ho and Petrik 2023); the learner's by how often the nominal world does, which is what it plays. Both are summed
exactly here, on the market of 30 states.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.learning.stock_table import GAMMA, NOMINAL, SHARES, STATES, Robust, Table, robust_values, stock_table

SETS = {"interval": 1.0, "kl": 0.15, "chi2": 0.3, "wasserstein": 0.15}


def stationary(step: np.ndarray) -> np.ndarray:
    """Long-run visits [30] of a chain [30, 30]."""
    visits = np.full(STATES, 1.0 / STATES)
    for _ in range(2000):
        visits = visits @ step
    return visits


def chain(table: Table, policy: np.ndarray, law: np.ndarray) -> np.ndarray:
    """[30, 30] of a policy [30, 2] under laws [30, 2, K]."""
    return np.einsum("sa,sak,sakt->st", policy, law, table.following)


def nominal_law() -> np.ndarray:
    return np.broadcast_to(np.eye(len(SHARES))[SHARES.index(NOMINAL)], (STATES, 2, len(SHARES)))


def visits(table: Table, policy: np.ndarray, found: Robust) -> tuple[np.ndarray, np.ndarray]:
    """(of the nominal world, discounted of the worst case from there) [30]."""
    own = stationary(chain(table, policy, nominal_law()))
    left = np.linalg.solve(np.eye(STATES) - GAMMA * chain(table, policy, found.law).T, own)
    return own, (1.0 - GAMMA) * left


def gradients(table: Table, logits: np.ndarray, set_name: str, start: np.ndarray | None = None):
    """(learner's, robust value's) gradients [30] in the logit of the higher price, and the robust values."""
    high = 1.0 / (1.0 + np.exp(-logits))
    policy = np.stack([1.0 - high, high], 1)
    found = robust_values(table, policy, set_name, SETS[set_name])
    own, worst = visits(table, policy, found)
    if start is not None:
        left = np.linalg.solve(np.eye(STATES) - GAMMA * chain(table, policy, found.law).T, start)
        worst = (1.0 - GAMMA) * left
    slope = high * (1.0 - high) * (found.action_value[:, 1] - found.action_value[:, 0])
    return own * slope, worst * slope, found


@pytest.mark.parametrize("set_name", SETS)
def test_the_robust_values_gradient_is_the_one_weighed_by_the_worst_visits(set_name: str) -> None:
    """By finite differences of the exact value from a fixed start."""
    table, logits = stock_table(), 0.2 * np.random.default_rng(0).normal(size=STATES)
    start = np.full(STATES, 1.0 / STATES)
    _, exact, _ = gradients(table, logits, set_name, start)
    for state in (4, 12, 20, 27):
        ends = []
        for change in (0.05, -0.05):
            moved = logits.copy()
            moved[state] += change
            high = 1.0 / (1.0 + np.exp(-moved))
            found = robust_values(table, np.stack([1.0 - high, high], 1), set_name, SETS[set_name])
            ends.append(start @ found.value)
        slope = (1.0 - GAMMA) * (ends[0] - ends[1]) / 0.1
        assert slope == pytest.approx(exact[state], rel=0.05, abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("set_name", SETS)
def test_what_the_worst_visits_would_change(set_name: str) -> None:
    table, zeros = stock_table(), np.zeros(STATES)
    own, exact, found = gradients(table, zeros, set_name)
    policy = np.full((STATES, 2), 0.5)
    nominal, worst = visits(table, policy, found)
    apart = 0.5 * np.abs(nominal - worst).sum()
    cosine = own @ exact / np.linalg.norm(own) / np.linalg.norm(exact)
    # With a price for each state both end at the best robust policy: a weight above 0 turns no sign.
    best = robust_values(table, policy, set_name, SETS[set_name], best=True)
    ends = []
    for which in (0, 1):
        logits = zeros.copy()
        for _ in range(12):
            logits = 12.0 * np.sign(gradients(table, np.clip(logits, -3.0, 3.0), set_name)[which])
        ends.append(gradients(table, logits, set_name)[2].value)
    lost = [float(1.0 - (nominal[3:] @ end[3:]) / (nominal[3:] @ best.value[3:])) for end in ends]
    # With one price for all states they weigh a state against another; each climbs to where its gradient is 0.
    shared, values = [], []
    for which in (0, 1):
        low, high = -8.0, 8.0
        for _ in range(24):
            logit = 0.5 * (low + high)
            rises = gradients(table, np.full(STATES, logit), set_name, nominal)[which].sum() > 0
            low, high = (logit, high) if rises else (low, logit)
        shared.append(1.0 / (1.0 + np.exp(-logit)))
        values.append(float(nominal @ gradients(table, np.full(STATES, logit), set_name)[2].value))
    print(
        f"{set_name}: visits apart {apart:.3f}, cosine {cosine:.4f}; best missed by {lost[0]:.1e} and {lost[1]:.1e}; "
        f"one price for all: high with {shared[0]:.3f} and {shared[1]:.3f}, values {values[0]:.4f} and {values[1]:.4f}"
    )
    assert max(map(abs, lost)) < 1e-3
    assert 0.005 < apart < 0.3 and cosine > 0.9
    assert 0.99 < values[0] / values[1] < 1.0001
