"""Markets that can be had without a configuration file; each says in `conf/` under the same name what it is."""

from __future__ import annotations

from typing import Any

from marl_pricing.config.market import Market, market_from

_LOGIT = {"model": "logit", "quality": 2.0, "scale": 0.25}
_AGENT = {"scale": 0.1, "level_sensitivity": 0.0}
_LEVEL = {"persistence": 0.9, "volatility": 0.1}
_FACTORS = [0.9, 0.97, 1.0, 1.03, 1.1]


def default_market() -> Market:
    """Three sellers with stock that binds and a moving level of demand, visited by people and agents."""
    return market_from(
        {
            "num_sellers": 3,
            "demand": _LOGIT,
            "agent": _AGENT,
            "level": {"persistence": 0.9, "volatility": 0.25},
            "prices": {"map": "levels", "num_price_levels": 29, "low": 1.1, "high": 2.5},
            "inventory": {
                "rule": "threshold",
                "initial_stock": 20.0,
                "lead_time": 4,
                "reorder_point": 12.0,
                "order_quantity": 12.0,
            },
            "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.01},
        },
        {"model": "bank", "sessions_per_epoch": 60, "agent_share": 0.25},
    )


def phantom_prototype(defence: bool = False, **traffic: Any) -> Market:
    """One seller of 100 products and scripted sessions (PHANTOM's prototype); prices by relative change.

    Args:
        defence: the demand proxy leaves out sessions that the heuristic detector flags.
        traffic: settings of the traffic to change.
    """
    settings = {
        "num_sellers": 1,
        "num_products": 100,
        "episode_length": 200,
        "demand": {
            "model": "power",
            "base": 0.08,
            "elasticity": -1.2,
            "reference_price": 500.0,
            "cap": 0.95,
            "popularity": {"lognormal": 0.6, "seed": 7},
        },
        "agent": {"base": 0.05, "elasticity": -0.6},
        "prices": {
            "map": "adjust",
            "max_change": 0.3,
            "low": 1.0,
            "high": 500.0,
            "start": {"low": 60.0, "high": 140.0},
        },
        "inventory": {"rule": "unlimited"},
        "reward": {"volatility": 5.0, "estimate_error": 0.25, "agent_loss": 1.0},
    }
    visitors: dict[str, Any] = {
        "model": "scripted",
        "sessions_per_epoch": 250,
        "agent_share": 0.25,
        "markup": {"strength": 0.25, "highest_price": 500.0},
        "script": {"defence": defence},
    }
    return market_from(settings, visitors | traffic)


def phantom_defence(**traffic: Any) -> Market:
    """One seller of ten products whose prices move by factors, contaminated sessions (the PHANTOM methodology).

    Args:
        traffic: settings of the traffic to change.
    """
    settings = {
        "num_sellers": 1,
        "num_products": 10,
        "episode_length": 100,
        "demand": _LOGIT,
        "agent": _AGENT,
        "level": _LEVEL,
        "prices": {"map": "scale", "factors": _FACTORS, "low": 1.1, "high": 2.5},
        "inventory": {"rule": "unlimited"},
        "collapse_patience": 10,
        "reward": {
            "unit_cost": 1.0,
            "coi_leakage": 0.5,
            "information_cost": 0.05,
            "volatility": 0.5,
            "upward_volatility": 0.25,
            "supra_competitive": 0.2,
            "anchor": 1.6,
        },
    }
    visitors = {"model": "bank", "sessions_per_epoch": 100, "agent_share": 0.25, "markup": {"strength": 0.25}}
    visitors["browsing"] = {"elasticity": 0.5}
    return market_from(settings, visitors | traffic)
