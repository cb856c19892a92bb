"""What a shop plays is promoted: with an evaluation in which nobody punishes, or with a reason in writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marl_pricing.serving import registry
from marl_pricing.serving.__main__ import main
from marl_pricing.serving.learned import policies_in
from marl_pricing.serving.pipeline import replay
from tests.markets import make
from tests.serving.asking import shop
from tests.serving.test_learned import ALL, CATALOGUE, write


@pytest.fixture
def made() -> Any:
    return make({}, num_sellers=2, num_products=2, features=[*ALL])


def _policy(folder: Path, made: Any, digest: str) -> str:
    return str(write(folder / f"{digest}.npz", made, provenance={"parameters_sha256": digest}))


def _evaluation(folder: Path, punishes: bool | None, *policies: str) -> str:
    folder.mkdir(exist_ok=True)
    runs = {"competitive": {"policies_sha256": list(policies), "punishes": punishes}}
    (folder / "summary.json").write_text(json.dumps({"format": 1, "runs": runs}))
    return str(folder)


def _promote(out: Path, policy: str, *settings: str) -> int:
    return main(["promote", f"policy={policy}", f"out={out}", *settings])


def test_a_policy_that_punishes_is_refused_unless_overridden_in_writing(
    tmp_path: Path, made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out, policy = tmp_path / "shop", _policy(tmp_path, made, "aa")
    calm, harsh = _evaluation(tmp_path / "calm", False, "aa", "bb"), _evaluation(tmp_path / "harsh", True, "aa")

    def refused(*settings: str) -> str:
        assert _promote(out, policy, *settings) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and registry.entries(out) == []
        return error

    assert "sellers of competitive punish who cuts a price" in refused(f"evaluation={harsh}")
    assert "evaluation: has to be given" in refused()
    assert "nobody looked" in refused(f"evaluation={_evaluation(tmp_path / 'blind', None, 'aa')}")
    assert "other networks" in refused(f"evaluation={_evaluation(tmp_path / 'other', False, 'cc')}")
    assert "summary.json" in refused(f"evaluation={tmp_path}")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "summary.json").write_text('{"runs": {"competitive": {}}}')
    assert "of this version" in refused(f"evaluation={tmp_path / 'old'}")
    assert "override" in refused("override=short")
    assert _promote(out, policy, f"evaluation={harsh}", "override=the regulator asked for it") == 0
    assert _promote(out, policy, f"evaluation={calm}") == 0
    told = registry.entries(out)
    assert [(own["punishes"], own["override"]) for own in told] == [(True, "the regulator asked for it"), (False, None)]
    assert main(["policies", f"out={out}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "sellers punish a cut, all the same: the regulator asked for it" in lines[-2]


def test_one_goes_back_as_often_as_there_was_another(tmp_path: Path, made: Any, capsys) -> None:
    out = tmp_path / "shop"
    for digest in ("aa", "bb", "cc"):
        calm = _evaluation(tmp_path / digest, False, digest)
        assert _promote(out, _policy(tmp_path, made, digest), f"evaluation={calm}") == 0
    first, second, third = (own["policy"] for own in registry.entries(out))
    assert len({first, second, third}) == 3
    for expected in (second, first):
        assert main(["rollback", f"out={out}", "reason=it sold nothing"]) == 0
        assert registry.active(out) == expected
    assert main(["rollback", f"out={out}", "reason=again"]) == 2
    assert "another policy was promoted before" in capsys.readouterr().err
    assert len(registry.entries(out)) == 5
    (out / registry.FILE).open("a").write("{}\n")
    assert main(["policies", f"out={out}"]) == 2
    assert "line 6" in capsys.readouterr().err


def test_a_running_shop_takes_up_what_is_promoted(tmp_path: Path, made: Any) -> None:
    (tmp_path / "shop.csv").write_text(CATALOGUE)
    out = tmp_path / "shop"
    given = {
        "pricer": "policy", "policy": "promoted", "policy_seller": 1, "policy_products": ["a", "b"],
        "catalogue": str(tmp_path / "shop.csv"), "max_change": 10.0, "max_change_day": 10.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="until one was promoted"), shop(out, **given):
        pass
    policies = [_policy(tmp_path, made, digest) for digest in ("aa", "bb")]
    calm = _evaluation(tmp_path / "calm", False, "aa", "bb")
    assert _promote(out, policies[0], f"evaluation={calm}") == 0
    with shop(out, **given) as own:
        first = own.service.book.pricing.policy
        assert own.post("/models/reload", {}).json["changed"] is False
        own.until(301)
        assert _promote(out, policies[1], f"evaluation={calm}") == 0
        told = own.post("/models/reload", {}).json
        assert told["changed"] is True and told["policy"] == registry.active(out) != first
        own.until(602)
        assert main(["rollback", f"out={out}", "reason=once more"]) == 0
        assert own.post("/models/reload", {}).json["policy"] == first
        own.until(903)
        records, vectors = own.service._reader.read(1, 1000), own.service._reader.vectors()
    assert len({own["pricer_version"] for own in vectors}) == 2
    assert replay(records, policies_in(out)) == vectors
