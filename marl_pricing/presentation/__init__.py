"""How figures and pages look, for every room that makes some."""
