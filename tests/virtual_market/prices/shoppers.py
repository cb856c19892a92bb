"""Logs of prices drawn by NumPy alone: a logit of two offers whose demand moves from day to day, and prices with it."""

from __future__ import annotations

import numpy as np

from marl_pricing.virtual_market.prices.log import PriceLog

QUALITY, SCALE = np.array([2.0, 1.9]), 0.25


def a_log(
    days: int = 30, epochs: int = 4, sessions: int = 150, follows: float = 0.0, spread: float = 0.3, bend: float = 0.0,
    buyers: float = 1.0, agents: float = 0.0, seed: int = 0,
) -> PriceLog:  # fmt: skip
    """Each day's log attractions are drawn with `spread`, and prices rise by `follows` money with them.

    Args:
        bend: what a price away from 1.7 takes from utility beyond −p/μ, an amount squared.
        buyers: share of the sessions that would buy at all.  agents: share that sees a scale of 0.1.
    """
    random = np.random.default_rng(seed)
    level = np.repeat(random.normal(0.0, spread, (days, 2)), epochs, 0)
    prices = np.repeat(random.uniform(1.5, 1.9, (days, 2)), epochs, 0) + random.uniform(-0.15, 0.15, level.shape)
    prices = (prices + follows * level).round(4)
    agent = random.random((len(prices), sessions)) < agents
    chances = []
    for scale in (SCALE, 0.1):
        utility = (QUALITY - prices) / scale + level - bend * (prices - 1.7) ** 2
        weight = np.column_stack([np.exp(utility), np.ones(len(prices))])
        chances.append(buyers * weight[:, :2] / weight.sum(1, keepdims=True))
    chance = np.where(agent[..., None], chances[1][:, None], chances[0][:, None])
    luck = random.random(agent.shape)[..., None]
    place = (luck >= np.cumsum(chance, -1)).sum(-1).reshape(-1)
    bought = np.where(place == 2, -1, place)
    return PriceLog(
        ("north", "south"), np.datetime64("2024-01-01") + np.arange(days), np.arange(len(bought)).astype(str),
        np.repeat(np.arange(days), epochs * sessions), np.repeat(prices, sessions, 0), bought,
        (bought >= 0).astype(float), agent.reshape(-1) if agents else None,
    )  # fmt: skip
