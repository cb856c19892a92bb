"""Evaluate run folders: tables, figures, one HTML report. `python evaluate.py --help` says what can be set."""

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

from marl_pricing.commands import evaluate

if __name__ == "__main__":
    evaluate.start()
