"""What supply costs: bargains over quantity, unit cost and lead time (NegMAS's overview)."""

from marl_pricing.negotiation.alternating_offers import (
    BOULWARE,
    CONCEDER,
    LINEAR,
    Agreement,
    Side,
    agree,
    bargain,
    demands,
    offers,
    possible,
    sort_side,
)
from marl_pricing.negotiation.outcomes import Issue, OutcomeSpace, supply_space
from marl_pricing.negotiation.solutions import (
    distance_to_frontier,
    kalai_smorodinsky,
    nash_bargaining,
    pareto_frontier,
)
from marl_pricing.negotiation.table import AgreementTable, Terms, look_up, tabulate
from marl_pricing.negotiation.utilities import BuyerCosts, Stock, SupplierCosts, Worth, buyer_worth, supplier_worth

__all__ = [
    "BOULWARE",
    "CONCEDER",
    "LINEAR",
    "Agreement",
    "AgreementTable",
    "BuyerCosts",
    "Issue",
    "OutcomeSpace",
    "Side",
    "Stock",
    "SupplierCosts",
    "Terms",
    "Worth",
    "agree",
    "bargain",
    "buyer_worth",
    "demands",
    "distance_to_frontier",
    "kalai_smorodinsky",
    "look_up",
    "nash_bargaining",
    "offers",
    "pareto_frontier",
    "possible",
    "sort_side",
    "supplier_worth",
    "supply_space",
    "tabulate",
]
