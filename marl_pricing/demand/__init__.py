"""What shoppers want: prices to propensities, the latent level of demand, shocks."""

from marl_pricing.demand.choice import class_propensities, propensities, propensities_by_type, type_nodes
from marl_pricing.demand.params import (
    DemandParams,
    DemandShape,
    LinearParams,
    LogitParams,
    PatienceParams,
    PowerParams,
    SeasonParams,
)
from marl_pricing.demand.surplus import logit_surplus

__all__ = [
    "DemandParams",
    "DemandShape",
    "LinearParams",
    "LogitParams",
    "PatienceParams",
    "PowerParams",
    "SeasonParams",
    "class_propensities",
    "logit_surplus",
    "propensities",
    "propensities_by_type",
    "type_nodes",
]
