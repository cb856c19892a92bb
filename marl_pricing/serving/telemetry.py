"""What is counted of a service, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class Telemetry:
    """Counters of one service."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self.events = Counter("marl_pricing_events", "what was posted", ["topic", "outcome"], registry=self.registry)
        self.lookups = Counter("marl_pricing_lookups", "prices told", ["model"], registry=self.registry)
        self.seconds = Histogram(
            "marl_pricing_lookup_seconds", "of a look-up in the process", buckets=_SECONDS, registry=self.registry
        )

    def gauge(self, name: str, told: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is read."""
        Gauge(f"marl_pricing_{name}", told, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """In Prometheus's format."""
        return generate_latest(self.registry)
