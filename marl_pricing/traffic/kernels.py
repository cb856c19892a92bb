"""How sessions move: transition kernels over events, estimated, checked, expanded to products.

A kernel's row is where a session is, its column where it goes next. Every session starts in `session_start` and is over
when it reaches `session_end`; so a purchase is an event like any other, and it is reached before the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from marl_pricing.traffic.events import ACTIONS, END, GENERIC, PURCHASE, START, weight

Array = np.ndarray

_SUM_TOLERANCE = 1e-6
# Beyond this many expected events a session is taken for one that never ends.
_LONGEST_MEAN = 10_000.0


class KernelError(ValueError):
    """A kernel is none: the message names the row and what is wrong with it."""


@dataclass(frozen=True)
class Kernel:
    """Transition probabilities between events.

    Attributes:
        states: names of the events, `session_start` first and `session_end` last.
        matrix: [E, E] float64, row = source, column = destination; the last row stays where it is.
        counts: [E, E] transitions that the probabilities were estimated from; None where they were given.
        source: where the numbers come from, for people.
        generic: states that are about no product, beside the start and the end.
    """

    states: tuple[str, ...]
    matrix: Array
    counts: Array | None = None
    source: str = ""
    generic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self.states, self.matrix)
        wrong = [name for name in self.generic if name not in self.states[1:-1] or name == PURCHASE]
        if wrong:
            inner = [name for name in self.states[1:-1] if name != PURCHASE]
            told = f"accepted are events of the kernel but {PURCHASE}: {', '.join(inner)}"
            raise KernelError(f"generic={wrong[0]!r}: {told}")

    @property
    def product(self) -> Array:
        """Whether each state is about a product, [E] bool."""
        return np.array([state not in (START, END, *self.generic) for state in self.states])

    @property
    def visits(self) -> Array:
        """Expected number of times [E] that a session is in each state, from the fundamental matrix (I − Q)⁻¹.

        Kemeny and Snell 1960, theorem 3.2.4; `session_end` counts once.
        """
        transient = self.matrix[:-1, :-1]
        return np.append(np.linalg.inv(np.eye(len(transient)) - transient)[0], 1.0)

    @property
    def purchase_rate(self) -> float:
        """Expected purchases of a session."""
        return float(self.visits[self.states.index(PURCHASE)]) if PURCHASE in self.states else 0.0

    @property
    def mean_length(self) -> float:
        """Expected events of a session, its start and end not counted."""
        return float(self.visits[1:-1].sum())

    @property
    def weights(self) -> Array:
        """What each state counts in the demand proxy [E]."""
        return np.array([weight(state) for state in self.states])


def check(states: Sequence[str], matrix: Array) -> None:
    """Refuse what is no kernel.

    Raises:
        KernelError: for names that are not in the vocabulary, entries that are negative or no number, rows that do not
            sum to one, a start that is returned to, an end that is left, sessions that never end.
    """
    inner = [str(name) for name in states][1:-1]
    unknown = [name for name in inner if name not in ACTIONS]
    if len(states) < 3 or states[0] != START or states[-1] != END or unknown or len(set(states)) != len(states):
        raise KernelError(
            f"states={list(states)}: accepted is {START}, some of {', '.join(ACTIONS)}, and {END}, each once"
        )
    if matrix.shape != (len(states), len(states)):
        raise KernelError(f"matrix of shape {matrix.shape}: accepted is one row and one column a state, {len(states)}")
    for name, row in zip(states, matrix, strict=True):
        for to, value in zip(states, row, strict=True):
            if not np.isfinite(value) or value < 0:
                raise KernelError(f"{name} -> {to} = {value}: accepted is a number of at least 0")
        if abs(row.sum() - 1.0) > _SUM_TOLERANCE:
            raise KernelError(f"row {name} sums to {row.sum():.6g}: accepted is 1")
        if row[0] > 0:
            raise KernelError(f"{name} -> {START} = {row[0]:.6g}: accepted is 0, a session starts once")
    if matrix[-1, -1] != 1.0:
        raise KernelError(f"row {END} leaves the end: accepted is {END} -> {END} = 1")
    # A state counts if a session can reach it; from each of those the end has to be reachable.
    reachable = _reach(matrix, 0)
    endless = [states[int(i)] for i in np.flatnonzero(reachable) if not _reach(matrix, int(i))[-1]]
    if endless:
        raise KernelError(f"a session in {endless[0]} never ends: accepted is a kernel that can reach {END} from there")
    transient = np.flatnonzero(reachable[:-1])
    inside = matrix[np.ix_(transient, transient)]
    mean = float(np.linalg.solve(np.eye(len(transient)) - inside, np.ones(len(transient)))[0])
    if not 0 < mean < _LONGEST_MEAN:
        raise KernelError(f"sessions of {mean:.4g} events on average: accepted is less than {_LONGEST_MEAN:,.0f}")


def _reach(matrix: Array, start: int) -> Array:
    """States [E] bool that can be reached from one, itself included."""
    seen = np.zeros(len(matrix), bool)
    seen[start] = True
    for _ in range(len(matrix)):
        seen |= (matrix[seen] > 0).any(0)
    return seen


def from_rows(rows: Mapping[str, Mapping[str, float]], source: str = "", generic: Sequence[str] = ()) -> Kernel:
    """A kernel from {event: {next event: probability}}; what is missing to one goes to `session_end`.

    Raises:
        KernelError: as `check`; also for a row that sums to more than one.
    """
    named = {START, END, *rows, *(to for row in rows.values() for to in row)}
    states = (START, *(name for name in ACTIONS if name in named), END)
    unknown = sorted(named - set(states))
    if unknown:
        raise KernelError(f"state {unknown[0]!r}: accepted are {START}, {', '.join(ACTIONS)} and {END}")
    matrix = np.zeros((len(states), len(states)))
    for name, row in rows.items():
        for to, value in row.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise KernelError(f"{name} -> {to} = {value!r}: accepted is a number of at least 0")
            matrix[states.index(name), states.index(to)] = value
    for index, name in enumerate(states[:-1]):
        rest = 1.0 - matrix[index].sum()
        if rest < -_SUM_TOLERANCE:
            raise KernelError(f"row {name} sums to {matrix[index].sum():.6g}: accepted is at most 1")
        # Rounding only: probabilities as people write them do not sum to one in binary.
        matrix[index, -1] += rest if abs(rest) > 1e-12 else 0.0
    matrix[-1] = 0.0
    matrix[-1, -1] = 1.0
    return Kernel(states, matrix, source=source, generic=tuple(name for name in generic if name in states))


_FALLBACK = "illustrative: PHANTOM's published fallback, the search row is ours; not estimated from data"
_ROWS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    START: ({"page_view": 0.80, "view_item": 0.15}, {"page_view": 0.90, "view_item": 0.08}),
    "page_view": ({"view_item": 0.55, "search": 0.25}, {"view_item": 0.40, "search": 0.35}),
    "view_item": ({"learn_more": 0.40, "add_item": 0.28}, {"learn_more": 0.55, "add_item": 0.15}),
    "learn_more": ({"add_item": 0.50, "view_item": 0.30}, {"add_item": 0.20, "view_item": 0.45}),
    "add_item": ({"checkout": 0.58, "view_item": 0.24}, {"checkout": 0.42, "view_item": 0.28}),
    "checkout": ({"purchase": 0.70}, {"purchase": 0.52}),
    "search": ({"page_view": 0.60, "view_item": 0.25}, {"page_view": 0.60, "view_item": 0.30}),
    "purchase": ({}, {}),
}


def default_kernels() -> tuple[Kernel, Kernel]:
    """The kernels of people and of agents that ship with the product. They are illustrative, and say so."""
    human, agent = ({name: pair[y] for name, pair in _ROWS.items()} for y in (0, 1))
    return from_rows(human, _FALLBACK), from_rows(agent, _FALLBACK)


_STOREFRONT = "illustrative: the fallback with home, listing, login and hovering; not estimated from data"
# Chances of people and of agents: to hover after a look at a product, to hover on, to log in before the checkout.
_HOVERS, _HOVERS_ON, _LOGS_IN = (0.45, 0.08), (0.35, 0.10), (0.35, 0.10)
_HOVERED = {"hover_title": 0.5, "hover_paragraph": 0.35, "hover_link": 0.15}


def _storefront_rows(own: int) -> dict[str, dict[str, float]]:
    plain = {name: pair[own] for name, pair in _ROWS.items()}

    def leave(row: Mapping[str, float], page: str) -> dict[str, float]:
        return {page if name == "page_view" else name: value for name, value in row.items()}

    def detour(row: Mapping[str, float], chance: float) -> dict[str, float]:
        kept = {name: (1.0 - chance) * value for name, value in row.items()}
        return kept | {name: chance * share for name, share in _HOVERED.items()}

    rows = {name: leave(row, "home" if name == START else "listing") for name, row in plain.items()}
    page, look, cart = rows.pop("page_view"), rows["view_item"], rows["add_item"]
    direct = cart.pop("checkout")
    rows |= {
        "home": page,
        "listing": page,
        "view_item": detour(look, _HOVERS[own]),
        **dict.fromkeys(_HOVERED, detour(look, _HOVERS_ON[own])),
        "add_item": {**cart, "login": direct * _LOGS_IN[own], "checkout": direct * (1.0 - _LOGS_IN[own])},
        "login": {"checkout": 1.0},
    }
    return rows


def storefront_kernels() -> tuple[Kernel, Kernel]:
    """Kernels of people and of agents with generic states and dwell events, illustrative as the fallback is.

    Pages are `home` (the first) and `listing`, carts may lead through `login`, looks at a product may end in hovering
    over it. All of these are detours: watched on the fallback's states, sessions move as the fallback's, and buy as
    often (Kemeny and Snell 1960, section 6.1).
    """
    human, agent = (from_rows(_storefront_rows(own), _STOREFRONT, GENERIC) for own in (0, 1))
    return human, agent


def transition_counts(sessions: Sequence[Array], num_states: int) -> Array:
    """Transitions [E, E] in sessions of state numbers; each begins with 0 and ends with E − 1."""
    counts = np.zeros((num_states, num_states))
    for session in sessions:
        np.add.at(counts, (session[:-1], session[1:]), 1.0)
    return counts


def smoothed(counts: Array, strength: float) -> Array:
    """Posterior mean [E, E] under a symmetric Dirichlet law of total mass `strength` a row.

    The mass is spread over all destinations but `session_start`. With strength 0 this is the maximum-likelihood
    estimate N(s, s') / Σ_k N(s, k) (the PHANTOM methodology, transition probability estimation), and a row that was
    never seen goes to the end.
    """
    size = len(counts)
    prior = np.full(size, strength / (size - 1))
    prior[0] = 0.0
    mass = counts + prior
    total = mass.sum(1, keepdims=True)
    matrix = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    matrix[total[:, 0] == 0, -1] = 1.0
    matrix[-1] = 0.0
    matrix[-1, -1] = 1.0
    return matrix


def estimate(sessions: Sequence[Array], states: tuple[str, ...], strength: float = 1.0, source: str = "") -> Kernel:
    """A class's kernel from its sessions, with the counts kept.

    Args:
        sessions: state numbers of each session, from 0 (start) to E − 1 (end); see `encode`.
        strength: mass of the Dirichlet prior of a row, in transitions; 0 for plain maximum likelihood.

    Raises:
        KernelError: without sessions, or for a negative strength.
    """
    if not len(sessions):
        raise KernelError("sessions: there are none to estimate a kernel from")
    if not strength >= 0:
        raise KernelError(f"smoothing={strength!r}: accepted is a number of at least 0")
    counts = transition_counts(sessions, len(states))
    told = source or f"estimated from {len(sessions):,} sessions, Dirichlet strength {strength:g}"
    return Kernel(states, smoothed(counts, strength), counts, told)


def encode(events: Sequence[str], states: tuple[str, ...]) -> Array:
    """State numbers of one session's events, with its start and end put around them."""
    inner = [states.index(event) for event in events if event not in (START, END)]
    return np.array([0, *inner, len(states) - 1])


def states_of(sessions: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The states that sessions need, in the vocabulary's order."""
    seen = {event for session in sessions for event in session}
    return (START, *(action for action in ACTIONS if action in seen), END)


def align(kernels: Sequence[Kernel]) -> list[Kernel]:
    """The same kernels over one set of states; a state that one of them lacks is never entered there.

    Raises:
        KernelError: if a state of two of them is generic in one only.
    """
    names = {state for kernel in kernels for state in kernel.states}
    states = (START, *(action for action in ACTIONS if action in names), END)
    generic = tuple(state for state in states if any(state in kernel.generic for kernel in kernels))
    for kernel in kernels:
        odd = [state for state in generic if state in kernel.states and state not in kernel.generic]
        if odd:
            raise KernelError(f"{odd[0]} is generic in one kernel only: accepted is both or none")
    aligned = []
    for kernel in kernels:
        place = [states.index(state) for state in kernel.states]
        matrix, counts = np.zeros((len(states), len(states))), None
        matrix[np.ix_(place, place)] = kernel.matrix
        absent = [i for i in range(len(states)) if i not in place]
        matrix[absent, -1] = 1.0
        if kernel.counts is not None:
            counts = np.zeros_like(matrix)
            counts[np.ix_(place, place)] = kernel.counts
        aligned.append(Kernel(states, matrix, counts, kernel.source, generic))
    return aligned


def log_likelihood(sessions: Sequence[Array], matrix: Array) -> Array:
    """Log-likelihood of each session under a kernel [sessions]; −inf where it does what the kernel cannot."""
    with np.errstate(divide="ignore"):
        logs = np.log(matrix)
    return np.array([logs[session[:-1], session[1:]].sum() for session in sessions])


@dataclass(frozen=True)
class Behaviours:
    """Sub-kernels of one class: a session follows one of them throughout.

    Attributes:
        kernels: one a kind of behaviour, over the same states.
        shares: [G] how common each is; they sum to 1.
        held_out: mean log-likelihood of a held-out session for each number of kinds that was tried.
    """

    kernels: tuple[Kernel, ...]
    shares: Array
    held_out: dict[int, float]


def fit_kinds(
    sessions: Sequence[Array], states: tuple[str, ...], kinds: int, strength: float, seed: int
) -> tuple[list[Kernel], Array]:
    """(kernels of so many kinds of behaviour, or fewer where some stay empty; their shares), by k-means (scikit-learn).

    Sessions are described by their transition frequencies; each session's sum to one.
    """
    if kinds == 1:
        return [estimate(sessions, states, strength)], np.ones(1)
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    table = np.stack([transition_counts([session], len(states)).ravel() / (len(session) - 1) for session in sessions])
    with threadpool_limits(1):  # tables are small, and threads that wait for each other cost more than they save
        labels = KMeans(kinds, n_init=10, random_state=seed).fit_predict(table)
    groups = [[own for own, label in zip(sessions, labels, strict=True) if label == k] for k in np.unique(labels)]
    shares = np.array([len(group) for group in groups]) / len(sessions)
    return [estimate(group, states, strength) for group in groups], shares


def cluster(
    sessions: Sequence[Array], states: tuple[str, ...], max_kinds: int = 4, strength: float = 1.0, seed: int = 0
) -> Behaviours:
    """Kinds of behaviour within a class, their number by held-out likelihood.

    For each number of kinds a mixture of the clusters' kernels (`fit_kinds`) is fitted on three quarters of the
    sessions and judged on the rest; the best number is then fitted on all.

    Raises:
        KernelError: with fewer than 8 sessions (6 to fit, 2 to judge), or max_kinds below 1.
    """
    from scipy.special import logsumexp

    if max_kinds < 1:
        raise KernelError(f"max_kinds={max_kinds!r}: accepted is a whole number of at least 1")
    if len(sessions) < 8:
        raise KernelError(f"{len(sessions)} sessions: accepted are at least 8 to look for kinds of behaviour")
    order = np.random.default_rng(seed).permutation(len(sessions))
    judged, fitted = order[: max(2, len(order) // 4)], order[max(2, len(order) // 4) :]
    seen, unseen = [sessions[i] for i in fitted], [sessions[i] for i in judged]
    held_out: dict[int, float] = {}
    for kinds in range(1, min(max_kinds, len(fitted) // 2) + 1):
        kernels, shares = fit_kinds(seen, states, kinds, strength, seed)
        each = np.stack([np.log(s) + log_likelihood(unseen, k.matrix) for k, s in zip(kernels, shares, strict=True)])
        held_out[kinds] = float(logsumexp(each, axis=0).mean())
    best = max(held_out, key=lambda kinds: (held_out[kinds], -kinds))
    kernels, shares = fit_kinds(sessions, states, best, strength, seed)
    return Behaviours(tuple(kernels), shares, held_out)


def expand(matrix: Array, attention: Array, product: Array | None = None) -> Array:
    """A kernel over T events × N products and C generic states (the PHANTOM methodology, product expansion).

    Each cell of the base matrix becomes a block in which the destination's product is drawn by `attention`; so the
    block [event, event'] is T[event, event'] · 1 attentionᵀ, a Kronecker product, and rows still sum to one. A generic
    state has one row and one column.

    Args:
        matrix: [E, E].  attention: [N] ≥ 0, sums to one.
        product: [E] bool, states that are about a product (`Kernel.product`); None: all but the start and the end.

    Returns:
        [T·N + C, T·N + C]: state by state, its N products or itself.

    Raises:
        KernelError: if the attention is no distribution.
    """
    attention = np.asarray(attention, np.float64)
    if np.any(~(attention >= 0)) or abs(attention.sum() - 1.0) > _SUM_TOLERANCE:
        raise KernelError(f"attention={attention.tolist()}: accepted are numbers of at least 0 that sum to 1")
    if product is None:
        product = np.arange(len(matrix)) % (len(matrix) - 1) > 0
    state = np.repeat(np.arange(len(matrix)), np.where(product, attention.size, 1))
    drawn = np.concatenate([attention if own else np.ones(1) for own in product])
    return matrix[np.ix_(state, state)] * drawn
