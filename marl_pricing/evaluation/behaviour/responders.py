"""Sellers that are trained to answer: one in each seat of frozen policies, started from what sits there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.learning.learner import Learner
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.seats import Holder, SeatParams, seat_game, seat_params
from marl_pricing.learning.settings import CommonSettings, LearnerSettings
from marl_pricing.learning.state import Networks, TrainState, networks_of
from marl_pricing.learning.training import block_length
from marl_pricing.market import MarketParams, MarketShape, Policy

Array = jax.Array
Objective = Literal["shaped", "raw"]

RATE, ENTROPY = 0.001, 0.003
UPDATES = 20  # of each responder, where nothing else is asked for
LARGEST = 100  # responders × offers of a run that are trained without being asked for
SNAPSHOTS = 4  # of each responder, evenly over its training


class Place(NamedTuple):
    """Who responds: to what end, to which training seed's policy, in which seat."""

    objective: Objective
    seed: int
    seller: int


class Trained(NamedTuple):
    """Responders after some of their updates.

    Attributes:
        learner: whose actors they are.
        actors: [C, W, ...] of W places.
        updates: C numbers of updates.
    """

    learner: Learner
    actors: Any
    updates: list[int]


def objectives_of(params: MarketParams) -> tuple[Objective, ...]:
    """What sellers can respond with: r' and their own money, which are one where all are selfish, or one is alone."""
    omega = np.asarray(params.reward.omega)
    return ("raw",) if omega.size == 1 or bool((omega == 1.0).all()) else ("shaped", "raw")


def places_of(params: MarketParams, num_seeds: int, sellers: Sequence[int] | None = None) -> list[Place]:
    """All places to respond in.

    Args:
        sellers: in whose seats; None: in all.
    """
    seats = range(np.size(params.reward.omega)) if sellers is None else sellers
    return [Place(*own) for own in product(objectives_of(params), range(num_seeds), seats)]


def responder_settings(own: CommonSettings, num_updates: int) -> LearnerSettings:
    """How responders to a run's sellers are trained.

    The networks, γ and losses are the run's. Segments are short and few, since nothing has to be learned from the
    beginning; the step size begins at `RATE` and ends at a tenth, the entropy bonus is `ENTROPY` at first and 0 at the
    end, so that the greedy policy is not thrown away.

    Args:
        num_updates: the budget of each responder.
    """
    known = LearnerSettings.model_fields  # responders learn by MAPPO, whatever the run did
    data = {name: value for name, value in own.model_dump().items() if name in known} | {
        "algorithm": own.algorithm if isinstance(own, LearnerSettings) else "mappo",
        "num_updates": num_updates,
        "schedule_updates": None,  # a run that was lengthened has its own
        "num_envs": 16,
        "num_steps": 32,
        "num_epochs": 4,
        "num_minibatches": 2,
        "learning_rate": RATE,
        "learning_rate_end": RATE / 10,
        "schedule": "linear",
        "entropy_start": ENTROPY,
        "entropy_end": 0.0,
        "devices": "auto",
    }
    return LearnerSettings.model_validate(data)


class Plan(NamedTuple):
    """Whether responders are trained, and how; `reason` says why not, where one might expect it."""

    settings: LearnerSettings | None
    reason: str = ""


def plan_responders(
    wanted: int | Literal["auto"],
    shape: MarketShape,
    params: MarketParams,
    own: CommonSettings,
    sellers: Sequence[int] | None = None,
) -> Plan:
    """Responders to a run's sellers.

    Args:
        wanted: updates of each; 0 for none. `auto` takes `UPDATES` where responders × offers are at most `LARGEST`.
        own: settings of the run's learner.
        sellers: that learned; None: all.
    """
    if wanted != "auto":
        return Plan(responder_settings(own, wanted) if wanted else None)
    size = len(places_of(params, own.num_seeds, sellers)) * shape.num_offers
    if size > LARGEST:
        return Plan(
            None,
            f"best responses: responders × offers are {size}, more than {LARGEST}; best_response={UPDATES} trains them",
        )
    return Plan(responder_settings(own, UPDATES))


