"""PCA's hyperparameters: SageMaker's strings in, every problem reported at once."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import HyperparameterError
from eigenline.algorithms.pca.settings import PCASettings, read_settings

REQUIRED = {"feature_dim": "784", "mini_batch_size": "500", "num_components": "10"}


def test_defaults_are_those_of_the_service() -> None:
    settings = read_settings(REQUIRED)
    assert settings.algorithm_mode == "regular"
    assert settings.extra_components == -1
    assert settings.subtract_mean is True
    assert settings.given == frozenset(REQUIRED)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("subtract_mean", "True", True),
        ("subtract_mean", "False", False),
        ("subtract_mean", "false", False),
        ("subtract_mean", False, False),
        ("algorithm_mode", "randomized", "randomized"),
        ("algorithm_mode", "stable", "regular"),
        ("extra_components", "0", 0),
        ("extra_components", "-1", -1),
        ("extra_components", "40", 40),
        ("feature_dim", 784, 784),
        ("seed", "7", 7),
    ],
)
def test_values_are_read_from_their_string_forms(name: str, text: object, value: object) -> None:
    assert getattr(read_settings({**REQUIRED, name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("num_components", "0", "an integer of at least 1"),
        ("num_components", "2.5", "an integer of at least 1"),
        ("feature_dim", "-3", "an integer of at least 1"),
        ("mini_batch_size", "", "an integer of at least 1"),
        ("algorithm_mode", "exact", "one of 'regular', 'randomized'"),
        ("extra_components", "-2", "an integer of at least -1"),
        ("subtract_mean", "yes", "'true' or 'false'"),
    ],
)
def test_a_bad_value_is_named_with_its_rule(name: str, text: str, rule: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        read_settings({**REQUIRED, name: text})
    assert name in str(caught.value)
    assert rule in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        read_settings({"num_components": "none", "mini_batch_siz": "5"})
    message = str(caught.value)
    assert "num_components: must be" in message
    assert "did you mean 'mini_batch_size'?" in message
    assert "feature_dim: is required" in message


def test_private_defaults_of_the_service_are_tolerated() -> None:
    private = {
        "force_dense": "true",
        "epochs": 1,
        "_log_level": "info",
        "_kvstore": "dist_sync",
        "_num_gpus": "auto",
    }
    assert read_settings({**REQUIRED, **private}) == read_settings(REQUIRED)


@pytest.mark.parametrize(
    ("num_components", "extra", "size"), [(3, -1, 13), (10, -1, 20), (50, -1, 100), (3, 0, 3), (50, 7, 57)]
)
def test_sketch_size_resolves_minus_one_to_the_larger_of_ten_and_num_components(
    num_components: int, extra: int, size: int
) -> None:
    given = {**REQUIRED, "num_components": num_components, "extra_components": extra}
    assert read_settings(given).sketch_size == size


@given(st.dictionaries(st.sampled_from([*REQUIRED, "algorithm_mode", "seed", "x"]), st.text(max_size=8)))
def test_any_strings_give_settings_or_a_hyperparameter_error(given: dict[str, str]) -> None:
    with contextlib.suppress(HyperparameterError):
        assert isinstance(read_settings(given), PCASettings)
