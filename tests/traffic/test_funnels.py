"""Funnels of sessions: read as they are, and kernels brought to them exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from marl_pricing.traffic import funnels, kernels
from marl_pricing.traffic.events import ACTIONS, END, START
from marl_pricing.traffic.funnels import Funnel, FunnelError
from marl_pricing.traffic.logs.simulation import walk

HUMAN, AGENT = kernels.default_kernels()
# What the published table of 12,330 sessions comes to.
PUBLISHED = Funnel(34.5857, 0.4193, 0.154745, 0.003257, 12_330)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_shoppers_intention.csv"
HEADER = "Administrative,Administrative_Duration,Informational,ProductRelated,Month,Revenue"
# Sessions go on after a purchase, and buy again.
AGAIN = kernels.from_rows(
    {
        START: {"page_view": 0.9},
        "page_view": {"page_view": 0.5, "purchase": 0.2, "hover_title": 0.1},
        "hover_title": {"page_view": 0.8},
        "purchase": {"page_view": 0.4},
    }
)


def table(tmp_path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "sessions.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_table_of_sessions_is_counted(tmp_path) -> None:
    rows = ["0,-1,0,1,Feb,FALSE", "2,3.5,1,7,May,TRUE", "0,0,0,0,May,FALSE", ",0,0,4,May,FALSE", "1,0,0,4,Nov,True"]
    funnel = funnels.read_funnel(table(tmp_path, *rows))
    # The fourth session's pages are not known.
    pages = np.array([1, 10, 0, 5])
    assert funnel.pages_mean == pages.mean() and funnel.pages_se == pytest.approx(pages.std(ddof=1) / 2)
    assert funnel.purchase_share == 0.4 and funnel.purchase_se == pytest.approx(np.sqrt(0.4 * 0.6 / 5))
    assert (funnel.sessions, funnel.unknown_pages) == (5, 1)
    if SHARED.exists():
        found = funnels.read_funnel(SHARED)
        assert found.pages_mean == pytest.approx(PUBLISHED.pages_mean, abs=1e-4)
        assert found.pages_se == pytest.approx(PUBLISHED.pages_se, abs=1e-4)
        assert found.purchase_share == pytest.approx(PUBLISHED.purchase_share, abs=1e-6)
        assert found.purchase_se == pytest.approx(PUBLISHED.purchase_se, abs=1e-6)
        assert (found.sessions, found.unknown_pages) == (12_330, 14)


@pytest.mark.parametrize(
    ("rows", "header", "told"),
    [
        (["1,2"], "sid,Revenue", "no column Administrative, Informational, ProductRelated: accepted is"),
        (["0,0,0,1,Feb,FALSE", "0,0,-2,1,Feb,FALSE"], HEADER, "csv:3: Informational='-2': accepted is a whole"),
        (["0,0,0,1.5,Feb,FALSE"] * 2, HEADER, "csv:2: ProductRelated='1.5'"),
        (["0,0,many,1,Feb,FALSE"] * 2, HEADER, "csv:2: Informational='many'"),
        (["0,0,0,1,Feb,FALSE", "0,0,0,1,Feb,"], HEADER, "csv:3: Revenue='': accepted is TRUE or FALSE"),
        (["0,0,0,1,Feb,FALSE"], HEADER, "1 sessions: accepted are at least 2"),
        ([",0,0,1,Feb,FALSE"] * 3, HEADER, "pages of 0 sessions are known"),
        (['"0,0,0,1'], HEADER, "no table can be read"),
    ],
)
def test_another_table_is_refused(tmp_path, rows: list[str], header: str, told: str) -> None:
    path = table(tmp_path, *rows, header=header)
    with pytest.raises(FunnelError, match=told) as caught:
        funnels.read_funnel(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_what_is_no_table_is_refused(tmp_path) -> None:
    with pytest.raises(FunnelError, match="there is no such file"):
        funnels.read_funnel(tmp_path / "none.csv")
    for content, told in (
        (b"", ": no table can be read"), (b"\xff\xfea\x00", ", line 1: is no UTF-8"),
        (b"a\0", ", line 1: there is a NUL"), (b'"' * 99 + b"\n" * 9, ": no"), (b"\x1f\x8b\0", ", line 1: is no UTF-8"),
    ):  # fmt: skip
        (tmp_path / "odd.csv").write_bytes(content)
        with pytest.raises(FunnelError, match=rf"odd\.csv{told}"):
            funnels.read_funnel(tmp_path / "odd.csv")


def simulated(kernel: kernels.Kernel, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pages, whether bought, and events of each session."""
    session, state = walk(kernel, count, np.random.default_rng(seed))
    names = np.array(kernel.states)[state]
    category = np.array([ACTIONS.get(name) for name in kernel.states], object)[state]
    opening = np.isin(category.astype(str), ["nav", "filter"])
    return (
        np.bincount(session, opening, count),
        np.bincount(session, names == "purchase", count) > 0,
        np.bincount(session, ~np.isin(names, [START, END]), count),
    )


