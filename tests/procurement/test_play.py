"""`python -m marl_pricing.procurement play`: what it writes, and what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.procurement.__main__ import main
from tests.processes import python

SMALL = ("issues.cost_levels=6", "issues.quantities=[2,4,6,8]", "issues.lead_times=[1,3]", "rounds=20")


def test_a_bargain_is_traced_drawn_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("negmas")
    from tests.negotiation.protocol import Conceder, play

    assert main(["play", f"out={tmp_path}/bargain", *SMALL, "buyer_exponent=2"]) == 0
    assert "agreement: quantity" in capsys.readouterr().out
    folder = tmp_path / "bargain"
    told, trace = json.loads((folder / "bargain.json").read_text()), pd.read_csv(folder / "trace.csv")
    frontier = pd.read_csv(folder / "frontier.csv")
    assert {"bargain.png", "bargain.svg"} <= {path.name for path in folder.iterdir()}
    assert told["ended"] == "agreement" and told["offers"] == len(trace)
    standing = trace[trace["accepted"]]
    assert len(standing) == 1 and standing.index[0] == len(trace) - 1
    for name in ("quantity", "unit_cost", "lead_time", "buyer", "supplier"):
        assert standing.iloc[0][name] == pytest.approx(told["agreement"][name])
    # The same bargain, turn by turn.
    from marl_pricing.config.command_line import read_command_line
    from marl_pricing.config.errors import validate
    from marl_pricing.procurement.playing import PlaySettings, worths

    space, buyer, supplier = worths(validate(PlaySettings, read_command_line(["out=x", *SMALL], texts=("out",))))
    outcome, number, _ = play(
        Conceder(np.asarray(buyer.utility, float), float(buyer.reserved), 2.0, 20),
        Conceder(np.asarray(supplier.utility, float), 0.0, 1.0, 20),
    )
    agreed = told["agreement"]
    assert space.outcome(outcome) == pytest.approx([agreed[issue.name] for issue in space.issues])
    assert standing.iloc[0]["round"] == number
    nearest = np.hypot(frontier["buyer"] - agreed["buyer"], frontier["supplier"] - agreed["supplier"]).min()
    assert agreed["distance_to_frontier"] == pytest.approx(nearest, abs=1e-4)


def test_negotiators_of_ones_own_and_of_other_kinds_play(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("negmas")
    here = "tests.procurement.own_negotiators:"
    for buyer, supplier, ended in (
        ("micro", "tit_for_tat", ""),
        (f"{here}TakesAnything", "boulware", "agreement after 2 of 20"),
        (f"{here}Leaves", "linear", "broken off after"),
        (f"{here}Fails", "linear", "error after"),
    ):
        assert main(["play", f"out={tmp_path}", *SMALL, f"buyer={buyer}", f"supplier={supplier}"]) == 0
        assert ended in capsys.readouterr().out.splitlines()[0]
    assert json.loads((tmp_path / "bargain.json").read_text())["agreement"] is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("supply.capacity=0", "supply.capacity=0.0: accepted is at least the smallest quantity of issues, 2, or null"),
        ("supply.unit_cost=3", "issues.cost_high=2.0: accepted is a cost above supply.unit_cost=3.0"),
        ("situation.horizon=2", "issues.lead_times=[1, 3]: accepted is at most situation.horizon=2 epochs"),
        ("situation.demand=0", "situation.demand=0.0, situation.stock=2: an agreement is impossible"),
        ("issues.quantities=[3,2]", "issues.quantities=[3, 2]: accepted is an increasing list"),
        ("issues.cost_high=0.5", "issues.cost_high=0.5: accepted is a cost above issues.cost_low=1.0"),
        ("buyer=nowhere:Somebody", "buyer='nowhere:Somebody': accepted is module:Class, which cannot be imported"),
        ("buyer=json:loads", "buyer='json:loads': accepted is a class of negotiators"),
        ("buyer=pathlib:Path", "buyer='pathlib:Path': accepted is a class of negotiators"),
        ("supplier=nobody", "supplier='nobody': accepted is aspiration, boulware"),
        ("supplier=tests.procurement.own_negotiators:Unfinished", "without abstract methods"),
        ("supplier=tests.procurement.own_negotiators:Choosy", "a class that can be made with name=…; TypeError"),
        ("buyer=micro buyer_exponent=2", "buyer_exponent=2.0: accepted is null with buyer='micro'"),
        ("rounds=0", "rounds=0: accepted is"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("negmas")
    with pytest.raises(SystemExit) as ended:
        main(["play", f"out={tmp_path}/none", *SMALL, *given.split()])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and told in said and said.count("\n") == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install_and_the_rest_goes_on() -> None:
    done = python("from marl_pricing.procurement.__main__ import main; main(['play', 'out=x'])", {"negmas"})
    assert done.returncode == 2
    assert done.stderr == "error: negmas is not installed: pip install 'marl-pricing[procurement]'\n"
    assert python("from marl_pricing import market, negotiation, config", {"negmas"}).returncode == 0


@pytest.mark.slow
def test_nothing_is_written_to_the_home_folder(tmp_path: Path) -> None:
    pytest.importorskip("negmas")
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    code = f"from marl_pricing.procurement.__main__ import main; main({['play', 'out=bargain', *SMALL]!r})"
    done = python(code, set(), folder=folder, HOME=str(home), MPLCONFIGDIR=str(tmp_path / "fonts"))
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == [] and [path.name for path in folder.iterdir()] == ["bargain"]
