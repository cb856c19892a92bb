"""The market as it is: every offer at the price that was observed in the sales it is calibrated from."""

from __future__ import annotations

from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies.constant import constant
from marl_pricing.policies.expectations import RuleError


def observed(shape: MarketShape, params: MarketParams) -> Policy:
    """Every offer at its mean price in the sales, as near as the price map allows.

    The mean over the periods in which it sold: arithmetic where demand is logit, geometric where it is a power.

    Raises:
        RuleError: for a market that is not calibrated from sales.
    """
    if params.observed is None:
        raise RuleError("market.calibration=None: observed prices are those of the sales behind a calibrated market")
    return constant(shape, params, params.observed, name="observed")
