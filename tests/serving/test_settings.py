"""Settings and catalogues that cannot be had are refused by name; a service starts without JAX."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.errors import validate
from marl_pricing.intake import IntakeError
from marl_pricing.serving.__main__ import main
from marl_pricing.serving.catalogue import from_plain, read_catalogue, to_plain
from marl_pricing.serving.settings import TEXTS, ServeSettings, check_together
from marl_pricing.shipped import shipped
from tests.processes import ROOT, python


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("log=kafka", "kafka: has to be given for log=kafka"),
        ("log=files", "log='files': accepted is 'sqlite' or 'kafka'"),
        ("kafka=localhost:9092", "kafka='localhost:9092': accepted is null for log=sqlite"),
        ("kafka=localhost", "kafka='localhost': accepted is"),
        ("kafka_partitions=2", "kafka_partitions=2: accepted is 4 for log=sqlite"),
        ("prices=redis", "redis: has to be given for prices=redis"),
        ("redis=redis://localhost:6379", "redis='redis://localhost:6379': accepted is null for prices=process"),
        ("pricer=qtable", "pricer='qtable': accepted is policy, with the table's file as policy=FILE"),
        ("pricer=fast", "pricer='fast': accepted is 'static', 'surge', 'elasticity', 'session' or 'policy'"),
        ("pricr=surge", "pricr='surge': there is no such setting; did you mean pricer?"),
        ("experiments=2", "experiments=2: there is no such setting"),
        ("window=0", "window=0: accepted is a number of at least 0.1"),
        ("ending=1.5", "ending=1.5: accepted is null or the last cents of a price"),
        ("surge_low=40", "surge_low=40.0: accepted is a number below surge_high=30"),
        ("withhold_above=0.5", "withhold_above=0.5: accepted is null without kernels"),
        ("frozen=[nothing]", "frozen='nothing': accepted is the id of a product of the catalogue"),
        ("host=0.0.0.0", "host='0.0.0.0': accepted is 127.0.0.1 while ingest_key_file is not given"),
        ("price_port=5000", "price_port=5000: accepted is another port than event_port's"),
        ("cors=[shop.example]", "cors='shop.example': accepted is an origin as https://shop.example"),
        ("ingest_key_file=nothing.key", "ingest_key_file='nothing.key': cannot be read, No such file or directory"),
        ("catalogue=nothing.csv", "catalogue: nothing.csv: there is no such file"),
        ("kernels=nothing.yaml", "nothing.yaml"),
    ],
)
def test_a_setting_that_cannot_be_had_is_a_line(setting: str, told: str, tmp_path: Path, capsys) -> None:
    assert main([f"out={tmp_path / 'shop'}", setting]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and told in lines[0]


def test_a_folder_is_one_services(tmp_path: Path, capsys) -> None:
    from tests.serving.asking import shop

    with shop(tmp_path):
        assert main([f"out={tmp_path}"]) == 2
    assert "accepted is a folder that no other service is at work in" in capsys.readouterr().err


def test_the_shipped_catalogue_has_both_modes_and_comes_back_from_json() -> None:
    own = read_catalogue(shipped("examples") / "shop" / "catalogue.csv")
    assert {product.mode for product in own.values()} == {"hotel", "airline"}
    assert from_plain(to_plain(own)) == own


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a,hotel,A,x,1,1,2,", "line 2: base_price='x': accepted is a number from 0"),
        ("a,hotel,A,1,nan,1,2,", "line 2: cost='nan'"),
        ("a,train,A,1,1,1,2,", "line 2: mode='train': accepted is hotel or airline"),
        ("a b,hotel,A,1,1,1,2,", "line 2: id='a b'"),
        ("a,hotel,A,1,2,3,4,", "accepted is cost <= floor <= base_price <= cap"),
        ("a,hotel,A,1,1,1,2", "line 2: accepted is one value a column"),
        ("a,hotel,A,1,1,1,2,\na,hotel,B,1,1,1,2,", "line 3: id='a' is there twice"),
        ("", "there is no product"),
    ],
)
def test_a_catalogue_is_refused_with_its_line(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(f"id,mode,name,base_price,cost,floor,cap,stock\n{line}\n")
    with pytest.raises(IntakeError) as refused:
        read_catalogue(path)
    assert told in str(refused.value)


def test_a_service_without_kernels_needs_no_jax(tmp_path: Path) -> None:
    code = """
        import sys
        from marl_pricing.serving.service import Service
        from marl_pricing.serving.settings import ServeSettings
        service = Service(ServeSettings(out=sys.argv[1]))
        service.start()
        service.close()
        print(sorted({"jax", "pandas", "scipy"} & set(sys.modules)))
    """
    done = python(code, {"jax"}, str(tmp_path))
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_containers_shop_has_settings_that_go_together() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    given = read_command_line(services["shop"]["command"], texts=TEXTS)
    own = validate(ServeSettings, given)
    check_together(own, set())
    assert (own.log, own.prices, own.host) == ("kafka", "redis", "127.0.0.1")
    assert set(services["shop"]["depends_on"]) == {"redis", "broker", "postgres"} <= set(services)
    for name in ("redis", "broker", "postgres"):  # nobody else reaches them
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
