"""Adversarial matching of joint rollouts: generative adversarial imitation (Ho and Ermon 2016) from the cloning start.

1. Customers are rolled out for some days from what was known of them on a day of the log.
2. A discriminator learns to tell the days of the log from those that were rolled out: D is its probability that a day,
   what was known before it included, is the log's.
3. A day is rewarded with log D − log(1 − D), the log of how much likelier it is in the log (Fu, Luo and Levine 2018).
   −log(1 − D) alone is never negative; this form has no such bias (Kostrikov et al. 2019), and the scale of the
   likelihood beside it.
4. The customers' networks take clipped steps of PPO (Schulman et al. 2017) with the exact likelihood of what they drew.
   Beside it the likelihood of the log goes on to be learned: an anchor, since what nobody was offered in a rollout,
   and with it the response to a coupon, would drift.
5. Discriminators are no judge of themselves: what is kept is decided by Wasserstein distances between rollouts and the
   last days that are learned from, and cloning is kept unless it is beaten by more than its own draws differ.

Each member of an ensemble is matched to the customers that it was learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen
from pydantic import Field, model_validator

from marl_pricing.config.errors import Settings, refuse
from marl_pricing.learning.advantage import generalised_advantage
from marl_pricing.learning.losses import value_loss
from marl_pricing.learning.mappo.losses import policy_loss
from marl_pricing.presentation import pulse
from marl_pricing.virtual_market.answers import silu
from marl_pricing.virtual_market.memory import features
from marl_pricing.virtual_market.rollouts import Days, Offers, Rollouts, distance

Array = jax.Array
# (parameters of a member, weight of each customer [C], customer-days [B]) → − log likelihood of cloning
Likelihood = Callable[[Any, Array, Array], Array]

_EVERY = 10  # updates between looks at what would be kept
_WARM = 5  # updates in which discriminator and critic alone learn: before, they have nothing to say
_STEPS = 4  # of discriminator, critic and policy an update
_DRAWS = 4  # rollouts of all customers that a look takes
_WIDTH = 32  # of discriminator and critic
_RATE = 5e-3  # theirs: many times that of customers, of whom they would know the past
_CLIP = 0.2  # Schulman et al. 2017
_MOMENTUM = 0.0  # two that learn from each other swing with it
# An answer changes the next days' memories a little, and rewards of many days to come are mostly noise.
_GAMMA, _LAMBDA = 0.5, 0.95
_MOST_SHOWN = 4  # orders that the discriminator tells apart


class MatchingSettings(Settings):
    """How rollouts are matched; nothing of it is done where `matching` is 0."""

    matching: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0, description="updates of adversarial matching of rollouts after cloning; 0: cloning alone"
    )
    matching_days: Annotated[int, Field(ge=2, le=60)] = Field(14, description="of its rollouts")
    matching_windows: Annotated[int, Field(ge=16, le=65536)] = Field(
        128, description="rollouts of an update, of each member"
    )
    matching_anchor: Annotated[float, Field(ge=0)] = Field(
        1.0, description="weight of the log's likelihood beside the discriminator's rewards"
    )
    matching_rate: Annotated[float, Field(gt=0, le=1)] = Field(3e-4, description="learning rate of its steps")
    matching_offers: Offers = Field(
        "learned", description="of its rollouts: learned, handed out by what was learned of the platform; logged, what "
        "the log has on these days, which follow on what customers did there and not in the rollout",
    )  # fmt: skip

    @model_validator(mode="after")
    def _says_something(self) -> MatchingSettings:
        if not self.matching:
            for name, field in MatchingSettings.model_fields.items():
                if getattr(self, name) != field.default:
                    raise refuse(name, getattr(self, name), f"{field.default!r} where matching=0: it says nothing")
        return self


class Cloned(NamedTuple):
    """What matching begins with.

    Attributes:
        customers: parameters [K, ...] of `AnswerNetwork`.
        draws: [K, C] how often each member has each customer.
        likelihood: of the log's customer-days, as cloning had it.
        rows: how many of these there are.  batch: so many at once.
    """

    customers: Any
    draws: np.ndarray
    likelihood: Likelihood
    rows: int
    batch: int


class Matched(NamedTuple):
    """What came of it.

    Attributes:
        customers: parameters [K, ...], cloning's where nothing better came.
        told: [K, 3] update that was kept, 0 cloning; cloning's distance to the log; that of what was kept.
    """

    customers: Any
    told: np.ndarray


class _Scorer(linen.Module):
    """Rows [..., F] → a number [...]: the discriminator's log odds, the critic's value."""

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        hidden = silu(linen.Dense(_WIDTH)(inputs))
        hidden = silu(linen.Dense(_WIDTH)(hidden))
        return linen.Dense(1, kernel_init=linen.initializers.normal(0.01))(hidden)[..., 0]


def _score(network: Any, inputs: Array) -> Array:
    told: Any = _Scorer().apply(network, inputs)
    return told


class _Learner(NamedTuple):
    """A network that learns."""

    network: Any
    state: Any  # its optimiser's


class _Member(NamedTuple):
    """Those of one member."""

    customers: _Learner
    discriminator: _Learner
    critic: _Learner


def _met(rollouts: Rollouts, days: Days) -> Array:
    """[..., 47] what customers answer to."""
    own = features(days.memory, days.promotion, days.weekday, rollouts.usual)
    return jnp.concatenate([own, days.promotion[..., :1] / 5.0], axis=-1)


def _shown(rollouts: Rollouts, days: Days) -> Array:
    """[..., 53] the same and the answer, as the discriminator sees it."""
    orders, fee, before = days.answer[..., 0], days.answer[..., 1], days.memory[..., 2]
    counts = (jnp.minimum(orders, _MOST_SHOWN)[..., None] == jnp.arange(1, _MOST_SHOWN + 1)).astype(jnp.float32)
    log_fee = jnp.log(jnp.maximum(fee, 1e-3))
    usual = jnp.where(orders > 0, (log_fee - rollouts.usual_fee[0]) / rollouts.usual_fee[1], 0.0)
    shift = jnp.where((orders > 0) & (before > 0), log_fee - jnp.log(jnp.maximum(before, 1e-3)), 0.0)
    shift = jnp.clip(shift / (0.3 * rollouts.usual_fee[1]), -4.0, 4.0)
    return jnp.concatenate([_met(rollouts, days), counts, jnp.stack([usual, shift], axis=-1)], axis=-1)


def _valued(rollouts: Rollouts, days: Days) -> Array:
    """[N, W, 48] what the critic sees: what customers answer to, and how much of the window is left."""
    length = days.weekday.shape[0]
    left = jnp.broadcast_to(1.0 - jnp.arange(length)[:, None] / length, days.weekday.shape)
    return jnp.concatenate([_met(rollouts, days), left[..., None]], axis=-1)


def _advantage(reward: Array, value: Array) -> tuple[Array, Array]:
    """(advantages of mean 0, value targets) [N, W] of windows that end after their last day.

    Advantages keep their scale, that of log likelihoods: the less can be told apart, the less is done.
    """
    length = reward.shape[0]
    done = jnp.broadcast_to(jnp.arange(length)[:, None] == length - 1, value.shape)
    following = jnp.where(done, 0.0, jnp.roll(value, -1, axis=0))
    advantage, target = generalised_advantage(reward + _GAMMA * following, value, done, _GAMMA, _LAMBDA)
    return advantage - advantage.mean(), target


@dataclass(frozen=True, eq=False)
class _Matching:
    """What an update is made of."""

    how: MatchingSettings
    rollouts: Rollouts
    cloned: Cloned

    def optimisers(self) -> tuple[optax.GradientTransformation, ...]:
        """Of customers, discriminator and critic."""

        def of(rule: optax.GradientTransformation) -> Any:
            return optax.chain(optax.clip_by_global_norm(5.0), rule)

        judging = of(optax.adamw(_RATE, b1=_MOMENTUM, weight_decay=1e-3))
        rate = optax.cosine_decay_schedule(self.how.matching_rate, self.how.matching * _STEPS)
        return of(optax.adam(rate, b1=_MOMENTUM)), judging, judging

    def begin(self, key: Array, customers: Any) -> _Member:
        """A member before its first update."""
        keys = jax.random.split(key)
        day = jax.tree.map(lambda leaf: leaf[:1, :1], self.rollouts.log)
        networks = (
            customers,
            _Scorer().init(keys[0], _shown(self.rollouts, day)),
            _Scorer().init(keys[1], _valued(self.rollouts, day)),
        )
        return _Member(*(_Learner(own, rule.init(own)) for own, rule in zip(networks, self.optimisers(), strict=True)))

    def update(self, own: _Member, key: Array, people: Array, weight: Array, warm: Array) -> _Member:
        """One update of a member.

        Args:
            people: [C] customers that it is matched to; one may come several times.  weight: [C] how often each does.
            warm: [] bool, customers' networks stay as they are.
        """
        how = self.how
        for_customers, for_discriminator, for_critic = self.optimisers()
        keys = jax.random.split(key, 4)
        who = jax.random.choice(keys[0], people, (how.matching_windows,))
        first = jax.random.randint(keys[1], who.shape, 0, self.rollouts.days - how.matching_days + 1)
        real = self.rollouts.logged(who, first, how.matching_days)
        rolled = self.rollouts.roll(own.customers.network, keys[2], real, how.matching_offers)
        logged, drawn = _shown(self.rollouts, real), _shown(self.rollouts, rolled)

        def tell_apart(network: Any, _: None) -> Array:
            return jax.nn.softplus(-_score(network, logged)).mean() + jax.nn.softplus(_score(network, drawn)).mean()

        discriminator = _steps(for_discriminator, tell_apart, own.discriminator)
        reward = _score(discriminator.network, drawn)  # log D − log(1 − D)
        seen = _valued(self.rollouts, rolled)
        value = _score(own.critic.network, seen)
        advantage, target = _advantage(reward, value)
        live = jnp.ones_like(value)
        old = self.rollouts.log_prob(own.customers.network, rolled)

        def value_better(network: Any, _: None) -> Array:
            return value_loss(_score(network, seen), value, target, live, None) / live.size

        def answer_better(network: Any, index: Array) -> Array:
            loss, _ = policy_loss(self.rollouts.log_prob(network, rolled), old, advantage, live, _CLIP)
            return loss / live.size + how.matching_anchor * self.cloned.likelihood(network, weight, index)

        critic = _steps(for_critic, value_better, own.critic)
        rows = jax.random.randint(keys[3], (_STEPS, self.cloned.batch), 0, self.cloned.rows)
        moved = _steps(for_customers, answer_better, own.customers, rows)
        customers = jax.tree.map(lambda new, before: jnp.where(warm, before, new), moved, own.customers)
        return _Member(customers, discriminator, critic)

    def look(self, customers: Any, people: Array, key: Array) -> Array:
        """Distances [draws] of one member's rollouts under the logged offers to the last days of the log."""
        length = self.how.matching_days
        real = self.rollouts.logged(people, jnp.full(people.shape, self.rollouts.days - length), length)
        return jax.lax.map(
            lambda own: distance(self.rollouts.roll(customers, own, real, "logged"), real),
            jax.random.split(key, _DRAWS),
        )


