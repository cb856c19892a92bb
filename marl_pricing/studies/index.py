"""All runs of a folder on one page: what they were trained with as far as it differs, what came of them, their report.

python -m marl_pricing.studies.index [FOLDER]        marl-pricing runs [FOLDER]
"""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from marl_pricing.doors import say_errors
from marl_pricing.learning.convergence import curves_of, judge
from marl_pricing.learning.monitor import hyperparameters
from marl_pricing.learning.run_files import EVALUATION, PROVENANCE, RunError, is_run, read_config, read_table
from marl_pricing.presentation import page
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.words import NAMELESS, Words, say, using

PAGE = "index.html"
_DEEP = 4  # folders below the one that is asked for in which runs and evaluations are looked for
_NARROW = "style='min-width:15em'"
_INSIDE = {"checkpoints", "tensorboard", "opponents", "figures"}


@dataclass
class Entry:
    """A run as the page has it.

    Attributes:
        settings: by dotted name.  started: as it was written.
        profit, price: of greedy play at the last evaluation, all sellers and mean, over seeds; None: not played.
        verdict: whether the training converged.
        report: the newest report with it, relative to the folder; its first answer.
        fault: why it cannot be read; empty where it can.
        words: what its market calls money, epochs and sellers.
    """

    folder: Path
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    profit: float | None = None
    price: float | None = None
    update: int | None = None
    verdict: str = ""
    report: str = ""
    headline: str = ""
    fault: str = ""
    words: Words = NAMELESS


def _folders(root: Path, deep: int = _DEEP) -> Iterator[Path]:
    """The folder and those below it, none of what lies inside runs but their evaluations."""
    yield root
    if deep:
        for own in sorted(path for path in root.iterdir() if path.is_dir() and path.name not in _INSIDE):
            if not own.name.startswith("."):
                yield from _folders(own, deep - 1)


def _read(folder: Path) -> Entry:
    import yaml

    found = Entry(folder)
    try:
        text = read_config(folder)
        data = yaml.safe_load(text)
        found.name, found.words = str(data.get("name", folder.name)), _words(data)
        found.settings = hyperparameters(text)
        found.started = str(json.loads((folder / PROVENANCE).read_text(encoding="utf-8")).get("started", ""))
        rows = read_table(folder, EVALUATION)
    except (RunError, OSError, ValueError) as error:
        found.fault = str(error).splitlines()[0]
        return found
    if rows:
        found.update = max(int(row["update"]) for row in rows)
        last = [row for row in rows if int(row["update"]) == found.update and row["policy"] == "greedy"]
        seeds = len({row["seed"] for row in last})
        found.profit = sum(float(row["profit"]) for row in last) / seeds
        found.price = sum(float(row["price"]) for row in last) / len(last)
        found.verdict = str(judge(curves_of(rows)))
    return found


def _words(data: Mapping[str, Any]) -> Words:
    """What a calibrated market's settings call things."""
    own = (data.get("market") or {}).get("calibration") or {}
    sellers = tuple(str(name) for name in own.get("sellers") or ())
    return Words(str(own.get("currency") or ""), str(own.get("period") or ""), sellers)


def _reports(folder: Path) -> dict[Path, tuple[float, Path, str]]:
    """By run folder, (time, place, first answer) of the newest evaluation in a folder that has it."""
    found: dict[Path, tuple[float, Path, str]] = {}
    path = folder / "summary.json"
    if not path.is_file() or not (folder / "report.html").is_file():
        return found
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        answer = next(iter(told.get("in_short") or told["sentences"]), "")
        for own in told["runs"].values():
            # Evaluations of versions before did not say: there the first run's own holds it.
            place = (folder / own["folder"]).resolve() if own.get("folder") else folder.parent.resolve()
            found[place] = (path.stat().st_mtime, folder / "report.html", str(answer))
    except (ValueError, KeyError, AttributeError, TypeError):
        return {}
    return found


