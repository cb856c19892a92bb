"""Makes the gallery's figures: trains two small pairs of runs, evaluates them, keeps what was drawn. A few minutes.

python docs/gallery.py                    trains
python docs/gallery.py FOLDER [FOLDER …]  takes the figures of evaluations that there are
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
GALLERY = HERE / "_gallery"


def _train(folder: Path) -> list[Path]:
    """Evaluations of a pair of grocery sellers and of a platform."""
    import marl_pricing

    short = {"learner.num_updates": 40, "learner.num_seeds": 2}
    own = marl_pricing.train("grocery", short | {"name": "competitive"}, folder=folder / "competitive")
    both = marl_pricing.train(
        "grocery", short | {"name": "cooperative", "market.reward.omega": 0.0}, folder=folder / "cooperative"
    )
    platform = marl_pricing.train("platform", short | {"learner.num_updates": 20}, folder=folder / "platform")
    rules = ["simulated_nash", "simulated_joint"]
    pages = [own.evaluate(both, rules=rules, best_response=0), platform.evaluate(rules=rules, best_response=0)]
    return [page.parent for page in pages]


def _keep(evaluations: list[Path]) -> None:
    """Copy figures, and write the page that shows them with their captions."""
    GALLERY.mkdir(exist_ok=True)
    for old in GALLERY.iterdir():
        old.unlink()
    lines: list[str] = []
    for evaluation in evaluations:
        for captions in sorted(evaluation.glob("figures/*/captions.json")):
            for file, own in json.loads(captions.read_text(encoding="utf-8")).items():
                name = f"{len(lines)}_{file}.png"
                shutil.copy(captions.with_name(f"{file}.png"), GALLERY / name)
                title = f"{own['title']} ({captions.parent.name})"
                lines += [f"## {title}", "", f"![{title}](_gallery/{name})", "", own["caption"], ""]
    (GALLERY / "figures.md").write_text("\n".join(lines), encoding="utf-8")
    print(f"{len(list(GALLERY.glob('*.png')))} figures: {GALLERY}")


if __name__ == "__main__":
    if sys.argv[1:]:
        _keep([Path(folder) for folder in sys.argv[1:]])
    else:
        with tempfile.TemporaryDirectory() as place:
            _keep(_train(Path(place)))
