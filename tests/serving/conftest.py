from __future__ import annotations

from collections.abc import Iterator

import pytest

from marl_pricing.serving.trial.servers import Server, broker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory) -> Iterator[Server]:
    """A broker for tests that leave it as it is; each has a prefix of its own."""
    with broker(tmp_path_factory.mktemp("broker")) as own:
        yield own
