"""A calibration from end to end: read, estimate, forecast, make the market, leave a folder."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from marl_pricing.calibration import by_group, page
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.forecast import Backtest, backtest
from marl_pricing.calibration.holidays import with_holidays
from marl_pricing.calibration.mapping import Mapping, read_mapping
from marl_pricing.calibration.market_file import CalibratedMarket, estimates_of, make_market, products_of, write_market
from marl_pricing.calibration.page import Findings
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import CalibrationError, Sales, choose_category, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.spreadsheets import csv_of

STEPS = ("read", "estimate", "by group", "back-test", "market", "page")
_PACKAGES = ("linearmodels", "pyblp", "pyfixest", "statsmodels", "pandas", "numpy")


def find(sales: Sales, own: CalibrationSettings, step: Callable[[str], None] = lambda _: None) -> Findings:
    """All that a calibration finds in sales.

    Args:
        step: told the name of each of `STEPS` as it begins.

    Raises:
        CalibrationError: where the elasticity is not identified. A back-test or market that cannot be had is no error
            here: the findings say why.
        ConfigError: for a category, seller or number of products that the file does not have.
    """
    step("estimate")
    chosen = choose_category(sales, own.category, own.leave_out)
    panel = make_panel(chosen.table)
    fit = fit_demand(panel, own)
    step("by group")
    several = panel.table["category"].nunique() > 1
    kind = fit.elasticity.estimator
    groups = (
        by_group.by_category(panel.rows, own.effects, kind, own.errors)
        if several
        else by_group.by_offer(panel.rows, kind)
    )
    step("back-test")
    tested: Backtest | None = None
    no_backtest = no_market = ""
    try:
        tested = backtest(panel, own)
    except CalibrationError as error:
        no_backtest = str(error)
    step("market")
    market: CalibratedMarket | None = None
    try:
        market = make_market(fit, panel.table, own)
    except CalibrationError as error:
        no_market = str(error)
    return Findings(
        chosen, panel, fit, groups, "category" if several else "offer", tested, no_backtest, market, no_market
    )


def mapping_of(own: CalibrationSettings) -> Mapping:
    """The mapping that the settings name, with the period that they name.

    Raises:
        ConfigError: as `read_mapping`.
    """
    mapping = read_mapping(own.mapping)
    return mapping if own.period is None else mapping.model_copy(update={"period_length": own.period})


def calibrate(own: CalibrationSettings, command: list[str], step: Callable[[str], None] = lambda _: None) -> Findings:
    """Read the file that the settings name, and leave in `out`: market.yaml, calibration.html, tables, figures.

    Raises:
        CalibrationError, ConfigError: one line a fault; then nothing is left but the quarantine file that it names.
    """
    out = Path(own.out)
    step("read")
    mapping = mapping_of(own)
    with _as_it_was(out) as quarantine:
        sales = with_holidays(read_sales(own.data, mapping, own.judging, quarantine=quarantine), own.holidays)
        found = find(sales, own, step)
    step("page")
    provenance = {
        "command": shlex.join(command),
        "file": Path(own.data).name,
        "sha256": hashlib.sha256(Path(own.data).read_bytes()).hexdigest(),
        "rows": sales.rows,
        "rows_set_aside": dict(sales.reasons),
        "read_as": list(sales.read_as),
        "category": own.category,
        "versions": {name: version(name) for name in _PACKAGES},
        "settings": own.model_dump(mode="json", exclude={"data", "out", "mapping"}),
    }
    _leave(out, found, provenance)
    return found


@contextmanager
def _as_it_was(out: Path) -> Iterator[Path]:
    """The quarantine file of a folder that is made; after a fault the folder is what it was, unless the fault names
    that file."""
    quarantine = out / "quarantine.csv"
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    before = quarantine.read_bytes() if quarantine.exists() else None
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield quarantine
    except BaseException as error:  # Ctrl-C is one
        if str(quarantine) not in str(error):
            if before is None:
                quarantine.unlink(missing_ok=True)
            else:
                write_atomically(quarantine, before)
            for folder in made:  # the innermost first
                with suppress(OSError):
                    folder.rmdir()
        raise


def _leave(out: Path, found: Findings, provenance: dict) -> None:
    """Write everything; an older market is taken away where there is none now."""
    (out / "figures").mkdir(exist_ok=True)
    images = {name: style.write_for_page(out / "figures", name, draw) for name, _, _, draw in page.pictures(found)}
    title = f"Calibration of {provenance['file']}" + (f", {provenance['category']}" if provenance["category"] else "")
    write_atomically(out / "calibration.html", page.render(found, title, provenance, images).encode())
    write_atomically(out / "elasticities.csv", csv_of(found.groups))
    if found.market is not None:
        offers = found.market.offers.assign(currency=found.sales.currency)
        write_atomically(out / "offers.csv", csv_of(offers))
    else:
        (out / "offers.csv").unlink(missing_ok=True)
    estimates = estimates_of(found.fit)
    everything = estimates | {"elasticities": products_of(found.fit)}
    write_atomically(out / "estimates.json", json.dumps(everything, indent=1, ensure_ascii=False).encode())
    if found.backtest is not None:
        write_atomically(out / "backtest.csv", csv_of(found.backtest.scores))
        cells = found.backtest.cells.assign(currency=found.sales.currency)
        write_atomically(out / "forecasts.csv", csv_of(cells))
    if found.market is None:
        (out / "market.yaml").unlink(missing_ok=True)
    else:
        sales = found.sales
        units = {"currency": sales.currency} if sales.currency else {}
        units |= {"period": sales.period_name} if sales.period_name != "period" else {}
        write_market(out / "market.yaml", found.market, estimates, provenance, units)