def _with_objective(params: MarketParams, objective: Objective) -> MarketParams:
    """r' at ω = 1 is the raw reward."""
    if objective == "shaped":
        return params
    return params.replace(reward=params.reward.replace(omega=jnp.ones_like(params.reward.omega)))


def _seated(params: MarketParams, learned: Sequence[Policy], place: Place) -> SeatParams:
    others = jnp.arange(params.reward.omega.size) != place.seller
    return seat_params(_with_objective(params, place.objective), [Holder(learned[place.seed].parameters, others)])


@lru_cache(maxsize=4)
def _program(learner: Learner) -> Program:
    """Runs of one market and learner share a compiled program."""
    return Program(learner)


def _start(program: Program, params: MarketParams, networks: Networks | None, places: Sequence[Place]) -> TrainState:
    """States with the host's networks; a new critic where the host's was trained for another reward, or in worlds that
    it was told of and nobody is told of here.
    """
    if networks is None:
        return program.init(params)
    seeds = jnp.array([place.seed for place in places])
    host = jax.tree.map(lambda leaf: jnp.asarray(leaf)[seeds], networks)
    other = jnp.array([place.objective != places[0].objective for place in places])
    wanted = networks_of(program.abstract_state(params)).critic
    there, here = ([leaf.shape for leaf in jax.tree.leaves(critic)] for critic in (host.critic, wanted))
    fits = there == here
    if fits and not other.any():
        return program.init(params, host)
    fresh = networks_of(program.init(params))
    if not fits:
        return program.init(params, Networks(host.actor, fresh.critic, fresh.statistics))

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(other.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

    critic, statistics = jax.tree.map(choose, (fresh.critic, fresh.statistics), (host.critic, host.statistics))
    return program.init(params, Networks(host.actor, critic, statistics))


def train_responders(
    shape: MarketShape,
    params: MarketParams,
    learned: Sequence[Policy],
    settings: LearnerSettings,
    networks: Networks | None = None,
    tell: Callable[[int], None] = lambda updates: None,
    sellers: Sequence[int] | None = None,
) -> Trained:
    """Train one responder for each of `places_of`, all in one program.

    Args:
        settings: of the responders; `num_updates` is the budget. The number of seeds is set here.
        networks: [R, ...] of the learned policies, to start from; None starts from new ones.
        tell: called with the number of updates done, after each snapshot.
        sellers: in whose seats; None: in all.

    Raises:
        ValueError: for policies that do not share one program.
    """
    host = learned[0]
    if any(own.act is not host.act or own.start is not host.start for own in learned):
        raise ValueError("learned: accepted are policies of one kind, which differ in their parameters only")
    places = places_of(params, len(learned), sellers)
    each = [_seated(params, learned, place) for place in places]
    own = settings.model_copy(update={"num_seeds": len(places)})
    learner = make_learner(own, shape, each[0], game=seat_game([host]))
    program = _program(learner)
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *each)
    state = _start(program, stacked, networks, places)
    block, updates = _block(own.num_updates), snapshots_of(own.num_updates)
    actors, done = [], 0
    for update in updates:
        while done < update:
            state, _ = program.train(state, stacked, block)
            done += block
        actors.append(jax.device_get(state.learnable.actor))
        tell(done)
    return Trained(learner, jax.tree.map(lambda *leaves: np.stack(leaves), *actors), updates)


def _block(num_updates: int) -> int:
    """Updates of one call; one length means one compilation."""
    return block_length(num_updates, -(-num_updates // SNAPSHOTS))


def snapshots_of(num_updates: int) -> list[int]:
    """Numbers of updates after which a snapshot is taken: about `SNAPSHOTS` of them, evenly."""
    block = _block(num_updates)
    every = block * -(-num_updates // (SNAPSHOTS * block))
    return sorted({*range(every, num_updates, every), num_updates})
