"""Every example of NegMAS's overview that prints a value prints it, in the document's order, with `random.seed(0)`.

Issues, functions, mechanisms and negotiators draw their names and offers from one generator from the first cell to the
last, so the cells are played in their order once, and the tests compare what they left.
"""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

negmas = pytest.importorskip("negmas", reason="the extra `procurement` is not installed")

from attrs import define  # noqa: E402
from negmas.helpers.prob import Real, UniformDistribution  # noqa: E402

COST = 0


def issues_and_outcomes() -> dict[str, Any]:
    make_issue = negmas.make_issue
    one = make_issue(values=["to be", "not to be"])
    two = make_issue(values=["to be", "not to be"], name="The Problem")
    three = make_issue(values=10, name="number of items")
    four = make_issue(values=(0.0, 1.0), name="cost")
    rest = [two, three, four]
    told: dict[str, Any] = {
        "texts": [str(own) for own in (one, two, three, four)],
        "cardinality": [two.cardinality, three.cardinality, four.cardinality],
        "type": [two.type, two.is_discrete(), two.is_continuous()],
        "num_outcomes": [negmas.num_outcomes([one, two, three, four]), negmas.num_outcomes([one, two, three])],
        "random": [[own.rand_valid(), own.rand_invalid()] for own in (one, three, four)],
        "all": [tuple(own.all) for own in (one, two, three)],
    }
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the text is what the document prints
        tuple(four.all)
    told["continuous"] = str(refused.value)
    valid = {"The Problem": "to be", "number of items": 5, "cost": 0.15}
    invalid = valid | {"number of items": 10}
    partial = [{"The Problem": "to be"}, {"The Problem": "to be", "number of items": 5}]
    sequences = [["to be", 4, 0.5], ("to be", 4, 1.5)]
    told["valid"] = [negmas.outcome_is_valid(own, rest) for own in (valid, invalid, *partial, *sequences)]
    told["complete"] = [negmas.outcome_is_complete(own, rest) for own in (valid, invalid, partial[0])]
    span = {"The Problem": ["to be", "not to be"], "number of items": 5, "cost": (0.1, 0.2)}
    told["in_range"] = [negmas.outcome_in_range(own, span) for own in (valid, invalid)]
    told["space"] = type(negmas.make_os([one, two, three, four])).__name__
    told["issues"] = [one, two, three, four]
    return told


class ConstUtilityFunction(negmas.UtilityFunction):
    def eval(self, offer):
        try:
            return 3.0 * offer[COST]
        except KeyError:
            return None

    def xml(self):
        return ""


class MoodyUtilityFunction(negmas.UtilityFunction):
    def __init__(self, mood="good", stationary=False):
        super().__init__()
        self.mood = mood
        self._stationary = stationary

    def to_stationary(self):
        return MoodyUtilityFunction(mood=self.mood, stationary=True)

    def eval(self, offer):
        if self.mood not in ("good", "bad"):
            raise ValueError(f"Cannot calculate utility for {offer}")
        return float(offer[COST]) if self.mood == "good" else 0.1 * offer[COST]

    def set_mood(self, mood):
        if self._stationary:
            return
        self.mood = mood

    def xml(self):
        pass


class ParallelResponseMechanism(negmas.Mechanism):
    def __init__(self, *args, initial_state=None, **kwargs):
        super().__init__(*args, initial_state=initial_state or negmas.sao.SAOState(), **kwargs)
        self.state.current_offer = None
        self.current_offerer = -1

    def __call__(self, state, action=None):
        nxt = (self.current_offerer + 1) % len(self.negotiators)
        current = self.negotiators[nxt]
        self.state.current_offer = current.propose(self.state)

        def get_response(negotiator, state=self.state):
            return negotiator.respond(state, self.current_offerer)

        with ThreadPoolExecutor(4) as executor:
            responses = list(executor.map(get_response, [own for own in self.negotiators if own.id != current.id]))
        self.current_offerer = nxt
        if all(own == negmas.ResponseType.ACCEPT_OFFER for own in responses):
            state.agreement = self.state.current_offer
        if any(own == negmas.ResponseType.END_NEGOTIATION for own in responses):
            state.broken = True
        return negmas.MechanismStepResult(state=state)


