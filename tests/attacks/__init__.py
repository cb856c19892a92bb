"""Attacks on everything that people hand to this package; `python -m tests.attacks` prints what came of them."""
