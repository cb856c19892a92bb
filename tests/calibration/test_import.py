"""From an export to a market by the command: what is said, the currency, stores, costs that are assumed, --check."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from marl_pricing.calibration import calibrate as calibration
from marl_pricing.calibration import figures, market_file, page
from marl_pricing.calibration.__main__ import main
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.mapping import read_mapping
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import Mapping, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.config import ConfigError
from tests.calibration.sales import some_sales, written


def export(path: Path, table: pd.DataFrame) -> Path:
    """The sales as a German spreadsheet writes them."""
    rows = [
        f"{row.product};{row.seller};{pd.Timestamp('2024-01-01') + pd.Timedelta(days=7 * int(row.period)):%d.%m.%Y};"
        f"{f'{int(row.units):,}'.replace(',', '.')};{f'{row.price:.4f}'.replace('.', ',')} €"
        for row in table.itertuples()
    ]
    path.write_bytes(("Artikel;Händler;Datum;Menge;Preis\r\n" + "\r\n".join(rows) + "\r\n").encode("cp1252"))
    return path


@pytest.mark.slow
def test_a_check_says_how_a_file_is_read_and_its_mapping_calibrates_it(tmp_path: Path, capsys) -> None:
    table = some_sales(periods=60, shoppers=400_000)
    path = export(tmp_path / "sales.csv", table)
    with pytest.raises(SystemExit):
        main([f"data={path}", f"out={tmp_path / 'out'}"])
    assert (
        "likely are product: Artikel, seller: Händler, period: Datum, units: Menge, price: Preis"
        in capsys.readouterr().err
    )
    assert main([f"data={path}", f"out={tmp_path / 'check'}", "--check"]) == 0
    told = capsys.readouterr().out
    assert "GUESSED" in told and "read as: semicolon between columns, cp1252, decimal comma, dates dd.mm.yyyy" in told
    assert f"{table['units'].sum():.0f} units" in told
    mapping = tmp_path / "check" / "mapping.yaml"
    assert sorted(p.name for p in (tmp_path / "check").iterdir()) == ["mapping.yaml"]
    own = yaml.safe_load(mapping.read_text())
    assert own["units"] == "Menge" and own["decimal"] == "," and own["date_format"] == "dd.mm.yyyy"
    out = tmp_path / "out"
    assert main([f"data={path}", f"mapping={mapping}", f"out={out}", "harmonics=0"]) == 0
    told = capsys.readouterr().out
    assert "read as: semicolon" in told
    # The same estimates as from the plain file, and the currency with every amount.
    plain = tmp_path / "plain"
    rounded = table.assign(price=table["price"].round(4))
    assert main([f"data={written(tmp_path / 'plain.csv', rounded)}", f"out={plain}", "harmonics=0"]) == 0
    one, other = (json.loads((folder / "estimates.json").read_text()) for folder in (out, plain))
    assert one["slope"] == other["slope"] and one["market_size"] == other["market_size"]
    market = yaml.safe_load((out / "market.yaml").read_text())
    assert market["currency"] == "€" and market["period"] == "week"
    assert "currency" not in yaml.safe_load((plain / "market.yaml").read_text())
    text = (out / "calibration.html").read_text()
    assert "price coefficient of the logit, per €" in text and "amounts in €" in text and ">€<" in text
    for name in ("offers.csv", "forecasts.csv"):
        assert set(pd.read_csv(out / name)["currency"]) == {"€"}


def test_a_check_that_finds_another_mapping_leaves_it(tmp_path: Path, capsys) -> None:
    path = written(tmp_path / "sales.csv", some_sales(periods=10))
    target = Path(f"{path}.mapping.yaml")
    assert main([f"data={path}", "--check"]) == 0 and target.exists()
    assert main([f"data={path}", "--check"]) == 0
    target.write_text("product: mine\n")
    with pytest.raises(SystemExit):
        main([f"data={path}", "--check"])
    assert "is there already and says something else" in capsys.readouterr().err
    assert target.read_text() == "product: mine\n"


def test_amounts_in_figures_are_in_the_files_currency(tmp_path: Path) -> None:
    path = export(tmp_path / "sales.csv", some_sales(periods=40))
    mapping = Mapping(product="Artikel", seller="Händler", period="Datum", units="Menge", price="Preis")
    own = CalibrationSettings(data=str(path), out="out", harmonics=0, cost="margin")
    found = calibration.find(read_sales(path, mapping), own)
    drawn = {name: figure() for name, _, _, figure in page.pictures(found)}
    assert drawn["demand_curves"].get_supxlabel() == "price (€)"
    assert drawn["demand_curves"].get_supylabel() == "units a week"
    labels = {axes.get_ylabel() for axes in drawn["fit"].axes}
    assert "price (€)" in labels and drawn["fit"].axes[-1].get_xlabel() == "week"
    assert found.market is not None
    bare = figures.demand_curves(found.fit, found.market.offers, ([1.0] * 6, [3.0] * 6))
    assert bare.get_supxlabel() == "price" and bare.get_supylabel() == "units a period"


@pytest.mark.slow
def test_costs_that_nash_prices_cannot_imply_are_assumed_and_said(tmp_path: Path, capsys) -> None:
    """Demand so inelastic that Nash costs are negative: a market all the same, with the margin, loudly."""
    random = np.random.default_rng(0)
    table = some_sales(periods=60)
    table["units"] = np.round(200.0 * table["price"] ** -0.4 * np.exp(random.normal(0.0, 0.03, len(table))))
    path = written(tmp_path / "sales.csv", table)
    arguments = [f"data={path}", f"out={tmp_path / 'out'}", "harmonics=0"]
    assert main([*arguments, "margin=0.25"]) == 0
    told = capsys.readouterr().out
    assert "Unit costs are ASSUMED: the mean prices less a margin of 25 %" in told and "implies a cost of -" in told
    market = yaml.safe_load((tmp_path / "out" / "market.yaml").read_text())
    cost, price = market["market"]["reward"]["unit_cost"], market["market"]["calibration"]["reference_price"]
    np.testing.assert_allclose(cost, 0.75 * np.array(price), rtol=1e-4)
    assert "ASSUMED" in market["assumptions"][0]
    assert "ASSUMED" in (tmp_path / "out" / "calibration.html").read_text()
    # Where Nash costs were asked for there is no market.
    assert main([*arguments, "cost=nash"]) == 1
    assert "cost='nash': Nash pricing implies a cost of -" in capsys.readouterr().out


def two_stores(scale: float = 3.0) -> pd.DataFrame:
    """The same laws in two stores, one with more shoppers."""
    one = some_sales(periods=60, seed=1).assign(store="north")
    other = some_sales(periods=60, seed=2, shoppers=int(4000 * scale)).assign(store="south")
    return pd.concat([one, other], ignore_index=True)


def test_stores_do_not_compete_with_each_other(tmp_path: Path) -> None:
    """Estimates rest on both stores; shares and the market are those of one."""
    table = two_stores()
    sales = read_sales(written(tmp_path / "sales.csv", table), Mapping(store="store"))
    settings = {"data": "x", "out": "out", "harmonics": 0, "cost": "margin", "market_size": 12_000.0}
    own = CalibrationSettings(**settings)
    panel = make_panel(sales.table)
    assert panel.table["offer"].nunique() == 12 and panel.table["market"].nunique() == 120
    fit = fit_demand(panel, own)
    assert fit.store == "south" and fit.sizes is not None
    assert fit.slope.value == pytest.approx(-2.0, abs=4 * fit.slope.error)
    # As many more shoppers as the busiest period sold more.
    busiest = table.groupby(["store", "period"])["units"].sum().groupby("store").max()
    assert fit.sizes["north"] == pytest.approx(12_000.0 * busiest["north"] / busiest["south"])
    market = market_file.make_market(fit, panel.table, own)
    assert market.offers["offer"].str.endswith(" at south").all() and len(market.offers) == 6
    assert any("store south" in line for line in market.assumptions)
    # Alone, the store gives the same size and the same units.
    alone = make_panel(sales.table[sales.table["store"] == "south"])
    by_itself = market_file.make_market(fit_demand(alone, own), alone.table, own)
    np.testing.assert_allclose(by_itself.offers["units"], market.offers["units"], rtol=0.02)
    north = market_file.make_market(
        fit_demand(panel, CalibrationSettings(**settings | {"store": "north", "market_size": 4_000.0})),
        panel.table,
        own,
    )
    assert north.offers["offer"].str.endswith(" at north").all() and north.size == 4_000.0
    found = calibration.find(sales, own)
    assert found.backtest is not None and found.market is not None
    scores = found.backtest.scores.set_index("forecast")
    assert scores.loc["model", "weighted"] < scores.loc["naive", "weighted"]


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    sales = read_sales(written(tmp_path / "sales.csv", two_stores()), Mapping(store="store"))
    with pytest.raises(ConfigError, match="store='west': accepted is one of the file's"):
        fit_demand(make_panel(sales.table), CalibrationSettings(data="x", out="out", store="west"))
    plain = make_panel(some_sales().assign(category="all"))
    with pytest.raises(ConfigError, match="store='west': accepted is null where the sales tell no stores apart"):
        fit_demand(plain, CalibrationSettings(data="x", out="out", store="west"))


def test_a_column_called_no_is_a_column(tmp_path: Path) -> None:
    """YAML 1.1 reads a bare No as false; so it would On, Off and Yes."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("product: No\nperiod: On\nkeep: {Off: [Yes, true]}\n")
    own = read_mapping(mapping)
    assert (own.product, own.period, own.keep) == ("No", "On", {"Off": ["Yes", True]})