def _steps(
    rule: optax.GradientTransformation, loss: Callable[[Any, Any], Array], own: _Learner, given: Array | None = None
) -> _Learner:
    """Steps down a loss(network, what is given of the step)."""

    def step(own: _Learner, given: Any) -> tuple[_Learner, None]:
        change, state = rule.update(jax.grad(loss)(own.network, given), own.state, own.network)
        return _Learner(optax.apply_updates(own.network, change), state), None

    return jax.lax.scan(step, own, given, length=_STEPS)[0]


def summary(how: MatchingSettings, told: np.ndarray) -> list[str]:
    """What came of matching, a line a member; told: [K, 3] as `Matched.told`."""
    return [
        f"matching, member {member}: "
        + (f"update {number:.0f} of {how.matching} kept" if number else f"none of {how.matching} updates kept")
        + f", distance of rollouts to the log {before:.4f} cloned, {after:.4f} kept"
        for member, (number, before, after) in enumerate(told)
    ]


def match(how: MatchingSettings, rollouts: Rollouts, cloned: Cloned, seed: int) -> Matched:
    """Go on from cloned customers; `seed` is of all that is drawn."""
    own = _Matching(how, rollouts, cloned)
    members, people = cloned.draws.shape
    lists = jnp.asarray([np.repeat(np.arange(people), drawn.astype(int)) for drawn in cloned.draws], jnp.int32)
    weight = jnp.asarray(cloned.draws, jnp.float32)
    keys = jax.random.split(jax.random.key(seed), 3)
    begin = jax.jit(jax.vmap(own.begin))
    update = jax.jit(jax.vmap(own.update, in_axes=(0, 0, 0, 0, None)))
    # The same draws at every look.
    look = jax.jit(lambda customers: jax.lax.map(lambda each: own.look(each[0], each[1], keys[2]), (customers, lists)))

    learned = begin(jax.random.split(keys[0], members), cloned.customers)
    first = np.asarray(look(cloned.customers))
    kept, told = cloned.customers, np.stack([np.zeros(members), first.mean(1), first.mean(1)], axis=1)
    least = first.std(1, ddof=1)  # what cloning's own draws differ by
    last = first.mean()
    for number in range(1, how.matching + 1):
        pulse.doing(f"matching rollouts, update {number} of {how.matching}, distance to the log {last:.4f}")
        each = jax.random.split(jax.random.fold_in(keys[1], number), members)
        learned = jax.block_until_ready(update(learned, each, lists, weight, jnp.asarray(number <= _WARM)))
        if number % _EVERY and number != how.matching:
            continue
        found = np.asarray(look(learned.customers.network)).mean(1)
        last = found.mean()
        better = (found < told[:, 2]) & (found < told[:, 1] - least)
        kept = jax.tree.map(partial(_chosen, jnp.asarray(better)), learned.customers.network, kept)
        told[better, 0], told[better, 2] = number, found[better]
    return Matched(kept, told)


def _chosen(better: Array, new: Array, old: Array) -> Array:
    """[K, ...] the new of members that are better with it [K], the old of others."""
    return jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
