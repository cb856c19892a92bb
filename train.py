"""Train sellers: read conf, run, leave a run folder. `python train.py --help` says what can be set."""

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

from marl_pricing.commands import train

if __name__ == "__main__":
    train.start()
