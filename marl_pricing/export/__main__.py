"""`python -m marl_pricing.export run=FOLDER format=torch|onnx|flax`: a policy that leaves the house."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
from collections.abc import Sequence

from marl_pricing.doors import say_errors
from marl_pricing.presentation import pulse
from marl_pricing.presentation.output import run_command

_USAGE = """Export a trained policy: one self-describing file, an example that loads it, a model card.

usage: python -m marl_pricing.export run=FOLDER format=torch|onnx|flax [field=value …]
       python -m marl_pricing.export settings=FILE.yaml [field=value …]     a file of settings

Settings:
  run=FOLDER             of a training
  format=torch           a torch.export program; torch alone loads it
  format=onnx            for onnxruntime
  format=flax            the arrays of the flax learner, for NumPy
  checkpoint=latest      or best
  seed=0                 which of the run's seeds
  out=null               the file; null: export/torch/policy.pt2 (or onnx, flax) in the run's folder
  evaluation=null        folder of an evaluation, for the card's figures; null: in the run's folder, if there is one"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    with say_errors():
        from marl_pricing.config.command_line import read_command_line
        from marl_pricing.config.errors import validate
        from marl_pricing.export.export import ExportSettings, export

        data = read_command_line(given, texts=("run", "out", "evaluation"))
        own = validate(ExportSettings, data)
        pulse.doing(f"exporting {own.run} as {own.format}")
        written = export(own)
        for kind, path in zip(("policy", "example", "card"), written, strict=True):
            print(f"{kind}: {path}")
    return 0


if __name__ == "__main__":
    run_command(main)
