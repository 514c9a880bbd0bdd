"""The scikit-learn faces: scikit-learn's own checks, and what they add to them."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from eigenline import PCA, LinearLearnerClassifier, LinearLearnerRegressor
from eigenline.algorithms.linear_learner.estimators import LinearLearner


@parametrize_with_checks([LinearLearnerClassifier(), LinearLearnerRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("loss", ["hinge_loss", "squared_loss"])
def test_a_loss_without_probabilities_has_no_predict_proba(loss):
    X = np.arange(40.0).reshape(20, 2)
    model = LinearLearnerClassifier(loss=loss).fit(X, np.arange(20) > 9)
    assert not hasattr(model, "predict_proba")
    assert model.score(X, np.arange(20) > 9) == 1.0


def test_the_factory_chooses_by_predictor_type():
    assert isinstance(LinearLearner("regressor", loss="huber_loss"), LinearLearnerRegressor)
    assert isinstance(LinearLearner("binary_classifier"), LinearLearnerClassifier)
    assert LinearLearner("multiclass_classifier", num_classes=3, wd=0.1).wd == 0.1
    with pytest.raises(ValueError, match="predictor_type: must be one of"):
        LinearLearner("classifier")


def test_it_is_as_good_as_logistic_regression_with_string_labels():
    X, y = load_breast_cancer(return_X_y=True)
    y = np.array(["malignant", "benign"])[y]
    differences = []
    for seed in range(5):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed, test_size=0.4)
        ours = LinearLearnerClassifier().fit(X_train, y_train)
        scale = X_train.std(axis=0)
        theirs = LogisticRegression(max_iter=1000).fit(X_train / scale, y_train)
        differences.append(ours.score(X_test, y_test) - theirs.score(X_test / scale, y_test))
    assert np.mean(differences) > -0.01
    served = ours.model_.predict(X_test).score
    assert ours.predict_proba(X_test)[:, 1] == pytest.approx(served, abs=1e-3)


def test_models_are_listed_with_their_outcome():
    X, y = load_iris(return_X_y=True)
    estimator = LinearLearnerClassifier(num_models=4).fit(X, y)
    assert sum(model["stage"] == "path" for model in estimator.models_) == 4
    assert sum(model["outcome"] == "chosen" for model in estimator.models_) == 1
    assert estimator.coef_.shape == (3, 4)
    assert estimator.score(X, y) > 0.95


def test_validation_data_choose_model_and_threshold(rng):
    X = rng.normal(size=(2000, 3))
    y = (X[:, 0] + rng.normal(size=2000) > 1).astype(int)
    estimator = LinearLearnerClassifier(
        binary_classifier_model_selection_criteria="precision_at_target_recall", target_recall=0.9
    ).fit(X[:1000], y[:1000], validation=(X[1000:], y[1000:]))
    predicted = estimator.predict(X[1000:])
    assert predicted[y[1000:] == 1].mean() >= 0.9 - 1e-9
    with pytest.raises(ValueError, match=r"label .*8"):
        estimator.fit(X, y, validation=(X, y + 7))


def test_a_grid_search_finds_its_way():
    X, y = load_diabetes(return_X_y=True)
    search = GridSearchCV(LinearLearnerRegressor(), {"wd": [1e-4, 10.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"wd": 1e-4}


def test_hyperparameter_problems_are_value_errors_that_name_them():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="wd: must be 'auto' or a number"):
        LinearLearnerClassifier(wd=-1).fit(X, y)
    with pytest.raises(ValueError, match="not a loss of predictor_type"):
        LinearLearnerClassifier(loss="hinge_loss").fit(X, y)
    with pytest.raises(TypeError, match="no hyperparameter 'learningrate'"):
        LinearLearnerClassifier(learningrate=1)


def test_hinge_has_no_probabilities(rng):
    X = rng.normal(size=(300, 2))
    estimator = LinearLearnerClassifier(loss="hinge_loss").fit(X, X[:, 0] > 0)
    assert not hasattr(estimator, "predict_proba")
    assert estimator.score(X, X[:, 0] > 0) > 0.97


def test_numbers_of_numpy_are_numbers():
    X, y = load_diabetes(return_X_y=True)
    search = GridSearchCV(LinearLearnerRegressor(), {"wd": np.logspace(-4, 1, 3)}, cv=3).fit(X, y)
    assert 1e-4 <= search.best_params_["wd"] < 1
    assert LinearLearnerRegressor(wd=np.float64(0.1), num_models=np.int64(1)).fit(X, y).n_iter_ > 0


@pytest.mark.parametrize("classes", [2, 3])
def test_log_probabilities_are_those_of_the_probabilities(rng, classes):
    X = rng.normal(size=(300, 3))
    y = np.digitize(X[:, 0], np.linspace(-0.5, 0.5, classes - 1))
    estimator = LinearLearnerClassifier().fit(X, y)
    assert np.exp(estimator.predict_log_proba(X)) == pytest.approx(estimator.predict_proba(X), abs=1e-12)
    assert np.isfinite(estimator.predict_log_proba(1e4 * X)).all()


def test_a_result_that_is_not_what_was_asked_for_is_warned_of(rng):
    X = rng.normal(size=(100, 3))
    y = np.zeros(100)
    y[7] = 1
    estimator = LinearLearnerClassifier(binary_classifier_model_selection_criteria="recall_at_target_precision")
    with pytest.warns(UserWarning, match="No threshold reaches the target"):
        estimator.fit(X, y)
    with pytest.raises(ValueError, match="all weight lies on one class"):
        LinearLearnerClassifier().fit(X, y, sample_weight=1 - y)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("scale", [1e-160, 1e-30, 1e30, 1e150])
def test_extreme_scales_leave_no_warning_of_numpys(rng, scale):
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] > 0).astype(int)
    assert LinearLearnerClassifier().fit(X * scale, y).score(X * scale, y) > 0.9


def test_losses_of_two_classes_say_so_in_their_tags():
    assert not LinearLearnerClassifier(loss="hinge_loss").__sklearn_tags__().classifier_tags.multi_class
    assert LinearLearnerClassifier().__sklearn_tags__().classifier_tags.multi_class


@pytest.mark.parametrize("kind", [LinearLearnerClassifier, LinearLearnerRegressor, PCA])
def test_every_parameter_is_documented(kind):
    documented = set(re.findall(r"^    ([a-z_0-9]+)(?: : .*)?$", kind.__doc__, re.MULTILINE))
    assert set(kind().get_params()) <= documented


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (LinearLearnerClassifier, "C", r"here it is wd, which is 1 / \(C \* n_samples\)"),
        (LinearLearnerClassifier, "class_weight", "positive_example_weight_mult='balanced'"),
        (LinearLearnerClassifier, "random_state", "here it is seed"),
        (LinearLearnerRegressor, "alpha", r"here it is wd \(L2\) or l1"),
        (LinearLearnerRegressor, "max_iter", "here it is epochs"),
        (PCA, "n_components", "here it is num_components"),
        (PCA, "random_state", "here it is seed"),
    ],
)
def test_scikit_learns_names_are_answered_with_ours(kind, name, hint):
    with pytest.raises(TypeError, match=hint):
        kind(**{name: 1})
    with pytest.raises(TypeError, match=r"has no .*parameter 'nonsense'$"):
        kind(nonsense=1)
