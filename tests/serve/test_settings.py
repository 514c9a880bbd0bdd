"""Settings come from SageMaker's variables, and a wrong one is named."""

from pathlib import Path

import pytest

from eigenline.serve.settings import MEBIBYTE, SettingError, Settings, read_settings


def test_defaults_are_sagemakers() -> None:
    settings = read_settings({})
    assert (settings.base_dir, settings.port, settings.timeout_seconds) == (Path("/opt/ml"), 8080, 60)
    assert settings.max_payload_bytes == 6 * MEBIBYTE
    assert settings.workers >= 1
    assert settings.body_budget_bytes >= settings.max_payload_bytes
    assert not settings.multi_model
    assert settings.page


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SAGEMAKER_BIND_TO_PORT": "9000"}, {"port": 9000}),
        ({"SAGEMAKER_BASE_DIR": "/tmp/ml"}, {"base_dir": Path("/tmp/ml")}),
        ({"MODEL_SERVER_WORKERS": "3"}, {"workers": 3}),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "5"}, {"workers": 5}),
        ({"MODEL_SERVER_WORKERS": "3", "SAGEMAKER_MODEL_SERVER_WORKERS": "5"}, {"workers": 3}),
        ({"MODEL_SERVER_TIMEOUT": "120"}, {"timeout_seconds": 120}),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "90"}, {"timeout_seconds": 90}),
        ({"MAX_CONTENT_LENGTH": "1000"}, {"max_payload_bytes": 1000}),
        ({"SAGEMAKER_BATCH": "True"}, {"batch": True, "max_payload_bytes": 100 * MEBIBYTE}),
        ({"SAGEMAKER_BATCH": "true", "MAX_CONTENT_LENGTH": "9"}, {"max_payload_bytes": 9}),
        ({"SAGEMAKER_BATCH_STRATEGY": "SingleRecord"}, {"batch_strategy": "SINGLE_RECORD"}),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, {"multi_model": True}),
        ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"}, {"default_accept": "text/csv"}),
        (
            {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label, Probability"},
            {"output": ("predicted_label", "probability")},
        ),
        ({"EIGENLINE_THRESHOLD": "0.25"}, {"threshold": 0.25}),
        ({"EIGENLINE_PAGE": "false"}, {"page": False}),
        ({"SAGEMAKER_CONTAINER_LOG_LEVEL": "20"}, {"log_level": "INFO"}),
        ({"MODEL_SERVER_WORKERS": ""}, {"port": 8080}),
    ],
)
def test_each_variable(variables: dict[str, str], expected: dict[str, object]) -> None:
    settings = read_settings(variables)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("MODEL_SERVER_WORKERS", "0"),
        ("MODEL_SERVER_WORKERS", "two"),
        ("MODEL_SERVER_TIMEOUT", "1.5"),
        ("MAX_CONTENT_LENGTH", "-1"),
        ("SAGEMAKER_MULTI_MODEL", "maybe"),
        ("SAGEMAKER_BATCH_STRATEGY", "all"),
        ("EIGENLINE_THRESHOLD", "nan"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name) as caught:
        read_settings({name: value})
    assert repr(value) in str(caught.value)


def test_one_body_of_the_allowed_size_always_fits_the_budget() -> None:
    settings = read_settings({"MAX_CONTENT_LENGTH": str(10**10), "MODEL_SERVER_WORKERS": "64"})
    assert settings.body_budget_bytes >= 10**10
    assert isinstance(settings, Settings)
