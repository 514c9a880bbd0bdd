"""Hyperparameters: SageMaker's strings in, every problem at once out."""

import pytest

from eigenline.algorithms.errors import HyperparameterError
from eigenline.algorithms.hyperparameters import declarations
from eigenline.algorithms.linear_learner.settings import Settings, as_dictionary, read_settings

# What the real container prints (2024 image): name -> default, every one a string.
CONTAINER_DEFAULTS = {
    "mini_batch_size": "1000",
    "epochs": "15",
    "feature_dim": "auto",
    "use_bias": "true",
    "binary_classifier_model_selection_criteria": "accuracy",
    "f_beta": "1.0",
    "target_recall": "0.8",
    "target_precision": "0.8",
    "num_models": "auto",
    "num_calibration_samples": "10000000",
    "init_method": "uniform",
    "init_scale": "0.07",
    "init_sigma": "0.01",
    "init_bias": "0.0",
    "optimizer": "auto",
    "loss": "auto",
    "margin": "1.0",
    "quantile": "0.5",
    "loss_insensitivity": "0.01",
    "huber_delta": "1.0",
    "num_classes": "1",
    "accuracy_top_k": "3",
    "wd": "auto",
    "l1": "auto",
    "momentum": "auto",
    "learning_rate": "auto",
    "beta_1": "auto",
    "beta_2": "auto",
    "bias_lr_mult": "auto",
    "bias_wd_mult": "auto",
    "use_lr_scheduler": "true",
    "lr_scheduler_step": "auto",
    "lr_scheduler_factor": "auto",
    "lr_scheduler_minimum_lr": "auto",
    "positive_example_weight_mult": "1.0",
    "balance_multiclass_weights": "false",
    "normalize_data": "true",
    "normalize_label": "auto",
    "unbias_data": "auto",
    "unbias_label": "auto",
    "num_point_for_scaler": "10000",
    "early_stopping_patience": "3",
    "early_stopping_tolerance": "0.001",
}


def test_all_public_hyperparameters_have_the_containers_defaults():
    defaults = as_dictionary(read_settings({"predictor_type": "regressor"}))
    spelled = {name: str(value).lower() for name, value in defaults.items()}
    assert {name: spelled[name] for name in CONTAINER_DEFAULTS} == CONTAINER_DEFAULTS
    assert set(spelled) - set(CONTAINER_DEFAULTS) == {"predictor_type", "compatibility", "seed"}
    extensions = {name for name, (declared, _) in declarations(Settings).items() if declared.extension}
    assert extensions == {"compatibility", "seed"}


def test_the_containers_own_defaults_can_be_sent_back():
    sent = {
        **CONTAINER_DEFAULTS,
        "predictor_type": "regressor",
        "_tuning_objective_metric": "",
        "_kvstore": "auto",
    }
    assert as_dictionary(read_settings(sent)) == as_dictionary(read_settings({"predictor_type": "regressor"}))


def test_every_problem_is_reported_at_once():
    with pytest.raises(HyperparameterError) as error:
        read_settings({"epochs": "0", "wd": "-1", "mini_batch_siz": "5", "target_recall": "1.5"})
    lines = str(error.value).splitlines()
    assert lines[0] == "5 hyperparameters are wrong:"
    assert any("epochs: must be an integer of at least 1; got '0'" in line for line in lines)
    assert any("did you mean 'mini_batch_size'?" in line for line in lines)
    assert any("predictor_type: is required" in line for line in lines)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"predictor_type": "regressor", "loss": "logistic"}, "not a loss of predictor_type 'regressor'"),
        ({"predictor_type": "multiclass_classifier"}, "num_classes: must be an integer from 3"),
        ({"predictor_type": "multiclass_classifier", "num_classes": "2"}, "for two classes use"),
        (
            {"predictor_type": "regressor", "use_bias": "false", "unbias_label": "true"},
            "unbias_label: 'true' needs",
        ),
        ({"predictor_type": "regressor", "use_bias": "False", "unbias_data": "True"}, "unbias_data: 'true' needs"),
    ],
)
def test_rules_across_hyperparameters(given, message):
    with pytest.raises(HyperparameterError, match=message):
        read_settings(given)


@pytest.mark.parametrize(("sent", "meant"), [("f1", "f_beta"), ("cross_entropy_loss", "loss_function")])
def test_legacy_names_of_criteria(sent, meant):
    settings = read_settings(
        {"predictor_type": "binary_classifier", "binary_classifier_model_selection_criteria": sent}
    )
    assert settings.binary_classifier_model_selection_criteria == meant


@pytest.mark.parametrize(("value", "meant"), [("balanced", "balanced"), ("auto", "auto"), ("2.5", 2.5)])
def test_the_weight_of_positives_is_a_number_or_a_word(value, meant):
    given = {"predictor_type": "binary_classifier", "positive_example_weight_mult": value}
    assert read_settings(given).positive_example_weight_mult == meant


def test_what_is_named_counts_as_set_unless_it_is_auto():
    settings = read_settings({"predictor_type": "regressor", "wd": "auto", "l1": "0", "epochs": 15})
    assert [settings.is_set(name) for name in ("wd", "l1", "epochs", "momentum")] == [False, True, True, False]
