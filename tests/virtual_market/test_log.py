"""Logs of promotions as they are read, and as they are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.config.errors import ConfigError
from marl_pricing.intake import IntakeError
from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.log import LogMapping, read_log, read_mapping, write_log
from marl_pricing.virtual_market.money import day_cost, day_gmv
from tests.virtual_market.logs import a_log


def _table(customers: int = 3, days: int = 5) -> pd.DataFrame:
    """Customer i has an order on every day but the second; coupons on even days."""
    rows = []
    for customer in range(customers):
        for day in range(days):
            ordered = day != 1
            rows.append(
                {
                    "index": customer, "day_deliver_coupon_num": 2 if day % 2 == 0 else 0,
                    "coupon_discount": 0.8 if day % 2 == 0 else 0.95, "day_order_num": 1 + customer if ordered else 0,
                    "day_average_order_fee": 20.5 if ordered else 0.0, "step": day, "date": f"2021-03-{day + 1:02d}",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _written(path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(path, index=False)
    return path


def test_a_log_is_read_with_its_placeholder_masked(tmp_path: Path) -> None:
    log = read_log(_written(tmp_path / "log.csv", _table()))
    assert log.customers.tolist() == ["0", "1", "2"] and log.coupons.shape == (3, 5)
    np.testing.assert_array_equal(log.discount[0], [0.8, 1.0, 0.8, 1.0, 0.8])
    np.testing.assert_array_equal(log.orders[2], [3, 0, 3, 3, 3])
    assert log.weekdays[0] == 0  # 1 March 2021 was a Monday
    cost = day_cost(log.coupons, log.discount, log.orders, log.fee)
    np.testing.assert_allclose(cost[2], [0.2 * 2 * 20.5, 0, 0.2 * 2 * 20.5, 0, 0.2 * 2 * 20.5])
    gmv = day_gmv(log.coupons, log.discount, log.orders, log.fee)
    np.testing.assert_allclose(gmv + cost, log.orders * log.fee)


def test_rows_in_any_order_and_columns_under_any_name_are_the_same_log(tmp_path: Path) -> None:
    plain = read_log(_written(tmp_path / "log.csv", _table()))
    other = _table().sample(frac=1, random_state=1).rename(columns={"index": "Kunde", "day_order_num": "Bestellungen"})
    other["day_average_order_fee"] = other["day_average_order_fee"].map(lambda fee: f"{fee:.2f}".replace(".", ","))
    other["coupon_discount"] = other["coupon_discount"].map(lambda share: f"{share:.2f}".replace(".", ","))
    other.to_csv(tmp_path / "other.csv", index=False, sep=";")
    (tmp_path / "mapping.yaml").write_text("customer: Kunde\norders: Bestellungen\n")
    mapped = read_log(tmp_path / "other.csv", read_mapping(tmp_path / "mapping.yaml"))
    for part in ("customers", "dates", "coupons", "discount", "orders", "fee"):
        np.testing.assert_array_equal(getattr(mapped, part), getattr(plain, part))


def test_a_log_that_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    log = a_log(customers=30, days=9).log
    again = read_log(write_log(tmp_path / "log.csv", log))
    for part in ("customers", "dates", "coupons", "discount", "orders", "fee"):
        np.testing.assert_array_equal(getattr(again, part), getattr(log, part))


def _set(column: str, row: int, value: object):
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


_WRONG = {
    "a day that is missing": (lambda t: t.drop(index=7), r"log\.csv:8: customer '1' has no row for 2021-03-03"),
    "a customer-day twice": (
        lambda t: pd.concat([t, t.iloc[[3]]]), r"log\.csv:17: customer '0' has 2021-03-04 already in line 5",
    ),
    "a negative fee": (
        _set("day_average_order_fee", 3, -2.5), r"log\.csv:5: day_average_order_fee='-2.5': accepted is an amount of",
    ),
    "an order without fee": (
        _set("day_average_order_fee", 3, 0), r"log\.csv:5: day_average_order_fee='0': accepted is an amount above 0",
    ),
    "a fee without order": (
        _set("day_average_order_fee", 1, 9), r"log\.csv:3: day_average_order_fee='9': accepted is 0 on a day without",
    ),
    "discounts in percent": (
        lambda t: t.assign(coupon_discount=(t.coupon_discount * 100).round()),
        r"log\.csv:2: coupon_discount='80.0': accepted is the share of .*: these are percent",
    ),
    "one discount in percent": (_set("coupon_discount", 2, 60), r"log\.csv:4: coupon_discount='60': accepted is the"),
    "no discount": (_set("coupon_discount", 4, "none"), r"log\.csv:6: coupon_discount='none': accepted is the share"),
    "half an order": (_set("day_order_num", 6, 0.5), r"log\.csv:8: day_order_num='0.5': accepted is a whole number"),
    "six coupons": (
        _set("day_deliver_coupon_num", 6, 6), r"log\.csv:8: day_deliver_coupon_num='6': accepted is a whole number",
    ),
    "a step that is no day's": (_set("step", 8, 7), r"log\.csv:10: step='7': accepted is the date's number"),
    "a date that is none": (_set("date", 8, "2021-02-30"), r"log\.csv:10: date='2021-02-30': accepted is a date"),
    "nobody": (_set("index", 8, ""), r"log\.csv:10: index='': accepted is a name"),
    "a column less": (lambda t: t.drop(columns="day_order_num"), r"there is no column 'day_order_num' \(orders\)"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", _WRONG)
def test_what_cannot_be_is_refused_with_its_line(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    change, told = _WRONG[wrong]
    path = _written(tmp_path / "log.csv", change(_table()))
    with pytest.raises((LogError, IntakeError), match=told):
        read_log(path)
    with pytest.raises(SystemExit) as ended:
        main(["log", f"log={path}"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1


def test_a_file_cut_inside_a_row_is_refused(tmp_path: Path) -> None:
    text = _table().to_csv(index=False)
    (tmp_path / "log.csv").write_text(text[:-15])
    with pytest.raises(IntakeError, match="cut short"):
        read_log(tmp_path / "log.csv")


def test_a_log_without_steps_needs_none_and_a_mapping_is_checked(tmp_path: Path) -> None:
    path = _written(tmp_path / "log.csv", _table().drop(columns="step"))
    assert read_log(path).coupons.shape == (3, 5)
    with pytest.raises(LogError, match=r"'tick' \(step\)"):
        read_log(path, LogMapping(step="tick"))
    (tmp_path / "mapping.yaml").write_text("custoner: Kunde\n")
    with pytest.raises(ConfigError, match=r"custoner='Kunde': there is no such setting; did you mean customer"):
        read_mapping(tmp_path / "mapping.yaml")