def entries(root: Path) -> list[Entry]:
    """All runs at and below a folder, the newest first, each with its newest report.

    Raises:
        RunError: where there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise RunError(f"{root}: there is no such folder")
    found: list[Entry] = []
    reports: dict[Path, tuple[float, Path, str]] = {}
    for folder in _folders(root):
        if is_run(folder):
            found.append(_read(folder))
        for place, told in _reports(folder).items():
            reports[place] = max(told, reports.get(place, told), key=lambda own: own[0])
    if not found:
        raise RunError(f"{root}: there is no run in it; train one, or name the folder that runs are in")
    for own in found:
        if own.folder.resolve() in reports:
            _, place, own.headline = reports[own.folder.resolve()]
            own.report = os.path.relpath(place, root)
    return sorted(found, key=lambda own: own.started, reverse=True)


def differing(runs: Sequence[Entry]) -> list[list[str]]:
    """Names of settings that are not the same in all runs; those that differ between the same runs together."""
    known = [own.settings for own in runs if not own.fault]
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in dict.fromkeys(name for own in known for name in own):
        values = [repr(own.get(name)) for own in known]
        kinds = {value: number for number, value in enumerate(dict.fromkeys(values))}
        if len(kinds) > 1:
            groups.setdefault(tuple(kinds[value] for value in values), []).append(name)
    return list(groups.values())


def _told(own: Entry, groups: Sequence[Sequence[str]]) -> str:
    """A setting of each group, and how many differ with it."""
    said = []
    for names in groups:
        if names[0] in own.settings:
            others = f" (+{len(names) - 1})" if len(names) > 1 else ""
            said.append(f"{names[0]}={own.settings[names[0]]}{others}")
    return ", ".join(said)


def _rows(runs: Sequence[Entry], groups: Sequence[Sequence[str]], root: Path) -> Iterator[str]:
    for own in runs:
        place = os.path.relpath(own.folder, root)
        numbers: Mapping[str, float | None] = {"profit": own.profit, "price": own.price}
        cells = "".join(
            f"<td data-value='{'' if value is None else value}'>{'' if value is None else f'{value:.4g}'}</td>"
            for value in numbers.values()
        )
        update = f"<td data-value='{own.update or ''}'>{own.update or ''}</td>"
        said = own.fault or own.verdict
        settings = _told(own, groups)
        name = page.breakable(own.name or own.folder.name)
        name = f"<a href='{escape(own.report)}'>{name}</a>" if own.report else name
        day, _, clock = own.started[:16].partition("_")
        with using(own.words):
            headline = say(own.headline)
        started = f"{day} {clock[:2]}:{clock[3:5]}" if clock else day
        yield (
            f"<tr><th scope=row>{name}<span class=unit>{escape(place)}</span></th>"
            f"<td class=text>{escape(started)}</td>{update}{cells}"
            + "".join(f"<td class='text long' {_NARROW}>{escape(text)}</td>" for text in (settings, said, headline))
            + "</tr>"
        )


def write_index(root: Path) -> Path:
    """Write FOLDER/index.html; its path. Raises RunError."""
    runs = entries(root)
    groups = differing(runs)
    count = f"{sum(map(len, groups))} in these runs"
    heads = [("run", "folder"), ("started", ""), ("updates", ""), ("profit", "of all, per epoch"),
             ("mean price", "greedy"), ("settings that differ", count), ("training", ""),
             ("who earns what", "")]  # fmt: skip
    text = {"run", "started", "settings that differ", "training", "who earns what"}
    head = "".join(
        f"<th{' class=text' if name in text else ''} scope=col><button>{name}"
        f"{f'<span class=unit>{escape(unit)}</span>' if unit else ''}</button></th>"
        for name, unit in heads
    )
    lacking = sum(not own.report for own in runs)
    together = "".join(
        f"<li>{escape(names[0])}: {escape(', '.join(names[1:]))}</li>" for names in groups if len(names) > 1
    )
    body = [
        f"<h1>Runs in {escape(root.name or str(root))}</h1>",
        f"<p class=soft>{len(runs)} runs, {len(runs) - lacking} with a report; made {datetime.now():%Y-%m-%d %H:%M} by "
        "<code>marl-pricing runs</code>. Profits of runs whose markets differ are not to be compared. A name leads to "
        "its newest report; a column's head sorts.</p>",
        f"<div class=scroll tabindex=0><table class=sortable><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(_rows(runs, groups, root))}</tbody></table></div>",
        page.fold("Settings that differ together", f"<ul class=note>{together}</ul>" if together else ""),
    ]
    return write_atomically(root / PAGE, page.render(f"Runs in {root.name or root}", body))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and print its path; exit status 2 and a line on standard error where there is nothing to show."""
    parser = argparse.ArgumentParser(
        "marl-pricing runs", description="All runs of a folder on one page: settings that differ, results, reports."
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="default: %(default)s")
    given = parser.parse_args(arguments)
    with say_errors():
        print(f"index: {write_index(given.folder)}")
    return 0


if __name__ == "__main__":
    run_command(main)
