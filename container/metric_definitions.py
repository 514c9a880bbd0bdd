"""The regular expressions with which SageMaker reads metrics out of a job's log."""

from __future__ import annotations

from eigenline.container.algorithm_choice import LINEAR_LEARNER, PCA

LIMIT = 40  # metric definitions of one job

_HOST = r"#quality_metric: host=\S+, "
# Tuning metrics as SageMaker documents them: name -> how it is called in the log, with its kind.
_SCORES = {
    "mse": r"mse <loss>",
    "absolute_loss": r"absolute_loss <loss>",
    "binary_classification_accuracy": r"binary_classification_accuracy <score>",
    "binary_f_beta": r"binary_f_\S+ <score>",
    "precision": r"precision <score>",
    "recall": r"recall <score>",
    "roc_auc_score": r"roc_auc_score <score>",
    "multiclass_accuracy": r"multiclass_accuracy <score>",
    "multiclass_top_k_accuracy": r"multiclass_top_k_accuracy_\S+ <score>",
    "dcg": r"dcg <score>",
    "macro_recall": r"macro_recall <score>",
    "macro_precision": r"macro_precision <score>",
    "macro_f_beta": r"macro_f_\S+ <score>",
}
_TRAIN_SCORES = ("mse", "absolute_loss", "binary_classification_accuracy", "binary_f_beta", "precision", "recall")


def metric_definitions(algorithm: str) -> list[dict[str, str]]:
    """Return the ``MetricDefinitions`` of an algorithm, as CreateTrainingJob and the SDK's estimators take them.

    For Linear Learner these are the names and expressions that the service itself gives its jobs
    (DescribeTrainingJob of a public job, 2020), so dashboards and tuning jobs need no change. SageMaker documents
    none for PCA; those here are this project's own.

    Parameters
    ----------
    algorithm
        ``pca`` or ``linear-learner``.
    """
    definitions = {
        "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
        "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    }
    if algorithm == PCA:
        for channel in ("train", "test"):
            definitions[f"{channel}:explained_variance_ratio"] = _final(
                channel, "explained_variance_ratio <score>"
            )
            definitions[f"{channel}:reconstruction_error"] = _final(channel, "reconstruction_error <loss>")
    elif algorithm == LINEAR_LEARNER:
        for channel in ("train", "validation"):
            definitions[f"{channel}:objective_loss"] = rf"{_HOST}epoch=\S+, {channel} \S+_objective <loss>=(\S+)"
            definitions[f"{channel}:objective_loss:final"] = _final(channel, r"\S+_objective <loss>")
        definitions["test:objective_loss"] = _final("test", r"\S+_objective <loss>")
        for channel in ("train", "validation", "test"):
            for name, logged in _SCORES.items():
                if channel != "train" or name in _TRAIN_SCORES:
                    definitions[f"{channel}:{name}"] = _final(channel, logged)
        definitions["validation:rmse"] = _final("validation", "rmse <loss>")
    else:
        raise ValueError(f"no such algorithm: {algorithm!r}")
    return [{"Name": name, "Regex": regex} for name, regex in definitions.items()]


def _final(channel: str, logged: str) -> str:
    return rf"{_HOST}{channel} {logged}=(\S+)"