@define
class MyState(negmas.MechanismState):
    current_offer: negmas.Outcome | None = None
    current_offerer: str = "none"


class NewParallelResponseMechanism(ParallelResponseMechanism):
    def __init__(self, *args, **kwargs):
        kwargs["initial_state"] = MyState()
        super().__init__(*args, **kwargs)


def played(kind: type, steps: int, seller: list, buyer: list) -> Any:
    mechanism = kind(outcomes=6, n_steps=steps)
    mechanism.add(negmas.LimitedOutcomesNegotiator(name="seller", acceptable_outcomes=seller))
    mechanism.add(negmas.LimitedOutcomesNegotiator(name="buyer", acceptable_outcomes=buyer))
    mechanism.run()
    return mechanism


def own_functions() -> dict[str, Any]:
    told: dict[str, Any] = {
        "values": [str(Real(1.0)), str(UniformDistribution())],
        "constant": ConstUtilityFunction()((10,)),
    }
    moody, offer = MoodyUtilityFunction(), (10,)
    told["moody"] = [moody(offer)]
    moody.set_mood("bad")
    told["moody"].append(moody(offer))
    moody.set_mood("undecided")
    with pytest.raises(ValueError, match="Cannot calculate") as refused:
        moody(offer)
    return told | {"undecided": str(refused.value)}


def linear_forms() -> list[list[float]]:
    """What three forms of one function say of every outcome."""
    issues, values = [negmas.make_issue(2, "i1"), negmas.make_issue(2, "i2")], [lambda x: x] * 3
    every = [(0, 0), (0, 1), (1, 0), (1, 1)]
    forms = [
        negmas.LinearAdditiveUtilityFunction(issues=issues, values=values),
        negmas.LinearAdditiveUtilityFunction(outcome_space=negmas.make_os(issues=issues), values=values),
        negmas.LinearAdditiveUtilityFunction(outcomes=every, values=values),
    ]
    return [[form(outcome) for outcome in every] for form in forms]


def aggregations() -> dict[str, list[float]]:
    issues = [
        negmas.make_issue((0, 10), "price"),
        negmas.make_issue((1, 10), "number of items"),
        negmas.make_issue(["delivered", "not delivered"], "delivery"),
    ]
    delivery = {"delivered": 1.0, "not delivered": 0.0}
    buyer = negmas.LinearAdditiveUtilityFunction(
        {"price": lambda x: -x, "number of items": lambda x: 0.5 * x, "delivery": delivery}, issues=issues
    )
    offers = [(1.0, 3, "not delivered"), (1.0, 3, "delivered"), (1.8, 3, "delivered")]
    named = {"price": 1.8, "number of items": 3, "delivery": "delivered"}
    told = {"buyer": [*map(buyer, offers), buyer(negmas.dict2outcome(named, issues=buyer.issues))]}
    seller = negmas.NonLinearAggregationUtilityFunction(
        (lambda x: x, lambda x: 0.5 * x, delivery), f=lambda x: x[0] / x[1] - 0.5 * x[2]
    )
    told["seller"] = [seller(offer) for offer in offers]
    whole = negmas.HyperRectangleUtilityFunction(
        outcome_ranges=[None],
        utilities=[lambda x: 2.0 * x["price"] / x["number of items"] - 0.5 * int(x["delivery"] == "delivered")],
    )
    names = ("price", "number of items", "delivery")
    return told | {"whole": [whole(dict(zip(names, offer, strict=True))) for offer in offers]}


