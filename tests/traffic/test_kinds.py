"""Row "detector" of the methodology's table: people and agents that come in several kinds of behaviour."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from marl_pricing.traffic import bank, chain, detection, kernels
from marl_pricing.traffic.kernels import Kernel, encode
from tests.traffic.visitors import with_sessions

STATES = ("session_start", "page_view", "view_item", "purchase", "session_end")


def kernel(stays: float) -> Kernel:
    """Sessions that look at pages and at items: from one look to the next they stay so often, else they change."""
    rows = {"session_start": {"page_view": 0.5, "view_item": 0.5}, "purchase": {}}
    for one, other in (("page_view", "view_item"), ("view_item", "page_view")):
        rows[one] = {one: stays, other: 0.9 - stays, "purchase": 0.1}
    return kernels.from_rows(rows)


def walk(own: Kernel, number: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    sessions = []
    for _ in range(number):
        path = ["session_start"]
        while path[-1] != "session_end" and len(path) < 40:
            path.append(str(random.choice(own.states, p=own.matrix[own.states.index(path[-1])])))
        sessions.append(encode(path[1:], STATES))
    return sessions


# People stay with what they look at, or go to and fro; agents do neither. On average both classes do the same.
PEOPLE = (kernel(0.87), kernel(0.03))
AGENTS = (kernel(0.45), kernel(0.45))


@pytest.fixture(scope="module")
def sessions() -> list[list[np.ndarray]]:
    """Of people and agents, 300 each, a half of each kind."""
    return [
        [s for number, own in enumerate(kinds) for s in walk(own, 150, 10 * label + number)]
        for label, kinds in enumerate((PEOPLE, AGENTS))
    ]


def ratios(fitted: list[list[np.ndarray]], judged: list[list[np.ndarray]], kinds: int) -> list[np.ndarray]:
    found = [kernels.fit_kinds(own, STATES, number, 1.0, 0) for own, number in zip(fitted, (kinds, 1), strict=True)]
    known = detection.kind_logs([[k.matrix for k in own] for own, _ in found], [shares for _, shares in found])
    return [detection.session_ratios(own, *known) for own in judged]


def test_detector_of_several_kinds(sessions: list[list[np.ndarray]]) -> None:
    """On sessions that nothing was fitted to, the mixture's area is at least one kernel's, and here far above it."""
    fitted = [own[::2] for own in sessions]
    judged = [own[1::2] for own in sessions]
    many, one = (detection.area(*ratios(fitted, judged, kinds)) for kinds in (2, 1))
    assert one < 0.6 and many > 0.75
    assert detection.kinds_help(sessions, STATES, [2, 1], 1.0)
    # The sum over kinds of their likelihoods, written out.
    found = [kernels.fit_kinds(own, STATES, number, 1.0, 0) for own, number in zip(fitted, (2, 1), strict=True)]
    log = [
        logsumexp(
            [
                np.log(share) + detection.log_kernel(k.matrix)[judged[0][0][:-1], judged[0][0][1:]].sum()
                for k, share in zip(own, shares, strict=True)
            ]
        )
        for own, shares in found
    ]
    assert ratios(fitted, judged, 2)[0][0] == pytest.approx(log[1] - log[0], abs=1e-9)


def test_detector_keeps_to_one_kernel_where_kinds_tell_less(sessions: list[list[np.ndarray]]) -> None:
    """Alike but for how often they buy: twelve kinds of noise tell them apart less well than one kernel does."""
    people = sessions[1][:80]
    agents = [np.append(own[:3], [3, 4]) for own in walk(kernel(0.45), 80, 7)]
    alike = [[*people[:40], *agents[:24]], [*agents[24:56], *people[40:50]]]
    known = [len(own) for own in alike]
    assert min(known) >= 16
    assert not detection.kinds_help(alike, STATES, [12, 12], 0.01)
    assert not detection.kinds_help([own[:12] for own in alike], STATES, [2, 2], 1.0)  # too few to split


@pytest.mark.slow
def test_detector_in_the_market_scores_by_the_mixture(tmp_path: Path, sessions: list[list[np.ndarray]]) -> None:
    """A log of such sessions: banks and chains carry the mixture's ratio, and tell agents better than one kernel."""
    path = tmp_path / "log.csv"
    lines = ["visit,when,event,item,label"]
    for label, own in zip(("person", "agent"), sessions, strict=True):
        for number, session in enumerate(own):
            for step, state in enumerate(session[1:-1] if session[-1] == 4 else session[1:]):
                lines.append(f"{label}{number},{1_700_000_000 + 3600 * number + step},{STATES[state]},a,{label}")
    path.write_text("\n".join(lines) + "\n")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "session: visit\ntime: when\nevent: event\nitem: item\nlabel: label\nhuman: [person]\nagent: [agent]\n"
    )
    log = {"log": str(path), "log_mapping": str(mapping)}
    areas = []
    for kinds in (1, 2):
        own = with_sessions("bank", traffic=log | {"kinds": kinds})
        params = own.params.traffic.sessions
        areas.append(detection.area(*np.asarray(params.bank.log_ratio, float)))
        assert (params.kind_logs is None) == (kinds == 1)
    assert areas[0] < 0.6 and areas[1] > 0.75
    # A walk's ratio is that of the sessions it walked; and of real sessions in a bank.
    rows = bank.from_sessions([sessions[0][:20], sessions[1][:20]], own.shape.traffic, params, 20)
    kept = [np.sort(detection.session_ratios(s[:20], params.kind_logs, params.kind_weights)) for s in sessions]
    np.testing.assert_allclose(np.sort(np.asarray(rows.log_ratio), -1), kept, rtol=1e-4, atol=1e-4)
    walked = chain.walk(jax.random.key(0), own.shape.traffic, params, jnp.zeros((400,), jnp.int32), 40)
    assert detection.area(np.asarray(walked.log_ratio), np.asarray(params.bank.log_ratio[1])) > 0.75
    np.testing.assert_array_equal(np.sign(walked.gap), np.sign(walked.log_ratio))
