"""Kernels: estimation, orientation, expansion to products, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from marl_pricing.traffic import kernels
from marl_pricing.traffic.events import ACTIONS, END, START, WEIGHTS, canonical, is_known, report_unknown, weight
from marl_pricing.traffic.kernels import Kernel, KernelError

STATES = (START, "view_item", "purchase", END)
# Asymmetric on purpose: people look, buy, and go; nobody looks after having bought.
MATRIX = np.array([[0.0, 0.9, 0.0, 0.1], [0.0, 0.5, 0.2, 0.3], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])


def walk(kernel: Kernel, count: int, seed: int = 0) -> list[np.ndarray]:
    """Sessions drawn by NumPy, one after the other."""
    random = np.random.default_rng(seed)
    sessions = []
    for _ in range(count):
        session = [0]
        while session[-1] != len(kernel.states) - 1:
            session.append(int(random.choice(len(kernel.states), p=kernel.matrix[session[-1]])))
        sessions.append(np.array(session))
    return sessions


def test_the_vocabulary_has_the_categories_and_weights_of_the_methodology() -> None:
    assert WEIGHTS == {"cart": 4.0, "dwell": 2.0, "nav": 1.0, "filter": 0.5}
    assert [weight(name) for name in ("add_item", "hover_title", "view_item", "search", START, END)] == [
        4.0, 2.0, 1.0, 0.5, 0.0, 0.0,
    ]  # fmt: skip
    assert set(ACTIONS.values()) == set(WEIGHTS)


@pytest.mark.parametrize(
    ("logged", "word"),
    [
        ("view_item_page", "view_item"), ("add_item_to_cart", "add_item"), ("hover_over_title", "hover_title"),
        ("checkout_start", "checkout"), ("purchase_complete", "purchase"), ("filter_for_price", "filter_price"),
        ("View-Item", "view_item"), ("hover_image", "hover_title"), ("filter_colour", "filter_price"),
        ("zzz", None), ("session_start", START),
    ],
)  # fmt: skip
def test_both_generations_of_names_map_to_one_vocabulary(logged: str, word: str | None) -> None:
    assert canonical(logged) == word


def test_unknown_names_are_reported_once() -> None:
    from collections import Counter

    assert is_known("view_item_page") and not is_known("hover_image")
    with pytest.warns(UserWarning, match=r"'hover_image' \(3\) as hover_title, 'zzz' \(1\) dropped") as told:
        report_unknown(Counter({"hover_image": 3, "zzz": 1, "view_item": 9}))
    assert len(told) == 1


def test_a_row_is_where_a_session_is() -> None:
    session = np.array([0, 1, 1, 2, 3])
    counts = kernels.transition_counts([session], 4)
    assert counts[1, 2] == 1 and counts[2, 1] == 0
    own = kernels.estimate([session], STATES, strength=0.0)
    np.testing.assert_allclose(own.matrix[1], [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(own.matrix[2], [0, 0, 0, 1])
    np.testing.assert_array_equal(own.counts, counts)


def test_smoothing_is_a_dirichlet_posterior_mean() -> None:
    own = kernels.estimate([np.array([0, 1, 1, 2, 3])], STATES, strength=3.0)
    # Row view_item: two transitions, and three of prior mass over three destinations.
    np.testing.assert_allclose(own.matrix[1], [0, (1 + 1) / 5, (1 + 1) / 5, 1 / 5])
    np.testing.assert_allclose(own.matrix.sum(1), 1.0, atol=1e-12)


def test_an_estimate_comes_back_to_its_kernel() -> None:
    kernel = Kernel(STATES, MATRIX)
    sessions = walk(kernel, 20_000)
    own = kernels.estimate(sessions, STATES, strength=0.0)
    visits = own.counts.sum(1)[:-1]
    error = np.sqrt(MATRIX[:-1] * (1 - MATRIX[:-1]) / np.maximum(visits[:, None], 1))
    assert np.all(np.abs(own.matrix[:-1] - MATRIX[:-1]) <= 4 * error + 1e-12)


def test_expected_visits_are_the_fundamental_matrix() -> None:
    kernel = Kernel(STATES, MATRIX)
    # 0.9 / (1 − 0.5) looks, a fifth of which buy.
    np.testing.assert_allclose(kernel.visits, [1.0, 1.8, 0.36, 1.0])
    assert kernel.purchase_rate == pytest.approx(0.36)
    assert kernel.mean_length == pytest.approx(2.16)


def test_default_kernels_say_what_they_are_and_reach_purchases() -> None:
    human, agent = kernels.default_kernels()
    for kernel in (human, agent):
        assert "illustrative" in kernel.source
        np.testing.assert_allclose(kernel.matrix.sum(1), 1.0, atol=1e-12)
    assert human.purchase_rate > 2 * agent.purchase_rate > 0
    at = human.states.index
    assert human.matrix[at("checkout"), at("purchase")] == 0.70
    assert agent.matrix[at("checkout"), at("purchase")] == 0.52
    assert human.matrix[at("add_item"), at(END)] == pytest.approx(0.18)
    assert agent.matrix[at("search"), at(END)] == pytest.approx(0.10)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_expansion_is_row_stochastic_and_factorises(width: int) -> None:
    human, _ = kernels.default_kernels()
    attention = np.random.default_rng(0).dirichlet(np.ones(width))
    dense = kernels.expand(human.matrix, attention)
    size = (len(human.states) - 2) * width + 2
    assert dense.shape == (size, size)
    np.testing.assert_allclose(dense.sum(1), 1.0, atol=1e-12)
    visits = np.linalg.inv(np.eye(size - 1) - dense[:-1, :-1])[0, 1:].reshape(-1, width)
    np.testing.assert_allclose(visits, human.visits[1:-1, None] * attention, rtol=1e-9)
    # Every block is the base probability times the attention, whatever product the session comes from.
    inner = human.matrix[1:-1, 1:-1]
    blocks = dense[1:-1, 1:-1].reshape(len(inner), width, len(inner), width)
    np.testing.assert_allclose(blocks, np.einsum("ef,i,j->eifj", inner, np.ones(width), attention))


@pytest.mark.parametrize("width", [1, 3])
def test_kernel_of_events_times_products_and_generic_states(width: int) -> None:
    """T·N + C states: visits of the expanded kernel are the kernel's, a product's by its attention.

    The one from the fundamental matrix of the expanded, the other from where sessions of the small are step by step.
    """
    attention = np.random.default_rng(1).dirichlet(np.ones(width))
    for kernel in kernels.storefront_kernels():
        assert kernel.generic == ("home", "login", "search", "listing", "checkout")
        product = kernel.product
        dense = kernels.expand(kernel.matrix, attention, product)
        num_generic = 5 + 2
        assert len(dense) == (len(kernel.states) - num_generic) * width + num_generic
        np.testing.assert_allclose(dense.sum(1), 1.0, atol=1e-12)
        visits = np.linalg.inv(np.eye(len(dense) - 1) - dense[:-1, :-1])[0]
        law, stepped = np.eye(len(kernel.states))[0], np.eye(len(kernel.states))[0]
        for _ in range(500):
            law = law @ kernel.matrix
            stepped += law
        expected = [stepped[s] * (attention if product[s] else np.ones(1)) for s in range(len(product) - 1)]
        np.testing.assert_allclose(visits, np.concatenate(expected), rtol=1e-9)


def test_storefront_is_the_fallback_with_detours() -> None:
    for shop, plain in zip(kernels.storefront_kernels(), kernels.default_kernels(), strict=True):
        assert "illustrative" in shop.source
        assert shop.purchase_rate == pytest.approx(plain.purchase_rate, rel=1e-12)
        # Watched on the fallback's states: hovering and the way through login cut out, both kinds of pages one.
        inner = [shop.states.index(name) for name in plain.states if name not in ("page_view", END)]
        pages = [shop.states.index(name) for name in ("home", "listing")]
        out = [i for i in range(len(shop.states) - 1) if i not in (*inner, *pages)]
        kept = [i for i in range(len(shop.states)) if i not in out]
        through = np.linalg.inv(np.eye(len(out)) - shop.matrix[np.ix_(out, out)])
        watched = (
            shop.matrix[np.ix_(kept, kept)] + shop.matrix[np.ix_(kept, out)] @ through @ shop.matrix[np.ix_(out, kept)]
        )
        name = [{"home": "page_view", "listing": "page_view"}.get(shop.states[i], shop.states[i]) for i in kept]
        for row, source in zip(watched, name, strict=True):
            lumped = np.array([row[[n == to for n in name]].sum() for to in plain.states])
            np.testing.assert_allclose(lumped, plain.matrix[plain.states.index(source)], atol=1e-12)


def test_generic_states_that_cannot_be_are_refused() -> None:
    with pytest.raises(kernels.KernelError, match="generic='purchase': accepted are events of the kernel but purchase"):
        kernels.Kernel(
            *(getattr(kernels.default_kernels()[0], name) for name in ("states", "matrix")), generic=("purchase",)
        )
    one = kernels.from_rows({START: {"search": 0.5}}, generic=["search"])
    with pytest.raises(kernels.KernelError, match="search is generic in one kernel only"):
        kernels.align([one, kernels.from_rows({START: {"search": 0.5}})])


def test_kinds_of_behaviour_are_found_where_there_are_two() -> None:
    looker = np.array([[0, 1, 0, 0], [0, 0.9, 0, 0.1], [0, 0, 0, 1], [0, 0, 0, 1.0]])
    buyer = np.array([[0, 1, 0, 0], [0, 0.05, 0.95, 0], [0, 0, 0, 1], [0, 0, 0, 1.0]])
    mixed = walk(Kernel(STATES, looker), 300, 1) + walk(Kernel(STATES, buyer), 100, 2)
    found = kernels.cluster(mixed, STATES, max_kinds=3, seed=0)
    assert len(found.kernels) >= 2 and found.held_out[2] > found.held_out[1]
    buys = [kernel.matrix[1, 2] for kernel in found.kernels]
    assert max(buys) > 0.85 and min(buys) < 0.1
    assert found.shares.sum() == pytest.approx(1.0)
    alike = kernels.cluster(walk(Kernel(STATES, MATRIX), 60, 3), STATES, max_kinds=1)
    assert len(alike.kernels) == 1


def test_aligned_kernels_share_their_states_and_their_law() -> None:
    small, big = Kernel(STATES, MATRIX), kernels.default_kernels()[0]
    one, two = kernels.align([small, big])
    assert one.states == two.states
    assert one.purchase_rate == pytest.approx(small.purchase_rate)
    assert two.mean_length == pytest.approx(big.mean_length)


def changed(row: int, column: int, value: float) -> np.ndarray:
    matrix = MATRIX.copy()
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        (changed(1, 2, -0.2), "view_item -> purchase = -0.2"),
        (changed(1, 2, np.nan), "view_item -> purchase = nan"),
        (changed(1, 2, 0.3), "row view_item sums to 1.1"),
        (changed(3, 3, 0.0), "row session_end sums to 0"),
        (np.array([[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1.0]]), "a session in session_start never ends"),
        (np.array([[0, 1, 0, 0], [0.5, 0, 0, 0.5], [0, 0, 0, 1], [0, 0, 0, 1.0]]), "view_item -> session_start = 0.5"),
        (
            np.array([[0, 1, 0, 0], [0, 1 - 1e-6, 0, 1e-6], [0, 0, 0, 1], [0, 0, 0, 1.0]]),
            "accepted is less than 10,000",
        ),
    ],
)
def test_what_is_no_kernel_is_refused(matrix: np.ndarray, told: str) -> None:
    with pytest.raises(KernelError, match=told.replace("(", r"\(")):
        Kernel(STATES, matrix)


def test_rows_that_say_too_much_or_unknown_things_are_refused() -> None:
    with pytest.raises(KernelError, match=r"row view_item sums to 1\.2"):
        kernels.from_rows({START: {"view_item": 1.0}, "view_item": {"view_item": 1.2}})
    with pytest.raises(KernelError, match="state 'jump'"):
        kernels.from_rows({START: {"jump": 1.0}})
    with pytest.raises(KernelError, match=r"accepted are numbers of at least 0 that sum to 1"):
        kernels.expand(MATRIX, np.array([0.5, 0.4]))