def rectangles() -> list[float]:
    own: dict[str, Any] = {
        "outcome_ranges": [None, {0: (1.0, 2.0), 1: (1.0, 2.0)}, {0: (1.4, 2.0), 2: (2.0, 3.0)}],
        "utilities": [5.0, 2.0, lambda x: 2 * x[2] + x[0]],
    }
    weighted = negmas.HyperRectangleUtilityFunction(**own, weights=[1, 0.5, 2.5])
    lenient = negmas.HyperRectangleUtilityFunction(
        **own, ignore_failing_range_utilities=True, ignore_issues_not_in_input=True
    )
    return [weighted([1.5, 1.5, 2.5]), weighted([1.5, 1.5, 1.0]), weighted([1.5, 1.5]), lenient([1.5, 1.5])]


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    """The document from the first cell to the last."""
    random.seed(0)
    told = issues_and_outcomes() | own_functions()
    told["forms"] = linear_forms()
    told |= aggregations()
    told["rectangles"] = rectangles()
    # Before its first mechanism the document announces "an example of a full negotiation session" whose cell is lost;
    # its traces are those that follow where that cell ran a session like the next one.
    told["lost"] = played(negmas.SAOMechanism, 10, [(2,), (3,), (5,)], [(1,), (4,), (3,)])
    told["first"] = played(ParallelResponseMechanism, 10, [(2,), (3,), (5,)], [(1,), (4,), (3,)])
    told["second"] = played(NewParallelResponseMechanism, 10, [(2,), (3,), (5,)], [(1,), (4,), (3,)])
    told["impossible"] = played(NewParallelResponseMechanism, 6, [(2,), (0,), (5,)], [(1,), (4,), (3,)])
    told["possible"] = played(NewParallelResponseMechanism, 6, [(3,), (0,), (5,)], [(1,), (4,), (3,)])
    return told


def test_issues(session: dict[str, Any]) -> None:
    assert session["texts"][0].endswith(": ['to be', 'not to be']")
    assert session["texts"][1:] == [
        "The Problem: ['to be', 'not to be']",
        "number of items: (0, 9)",
        "cost: (0.0, 1.0)",
    ]
    assert session["cardinality"] == [2, 10, math.inf]
    assert session["type"] == ["categorical", True, False]
    assert session["num_outcomes"] == [math.inf, 40]
    assert session["all"] == [("to be", "not to be")] * 2 + [tuple(range(10))]
    assert session["continuous"] == "Cannot enumerate all values of a continuous issue"


def test_random_values(session: dict[str, Any]) -> None:
    (valid, invalid), *numbers = session["random"]
    assert valid == "to be" and "to be" in invalid and invalid not in ("to be", "not to be")
    assert numbers == [[6, 10], [0.6118970848141451, 1.928063278403899]]


def test_outcomes_and_ranges(session: dict[str, Any]) -> None:
    # The document's prose calls the two partial outcomes valid; what it prints is that they are not.
    assert session["valid"] == [True, False, False, False, True, False]
    assert session["complete"] == [True, False, False]
    assert session["in_range"] == [True, False]


def test_outcome_spaces(session: dict[str, Any]) -> None:
    assert session["space"] == "CartesianOutcomeSpace"
    space = negmas.make_os(session["issues"][:3])
    assert type(space).__name__ == "DiscreteCartesianOutcomeSpace" and space.cardinality == 40
    assert space.is_discrete() and space.is_finite() and not space.is_numeric() and not space.is_float()
    assert not space.is_integer() and space.cardinality_if_discretized(5) == 40
    assert space.to_single_issue().cardinality == 40 and space.limit_cardinality(10).cardinality <= 10
    whole = negmas.make_os(session["issues"])
    assert whole.cardinality == math.inf and whole.to_discrete(levels=5).is_discrete()
    assert whole.to_largest_discrete(levels=5).is_discrete() and len(list(whole.sample(3))) == 3
    assert len(list(space.enumerate_or_sample())) == 40
    assert not hasattr(whole, "is_continuous") and whole.is_not_discrete() and not whole.is_all_continuous()


def test_utility_values_and_own_functions(session: dict[str, Any]) -> None:
    assert session["values"] == ["1.0", "U(0.0, 1.0)"]
    assert session["constant"] == 30.0
    assert session["moody"] == [10.0, 1.0] and session["undecided"] == "Cannot calculate utility for (10,)"


def test_three_forms_of_a_linear_function_are_one(session: dict[str, Any]) -> None:
    assert session["forms"] == [[0, 1, 1, 2]] * 3


def test_linear_and_nonlinear_aggregation(session: dict[str, Any]) -> None:
    assert session["buyer"] == pytest.approx([0.5, 1.5, 0.7, 0.7])
    printed = [0.6666666666666666, 0.16666666666666663, 0.7]
    assert session["seller"] == pytest.approx(printed) and session["whole"] == pytest.approx(printed)