@pytest.mark.parametrize("kernel", [HUMAN, AGENT, AGAIN], ids=["human", "agent", "again"])
@pytest.mark.parametrize("funnel", [PUBLISHED, Funnel(3.0, 0.1, 0.3, 0.01, 100), Funnel(0.7, 0.1, 0.02, 0.01, 100)])
def test_a_matched_kernel_has_the_funnel(kernel: kernels.Kernel, funnel: Funnel) -> None:
    matched = funnels.match(kernel, funnel)
    assert funnels.expected_pages(matched) == pytest.approx(funnel.pages_mean, rel=1e-9)
    assert funnels.purchase_probability(matched) == pytest.approx(funnel.purchase_share, rel=1e-9)
    assert ((matched.matrix > 0) == (kernel.matrix > 0)).all()
    count = 20_000
    pages, bought, _ = simulated(matched, count, 7)
    assert abs(pages.mean() - funnel.pages_mean) < 4 * pages.std(ddof=1) / np.sqrt(count)
    share = funnel.purchase_share
    assert abs(bought.mean() - share) < 4 * np.sqrt(share * (1 - share) / count)


def test_a_kernel_that_has_the_funnel_stays() -> None:
    own = Funnel(funnels.expected_pages(HUMAN), 0.1, funnels.purchase_probability(HUMAN), 0.1, 100)
    np.testing.assert_allclose(funnels.match(HUMAN, own).matrix, HUMAN.matrix, atol=1e-9)


def test_no_kernel_with_the_funnel_is_nearer() -> None:
    # Relative entropy of laws of sessions is the rows' entropies weighed with the visits. A kernel with the same pages
    # and purchases is made by matching another one; what lies between both is matched again.
    funnel = Funnel(5.0, 0.1, 0.1, 0.01, 100)
    nearest = funnels.match(HUMAN, funnel)

    def entropy(kernel: kernels.Kernel) -> float:
        ratio = np.where(kernel.matrix > 0, kernel.matrix / np.where(HUMAN.matrix > 0, HUMAN.matrix, 1.0), 1.0)
        return float(kernel.visits @ (kernel.matrix * np.log(ratio)).sum(1))

    generator = np.random.default_rng(0)
    for scale in (0.05, 0.3):
        matrix = HUMAN.matrix * np.exp(scale * generator.standard_normal(HUMAN.matrix.shape))
        other = funnels.match(kernels.Kernel(HUMAN.states, matrix / matrix.sum(1, keepdims=True)), funnel)
        assert entropy(other) > entropy(nearest) + 1e-6 * scale


def test_purchases_that_repeat_count_once() -> None:
    assert funnels.purchase_probability(AGAIN) < AGAIN.purchase_rate
    _, bought, _ = simulated(AGAIN, 100_000, 3)
    share = funnels.purchase_probability(AGAIN)
    assert abs(bought.mean() - share) < 4 * np.sqrt(share * (1 - share) / 100_000)


@pytest.mark.parametrize(
    ("rows", "funnel", "told"),
    [
        ({START: {"page_view": 0.5}}, (0.4, 0.1), "never reach purchase"),
        # Each session has a page and then may buy: never more than one page, never fewer.
        (
            {START: {"page_view": 1.0}, "page_view": {"purchase": 0.5}},
            (1.5, 0.1),
            "1.5 pages of a session cannot be reached: reachable are 1 to 1",
        ),
        # Who sees a page buys: a session in two has a page, and so one in two buys.
        (
            {START: {"page_view": 0.5}, "page_view": {"purchase": 1.0}},
            (0.5, 0.2),
            "a purchase share of 0.2 with 0.5 pages cannot be reached: reachable are 0.5 to 0.5",
        ),
        ({START: {"page_view": 0.5}, "page_view": {"purchase": 0.5}}, (0.5, 0.0), "accepted are pages above 0"),
        ({START: {"page_view": 0.5}, "page_view": {"purchase": 0.5}}, (np.nan, 0.5), "pages_mean=nan"),
    ],
)
def test_what_cannot_be_reached_is_refused(rows: dict, funnel: tuple[float, float], told: str) -> None:
    with pytest.raises(FunnelError, match=told):
        funnels.match(kernels.from_rows(rows), Funnel(funnel[0], 0.1, funnel[1], 0.1, 100))


@pytest.mark.parametrize("kernel", [HUMAN, AGENT, AGAIN], ids=["human", "agent", "again"])
def test_few_sessions_are_longer_than_the_longest(kernel: kernels.Kernel) -> None:
    inside = kernel.matrix[:-1, :-1]
    for tail in (0.3, 1e-2, 1e-6):
        bound = funnels.longest(kernel, tail)
        beyond = [np.linalg.matrix_power(inside, n)[0].sum() for n in (bound, bound + 1)]
        assert beyond[0] >= tail > beyond[1]
    bound = funnels.longest(kernel, 1e-2)
    _, _, events = simulated(kernel, 50_000, 5)
    share = np.linalg.matrix_power(inside, bound + 1)[0].sum()
    assert abs((events > bound).mean() - share) < -norm.ppf(3e-5) * np.sqrt(share / 50_000)
    with pytest.raises(FunnelError, match="tail=0"):
        funnels.longest(kernel, 0.0)
