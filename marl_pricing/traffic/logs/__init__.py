"""Logs of interactions: reading and judging them, their sessions, writing them.

`python -m marl_pricing.traffic.logs FILE` tells what is in a log.
"""

from marl_pricing.traffic.logs.reading import Log, read_log, sessions_of, times_of
from marl_pricing.traffic.logs.records import COLUMNS, PRICE_COLUMNS, tidy
from marl_pricing.traffic.logs.schemas import LogError
from marl_pricing.traffic.logs.simulation import simulate_events
from marl_pricing.traffic.logs.summary import events_without_items, session_features
from marl_pricing.traffic.logs.writing import write_log

__all__ = [
    "COLUMNS",
    "PRICE_COLUMNS",
    "Log",
    "LogError",
    "events_without_items",
    "read_log",
    "session_features",
    "sessions_of",
    "simulate_events",
    "tidy",
    "times_of",
    "write_log",
]
