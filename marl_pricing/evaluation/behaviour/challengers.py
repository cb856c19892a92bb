"""Who might do better in a learned seller's seat, and what each earns there under the same shoppers.

A challenger is the seller itself, a trained responder, the seller with its prices held at constants (its orders stay
its own), or a fitted rule. All are played by one compiled program, a batch of episodes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from marl_pricing.evaluation.play import play_episodes
from marl_pricing.learning.parallel import make_mesh
from marl_pricing.market import MarketParams, MarketShape, Observation, Policy, take
from marl_pricing.market.types import Action, MarketState
from marl_pricing.policies.targets import no_surprise, price_towards

Array = jax.Array

ITSELF, TRAINED, CONSTANT, RULE = range(4)
BATCH = 16  # episodes that are played side by side
_ROWS = 8  # batches of one call and device


class Challenger(NamedTuple):
    """Who sits in a seat.

    Attributes:
        kind: ITSELF, TRAINED, CONSTANT or RULE.
        number: of the trained responder, or of the rule, among the judge's.
        prices: [N] money, held at by a constant one.
    """

    kind: int
    number: int = 0
    prices: np.ndarray | None = None


class _Seated(NamedTuple):
    """Parameters of the policy that plays host and challenger."""

    host: Any
    network: Any
    rule: Any
    kind: Array
    prices: Array
    seat: Array


Act = Callable[..., tuple[Action, Any]]


@lru_cache(maxsize=64)
def _act(shape: MarketShape, host: Act, network: Act, rule: Act) -> Act:
    def act(
        own: _Seated, key: Array, memory: Any, observation: Observation, state: MarketState, params: MarketParams
    ) -> tuple[Action, Any]:
        # The host's key is the one it would have alone, so that a challenger changes nothing of the others' chance.
        action, host_memory = host(own.host, key, memory[0], observation, state, params)
        guest_key = jax.random.fold_in(key, 1)

        def itself() -> tuple[Action, Any]:
            return action, memory[1:]

        def trained() -> tuple[Action, Any]:
            answer, after = network(own.network, guest_key, memory[1], observation, state, params)
            return answer, (after, memory[2])

        def constant() -> tuple[Action, Any]:
            price = price_towards(shape, params, state.prices, own.prices)
            return action.replace(price=price, log_prob=no_surprise(shape)), memory[1:]

        def by_rule() -> tuple[Action, Any]:
            answer, after = rule(own.rule, guest_key, memory[2], observation, state, params)
            return answer, (memory[1], after)

        # The kind is the same for all episodes of a batch: one branch runs.
        answer, guests = jax.lax.switch(own.kind, [itself, trained, constant, by_rule])
        return take(answer, action, own.seat), (host_memory, *guests)

    return act


def _play(
    shape: MarketShape, act: Act, params: MarketParams, hosts: Any, networks: Any, rules: Any, memory: Any,
    weights: Array, items: dict[str, Array],
) -> Array:  # fmt: skip
    """Rewards [n, 2, 2, BATCH] of the seat: (r', money) × (mean over epochs, discounted sum)."""

    def pick(tree: Any, number: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[number], tree)

    def one(item: dict[str, Array]) -> Array:
        seller = item["seller"]
        seated = _Seated(
            pick(hosts, item["seed"]), pick(networks, item["number"]), pick(rules, item["number"]), item["kind"],
            item["prices"], jnp.arange(shape.num_sellers) == seller,
        )  # fmt: skip
        record = play_episodes(item["key"], shape, params, act, seated, memory, BATCH, item["first"])
        both = jnp.stack([record.reward_shaped, record.reward_raw]) * record.live
        own = jax.lax.dynamic_index_in_dim(both, seller, axis=3, keepdims=False)
        return jnp.stack([own.mean(-1), own @ weights], 1)

    return jax.lax.map(one, items)


@partial(jax.jit, static_argnums=(0, 1))
def _play_all(shape: MarketShape, act: Act, params: Any, hosts: Any, networks: Any, rules: Any, memory: Any,
              weights: Array, items: dict[str, Array]) -> Array:  # fmt: skip
    mesh = make_mesh(jax.device_count())
    shared = (P(),) * 6
    own = jax.shard_map(
        partial(_play, shape, act), mesh=mesh, in_specs=(*shared, P("env")), out_specs=P("env"), check_vma=False
    )
    return own(params, hosts, networks, rules, memory, weights, items)


class Judge:
    """Plays challengers in the seats of learned policies.

    Args:
        learned: one policy a training seed.
        network: a trained responder's policy, whose parameters do not count.  networks: [C, ...] all responders'.
        rule, rules: the same of fitted rules.
        discount: γ of the discounted rewards.
    """

    def __init__(
        self,
        shape: MarketShape,
        params: MarketParams,
        learned: Sequence[Policy],
        network: Policy,
        networks: Any,
        discount: float,
        rule: Policy,
        rules: Any,
    ) -> None:
        self._shape, self._params = shape, params
        self._hosts = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *(
            own.parameters for own in learned
        ))  # fmt: skip
        self._networks, self._rules = jax.tree.map(jnp.asarray, (networks, rules))
        self._memory = (learned[0].start(), network.start(), rule.start())
        self._act = _act(shape, learned[0].act, network.act, rule.act)
        self._weights = jnp.asarray(discount ** np.arange(shape.episode_length), jnp.float32)

    def rewards(
        self, key: Array, seats: Sequence[tuple[int, int]], challengers: Sequence[Challenger], episodes: int
    ) -> np.ndarray:
        """What each challenger earns in its seat.

        Args:
            key: of the shoppers; seed k's policy plays under it with k folded in.
            seats: (training seed, seller) of each challenger.

        Returns:
            [n, 2, 2, E]: (r', own money) × (mean over the epochs, discounted sum).
        """
        batches = -(-episodes // BATCH)
        index = np.repeat(np.arange(len(seats)), batches)
        num_offers = self._shape.num_offers
        nothing = np.zeros((num_offers,), np.float32)
        seeds, sellers = np.array(seats, np.int32).T
        keys = jax.vmap(partial(jax.random.fold_in, key))(seeds)
        items = {
            "seed": seeds[index],
            "seller": sellers[index],
            "kind": np.array([own.kind for own in challengers], np.int32)[index],
            "number": np.array([own.number for own in challengers], np.int32)[index],
            "prices": np.stack([nothing if own.prices is None else own.prices for own in challengers])[index],
            "first": np.tile(np.arange(batches, dtype=np.int32) * BATCH, len(seats)),
        }
        rows = _ROWS * jax.device_count()
        found = []
        for begin in range(0, len(index), rows):
            # The last call is filled up with what was played already, so that all calls are of one size.
            chosen = np.arange(begin, begin + rows) % len(index)
            part = {name: jnp.asarray(values[chosen]) for name, values in items.items()} | {"key": keys[index[chosen]]}
            own = _play_all(self._shape, self._act, self._params, self._hosts, self._networks, self._rules,
                            self._memory, self._weights, part)  # fmt: skip
            found.append(np.asarray(own, np.float64))
        values = np.concatenate(found)[: len(index)].reshape(len(seats), batches, 2, 2, BATCH)
        return np.moveaxis(values, 1, 3).reshape(len(seats), 2, 2, batches * BATCH)[..., :episodes]
