"""`python -m marl_pricing.calibration` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from marl_pricing.calibration import coverage, simulate
from marl_pricing.calibration.__main__ import main
from tests.calibration.sales import GROCERY, a_market, fixed_prices, some_sales, written
from tests.markets import make


def test_help_names_every_setting(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for name in ("data=FILE", "out=FOLDER", "mapping=null", "judging.bad_share=0.05", "form=logit", "holdout=8"):
        assert name in told
    assert main([]) == 0


def test_a_file_becomes_a_market_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = some_sales(periods=60)
    table.loc[[4, 9], "units"] = -1
    path = written(tmp_path / "sales.csv", table)
    out = tmp_path / "out"
    assert main([f"data={path}", f"out={out}", "market_size=4000", "harmonics=0"]) == 0
    told = capsys.readouterr().out
    assert "A price 1 % higher goes with" in told and f"market.path={out}/market.yaml" in told
    market = yaml.safe_load((out / "market.yaml").read_text())
    assert market["provenance"]["rows_set_aside"] == {"negative units": 2}
    assert market["market"]["num_sellers"] == 2 and market["market"]["num_products"] == 3
    estimates = json.loads((out / "estimates.json").read_text())
    assert estimates["slope"]["value"] == pytest.approx(-2.0, abs=4 * estimates["slope"]["error"])
    scores = pd.read_csv(out / "backtest.csv").set_index("forecast")
    assert scores.loc["model", "weighted"] < scores.loc["naive", "weighted"]
    assert set(pd.read_csv(out / "quarantine.csv")["line"]) == {6, 11}
    for name in ("elasticities", "fit", "demand_curves", "backtest"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5_000
        assert (out / "figures" / f"{name}.svg").read_text().lstrip().startswith("<?xml")
    # One that makes no market takes the old one away.
    written(path, table.assign(units=lambda rows: (100 * rows["price"] ** 0.5).round()))
    assert main([f"data={path}", f"out={out}", "form=power", "effects=[product]", "harmonics=0"]) == 1
    assert not (out / "market.yaml").exists() and (out / "calibration.html").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data=none.csv", "out={out}"], "none.csv: there is no such file"),
        (["out={out}"], "data"),
        (["data={file}", "out={out}", "form=probit"], "form='probit'"),
        (["data={file}", "out={out}", "holdout=0"], "holdout=0"),
        (["data={file}", "out={out}", "effects=[period]"], "effects=['period']: accepted is null, [product]"),
        (["data={file}", "out={out}", "form=nested_logit", "effects=[product,period]"], "with form=nested_logit"),
        (["data={file}", "out={out}", "estimator=ols"], "estimator='ols'"),
        (["data={file}", "out={out}", "estimator=censored"], "accepted is auto, poisson, loglinear with form=logit"),
        (["data={file}", "out={out}", "form=nested_logit", "estimator=poisson"], "accepted is auto, loglinear with"),
        (["data={file}", "out={out}", "form=power", "estimator=censored"], "where no row sold all of its stock"),
        (["data={file}", "out={out}", "form=power", "estimator=arma"], "estimator='arma': accepted is auto, poisson"),
        (
            ["data={file}", "out={out}", "form=power", "estimator=poisson", "instruments=cost"],
            "accepted is 'none' with",
        ),
        (["data={file}", "out={out}", "effects=[product,period,trend]"], "or [product,trend]"),
        (["data={file}", "out={out}", "errors=robust"], "errors='robust'"),
        (["data={file}", "out={out}", "instruments=other_stores"], "where the mapping tells no stores apart"),
        (["data={file}", "out={out}", "instruments=lagged_price"], "'lagged_price': accepted is none, cost, columns"),
        (["data={file}", "out={out}", "instruments=cost"], "instruments='cost': the mapping names no such column"),
        (["data={file}", "out={out}", "category=soap"], "category='soap': accepted is one of the file's"),
        (["data={file}", "out={out}", "judging.bad_share=2"], "bad_share"),
        (["data={file}", "out={out}", "harmonics=5", "season=6"], "harmonics=5"),
        (["data={file}", "out={out}", "colour=red"], "colour"),
        (["data"], "accepted are settings as field=value"),
        (["settings=none.yaml"], "settings='none.yaml': there is no such file"),
        (["data={fixed}", "out={out}"], "no product's price ever changes"),
    ],
)
def test_wrong_input_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], told: str
) -> None:
    table = some_sales(periods=20)
    places = {
        "file": written(tmp_path / "sales.csv", table), "fixed": written(tmp_path / "f.csv", fixed_prices(table)),
        "out": tmp_path / "out",
    }  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        main([argument.format(**places) for argument in arguments])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert any(told in line for line in lines), captured.err
    assert all(line.startswith("error: ") for line in lines) and "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


def test_a_refused_calibration_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    table = some_sales(periods=20)
    table.loc[:2, "units"] = -1
    good = written(tmp_path / "sales.csv", table)
    fixed = written(tmp_path / "fixed.csv", fixed_prices(table))
    out = tmp_path / "a" / "b"
    with pytest.raises(SystemExit):  # rows are set aside before it is refused for its prices
        main([f"data={fixed}", f"out={out}"])
    assert not (tmp_path / "a").exists()
    with pytest.raises(SystemExit):  # this refusal names the list
        main([f"data={good}", f"out={out}", "judging.bad_share=0"])
    assert [path.name for path in out.iterdir()] == ["quarantine.csv"]
    (out / "quarantine.csv").write_text("of before")
    with pytest.raises(SystemExit):
        main([f"data={fixed}", f"out={out}"])
    assert (out / "quarantine.csv").read_text() == "of before"


def test_simulated_sales_are_of_the_schema_and_repeat() -> None:
    own = a_market()
    one, again, other = (simulate.simulate_sales(*own, periods=30, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)
    assert list(one.columns) == ["seller", "product", "period", "units", "price"] and len(one) == 180
    assert one["price"].between(1.4, 2.6).all() and one.groupby("product")["price"].nunique().min() > 3
    with pytest.raises(ValueError, match=r"market\.inventory\.rule"):
        simulate.simulate_sales(*make(), periods=3)
    scale = {"map": "scale", "low": 1.0, "high": 2.0}
    with pytest.raises(ValueError, match=r"market\.prices\.map='scale'"):
        simulate.simulate_sales(*a_market(prices=scale), periods=3)


def test_coverage_refuses_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["coverage", "probit"])
    assert coverage.main() == 2
    assert "FORM 'probit': accepted are logit, power, worlds (all) or one of friendly" in capsys.readouterr().err


def test_the_example_says_where_its_data_come_from() -> None:
    told = (GROCERY / "README.md").read_text()
    assert "dunnhumby" in told and "MIT" in told