def test_hyper_rectangles(session: dict[str, Any]) -> None:
    assert session["rectangles"] == pytest.approx([22.25, 6.0, math.nan, 7.0], nan_ok=True)


PRINTED = """BaseUtilityFunction UtilityFunction ProbUtilityFunction PresortingInverseUtilityFunction
SamplingInverseUtilityFunction DiscountedUtilityFunction ConstUtilityFunction LinearUtilityAggregationFunction
LinearAdditiveUtilityFunction LinearUtilityFunction AffineUtilityFunction MappingUtilityFunction
NonLinearAggregationUtilityFunction HyperRectangleUtilityFunction NonlinearHyperRectangleUtilityFunction
RandomUtilityFunction RankOnlyUtilityFunction ProbMappingUtilityFunction IPUtilityFunction ILSUtilityFunction
UniformUtilityFunction ProbRandomUtilityFunction WeightedUtilityFunction ComplexNonlinearUtilityFunction"""


def test_names_that_are_there_and_names_that_are_gone() -> None:
    functions = {name for name in negmas.preferences.__all__ if name.endswith("Function")}
    assert len(PRINTED.split()) == 24 and set(PRINTED.split()) <= functions and len(functions) == 35
    for name in ("pareto_frontier", "make_discounted_ufun", "normalize", "minmax", "sample_outcome_with_utility"):
        assert callable(getattr(negmas.preferences, name))
    answers = {"ACCEPT_OFFER", "REJECT_OFFER", "END_NEGOTIATION", "NO_RESPONSE", "WAIT"}
    assert answers | {"LEAVE"} == {answer.name for answer in negmas.ResponseType}
    gone = ("outcome_with_utility", "StationaryUtilityFunction", "HyperVolumeUtilityFunction",
            "NoneLinearHyperVolumeUtilityFunction", "Agreement", "Response", "OrdinalPreferences")  # fmt: skip
    assert [name for name in gone if hasattr(negmas, name)] == []
    protocols = """Scalable PartiallyScalable Shiftable PartiallyShiftable Normalizable HasReservedOutcome
        HasReservedDistribution HasReservedValue HasRange IndIssues Ordinal CardinalProb CardinalCrisp
        StationaryMixin"""
    for name in protocols.split():
        assert hasattr(negmas.preferences, name), name
    for name in ("Controller", "World", "AgentWorldInterface", "BulletinBoard", "Contract", "Agent", "Negotiator"):
        assert hasattr(negmas, name), name


def trace(mechanism: Any) -> list[tuple]:
    return [(own.step, own.current_offer, own.agreement) for own in mechanism.history]


def test_the_parallel_mechanism_and_its_histories(session: dict[str, Any]) -> None:
    first, second = session["first"], session["second"]
    assert first.state.agreement == second.state.agreement == (3,)
    assert [len(own.history) for own in (first, second)] == [1, 1]
    history = first.history[0].asdict()
    printed = """running waiting started step time relative_time broken timedout agreement results last_thread
        current_offer current_proposer current_proposer_agent n_acceptances new_offers new_offerer_agents
        last_negotiator current_data new_data"""
    assert set(printed.split()) <= set(history) and len(history) == 28  # 26 in the document
    assert (history["relative_time"], history["timedout"], history["broken"]) == (pytest.approx(1 / 11), False, False)
    assert second.history[0].current_offerer == "none"


def test_the_traces_that_the_document_draws(session: dict[str, Any]) -> None:
    impossible, possible = session["impossible"], session["possible"]
    assert impossible.state.agreement is None
    assert trace(impossible) == [(step, (offer,), None) for step, offer in enumerate((5, 4, 2, 4, 0, 1))]
    assert [own.relative_time for own in impossible.history] == pytest.approx([(step + 1) / 7 for step in range(6)])
    assert trace(possible)[:4] == [(step, (offer,), None) for step, offer in enumerate((0, 1, 0, 4))]
    assert trace(possible)[4:] == [(4, (3,), (3,))] and possible.state.agreement == (3,)
