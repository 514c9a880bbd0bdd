"""Hyperparameters: every domain's edge, SageMaker's strings, and all problems in one message."""

import re
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import HyperparameterError
from eigenline.algorithms.hyperparameters import (
    AUTO,
    FLAG,
    POSITIVE,
    POSITIVE_INTEGER,
    Auto,
    Domain,
    auto_or,
    hyperparameter,
    integer,
    number,
    one_of,
    parse,
)

MODE = one_of("regular", "randomized", aliases={"stable": "regular"})


@dataclass(frozen=True)
class Sample:
    size: int = hyperparameter(POSITIVE_INTEGER, doc="rows")
    rate: float | Auto = hyperparameter(auto_or(POSITIVE), AUTO, doc="rate")
    mode: str = hyperparameter(MODE, "regular", doc="mode")
    use_bias: bool = hyperparameter(FLAG, True, doc="bias")

    def conflicts(self) -> list[str]:
        return ["rate: must be 'auto' without a bias"] if self.rate != AUTO and not self.use_bias else []


@pytest.mark.parametrize(
    ("domain", "text", "value"),
    [
        (POSITIVE_INTEGER, "1", 1),
        (integer(-1), "-1", -1),
        (POSITIVE, "1e-3", 0.001),
        (number(0, 1), "1", 1.0),
        (number(0, 1), ".5", 0.5),
        (FLAG, "True", True),
        (FLAG, "false", False),
        (MODE, "stable", "regular"),
        (auto_or(POSITIVE), "auto", AUTO),
        (auto_or(POSITIVE), "2.", 2.0),
    ],
)
def test_a_domain_takes(domain: Domain, text: str, value: object) -> None:
    assert domain.parse(text) == value


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (POSITIVE_INTEGER, "0"),
        (POSITIVE_INTEGER, "1.0"),
        (POSITIVE_INTEGER, " 7 "),
        (POSITIVE_INTEGER, "1_000"),
        (POSITIVE_INTEGER, "٣"),
        (POSITIVE_INTEGER, "9" * 400),
        (POSITIVE, "0"),
        (POSITIVE, "nan"),
        (POSITIVE, "inf"),
        (POSITIVE, "1e999"),
        (POSITIVE, ""),
        (number(0, 1, high_open=True), "1"),
        (FLAG, "yes"),
        (FLAG, "1"),
        (MODE, "Regular"),
        (auto_or(POSITIVE), "-1"),
    ],
)
def test_a_domain_refuses(domain: Domain, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        domain.parse(text)


def test_numbers_and_flags_need_not_be_strings() -> None:
    assert parse(Sample, {"size": 3, "rate": 0.5, "use_bias": True}) == Sample(size=3, rate=0.5)


def test_private_and_sdk_names_are_tolerated() -> None:
    given_names = {"size": "3", "_log_level": "info", "sagemaker_program": "x", "force_dense": "true"}
    assert parse(Sample, given_names, frozenset({"force_dense"})).size == 3


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        parse(Sample, {"rat": "1", "rate": "-1", "mode": "fast"})
    assert str(caught.value).splitlines() == [
        "4 hyperparameters are wrong:",
        "  'rat': unknown hyperparameter; did you mean 'rate'?",
        "  rate: must be 'auto' or a number in (0, inf); got '-1'",
        "  mode: must be one of 'regular', 'randomized'; got 'fast'",
        "  size: is required, and must be an integer of at least 1",
    ]


def test_rules_across_fields_come_last() -> None:
    with pytest.raises(HyperparameterError, match="without a bias"):
        parse(Sample, {"size": "1", "rate": "1", "use_bias": "false"})


@given(
    st.dictionaries(
        st.sampled_from(["size", "rate", "mode", "use_bias", "x"]),
        st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())),
    )
)
def test_any_input_gives_settings_or_a_user_error(values: dict[str, object]) -> None:
    with suppress(HyperparameterError):
        assert isinstance(parse(Sample, values), Sample)
