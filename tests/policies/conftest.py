"""Markets that the tests of this folder share."""

import pytest

from tests.markets import duopoly


@pytest.fixture
def make_market():
    """See `duopoly`."""
    return duopoly
