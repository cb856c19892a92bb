"""Tables hold what records hold, and files what tables hold."""

import jax
import numpy as np
import pandas as pd
import pytest

from marl_pricing.evaluation import tables
from marl_pricing.evaluation.play import play
from marl_pricing.policies import random
from marl_pricing.presentation.files import replace_with


@pytest.fixture
def record(stocked):
    return play(jax.random.key(3), stocked.shape, stocked.params, random(stocked.shape, stocked.params), 3)


def test_rows_are_what_the_record_says(stocked, record):
    offers = tables.offers_table(record, "a run", "random", 4)
    assert list(offers.columns) == list(tables.COLUMNS["offers"])
    assert len(offers) == 3 * 12 * 2
    row = offers[(offers["episode"] == 1) & (offers["epoch"] == 7) & (offers["seller"] == 1)].iloc[0]
    assert (row["run"], row["policy"], row["seed"], row["product"]) == ("a run", "random", 4, 0)
    for name in ("price", "stock", "arrivals", "on_order", "ordered", "demand", "sales", "unmet"):
        assert row[name] == getattr(record, name)[1, 7, 1]
    by_hand = (
        row["price_paid"] * row["sales"] - row["sales"] - 0.5 * row["unmet"] - 0.02 * (row["stock"] - row["sales"])
    )
    assert row["profit"] == pytest.approx(by_hand, rel=1e-5)
    sellers = tables.sellers_table(record, "a run", "random", 4)
    own = sellers[(sellers["episode"] == 1) & (sellers["epoch"] == 7)]
    np.testing.assert_array_equal(own["reward_raw"], record.reward_raw[1, 7])
    raw = own["reward_raw"].to_numpy()
    np.testing.assert_allclose(own["reward_shaped"], 0.5 * raw + 0.5 * raw.sum(), rtol=1e-5)


def test_products_stand_with_their_sellers(make_market):
    made = make_market(num_products=3)
    record = play(jax.random.key(0), made.shape, made.params, random(made.shape, made.params), 2)
    offers = tables.offers_table(record, "r", "random", 0)
    row = offers[(offers["episode"] == 1) & (offers["epoch"] == 2) & (offers["seller"] == 1) & (offers["product"] == 2)]
    assert row["price"].item() == record.price[1, 2, 5]
    assert np.isinf(row["stock"].item())


def test_ended_sellers_have_no_rows(record):
    live = record.live.copy()
    live[1, 5:, 0] = False
    ended = record.replace(live=live)
    offers, sellers = tables.offers_table(ended, "r", "p", 0), tables.sellers_table(ended, "r", "p", 0)
    assert len(offers) == len(sellers) == 3 * 12 * 2 - 7
    gone = offers[(offers["episode"] == 1) & (offers["seller"] == 0)]
    assert gone["epoch"].max() == 4


def test_files_hold_the_table(record, tmp_path):
    offers = tables.join([tables.offers_table(record, "r", name, 0) for name in ("b", "a")])
    parquet, text = tables.write("offers", offers, tmp_path)
    back = pd.read_parquet(parquet)
    pd.testing.assert_frame_equal(back, offers)
    assert back["policy"].dtype == "category" and list(back["policy"].cat.categories) == ["b", "a"]
    assert all(back[name].dtype.kind == "i" for name in ("seed", "episode", "epoch", "seller", "product"))
    plain = pd.read_csv(text)
    assert plain["policy"].tolist() == offers["policy"].tolist()
    np.testing.assert_array_equal(plain["profit"].astype("float32"), offers["profit"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["offers.csv", "offers.parquet"]


def test_a_long_csv_is_compressed_and_replaces_the_short_one(record, tmp_path, monkeypatch):
    offers = tables.offers_table(record, "r", "p", 0)
    tables.write("offers", offers, tmp_path)
    monkeypatch.setattr(tables, "_LARGE", 10)
    _, text = tables.write("offers", offers, tmp_path)
    assert text.name == "offers.csv.gz" and not (tmp_path / "offers.csv").exists()
    assert len(pd.read_csv(text)) == len(offers)


def test_a_missing_value_is_named(record, tmp_path):
    offers = tables.offers_table(record, "r", "p", 0)
    offers.loc[5, "unmet"] = np.nan
    with pytest.raises(tables.TableError, match=r"table offers: column 'unmet' is NaN in 1 rows.*episode=0"):
        tables.write("offers", offers, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_infinite_value_is_named(record, tmp_path):
    offers = tables.offers_table(record, "r", "p", 0)
    offers["stock"] = np.inf  # unlimited
    tables.check("offers", offers)
    offers.loc[5, "profit"] = -np.inf
    with pytest.raises(tables.TableError, match=r"table offers: column 'profit' is infinite in 1 rows.*episode=0"):
        tables.write("offers", offers, tmp_path)


def test_a_failed_write_leaves_the_old_file(record, tmp_path):
    target = tables.write_atomically(tmp_path / "report.html", "old")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_with(target, fail)
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_sellers_with_names_are_named() -> None:
    from marl_pricing.evaluation.report.texts import seller_line

    assert seller_line(["National", "Private"]) == "; sellers National (0), Private (1)"
    assert seller_line([]) == ""
