"""What a Linear Learner log holds, the service's or ours: hyperparameters, losses, stop, choice, metrics."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import UserError, excerpt

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]{0,20}m")
_GIVEN: Final = re.compile(r"provided configuration from [^{]{0,200}hyperparameters\.json: (\{.*)")
# a pair of a Python dictionary or of a JSON object, both as the services' images print them
_PAIR: Final = re.compile(r"""u?(['"])([a-z0-9_]{1,60})\1: u?(['"])([^'"\\]{0,200})\3""")
_CRITERION: Final = re.compile(
    r"#early_stopping_criteria_metric: host=\S+, epoch=(\d{1,7}), criteria=(\S+), value="
)
_IMPROVED: Final = re.compile(r"Epoch (\d{1,7}): Loss improved")
_SCORE: Final = re.compile(r"#(train|validation|test)_score \(\S+\) : \(u?'(\S+)', (\S+)\)")
_LONGEST_LINE: Final = 100_000
_REGRESSION: Final = {"mse_objective": "squared_loss"}


@dataclass
class JobLog:
    """Numbers of one job.

    Attributes
    ----------
    given
        The hyperparameters as they were given; empty where the log does not hold them.
    losses
        Channel -> array (epochs, models), NaN where the log has none.
    improved
        Epochs whose parameters were kept, in order.
    stopped
        Whether the early stop ended the job.
    best
        The chosen hyperparameters.
    scores
        (channel, metric) -> value, of the final model.
    objective
        Name of the objective without its channel.
    mini_batch_size
        As the reading counters tell it, where they do.
    """

    given: dict[str, str] = field(default_factory=dict)
    losses: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    improved: list[int] = field(default_factory=list)
    stopped: bool = False
    best: dict[str, Any] = field(default_factory=dict)
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    objective: str = ""
    mini_batch_size: int | None = None

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return max((len(table) for table in self.losses.values()), default=0)

    @property
    def models(self) -> int:
        """Number of parallel models."""
        return max((table.shape[1] for table in self.losses.values()), default=0)

    @property
    def criterion(self) -> NDArray[np.float64]:
        """The losses that models are compared by, (epochs, models)."""
        return self.losses.get("validation", self.losses["train"])

    def hyperparameters(self) -> tuple[dict[str, str], bool]:
        """Return the given hyperparameters, and whether the log holds them; else what its numbers imply."""
        if self.given:
            return {name: value for name, value in self.given.items() if not name.startswith("_")}, True
        implied = {"num_models": str(self.models)}
        if self.mini_batch_size:
            implied["mini_batch_size"] = str(self.mini_batch_size)
        if self.objective.startswith("binary"):
            implied["predictor_type"] = "binary_classifier"
        elif self.objective.startswith("multiclass"):
            implied["predictor_type"] = "multiclass_classifier"
        else:
            implied["predictor_type"] = "regressor"
            implied["loss"] = _REGRESSION.get(self.objective, self.objective.removesuffix("_objective"))
        return implied, False


def read_job_log(text: str, name: str) -> JobLog:
    """Read a log; lines that are none of Linear Learner's are passed over.

    Raises
    ------
    UserError
        Where it holds no losses of parallel models.
    """
    log = JobLog()
    losses: dict[str, dict[tuple[int, int], float]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        if len(raw) > _LONGEST_LINE:
            continue
        line = _COLOUR.sub("", raw)
        if (start := line.find("#metrics {")) >= 0:
            _read_metrics(line[start + 9 :], f"{name}, line {number}", log, losses)
        elif found := _GIVEN.search(line):
            log.given = {match[2]: match[4] for match in _PAIR.finditer(found[1])}
        elif (found := _IMPROVED.search(line)) and int(found[1]) not in log.improved:
            log.improved.append(int(found[1]))
        elif "Early stop condition met" in line:
            log.stopped = True
        elif found := _SCORE.search(line):
            log.scores[found[1], found[2]] = _number(found[3])
        elif (start := line.find("Best model found for hyperparameters: ")) >= 0:
            log.best = _document(line[start:].partition(": ")[2], f"{name}, line {number}")
    if "train" not in losses:
        raise UserError(
            f"{name}: holds no line `#metrics` with the loss of a model, so there is nothing to compare with. "
            "Expected the whole log of a Linear Learner training job, as CloudWatch or the notebook shows it."
        )
    shape = tuple(1 + max(place[axis] for table in losses.values() for place in table) for axis in (0, 1))
    if shape[0] * shape[1] > 10_000_000:
        raise UserError(f"{name}: speaks of {shape[0]} epochs and {shape[1]} models, which is no job's log.")
    for channel, table in losses.items():
        log.losses[channel] = np.full(shape, np.nan)
        for place, loss in table.items():
            log.losses[channel][place] = loss
    return log


def _read_metrics(text: str, where: str, log: JobLog, losses: dict[str, dict[tuple[int, int], float]]) -> None:
    document = _document(text, where)
    dimensions, metrics = document.get("Dimensions"), document.get("Metrics")
    if not isinstance(dimensions, Mapping) or not isinstance(metrics, Mapping):
        return
    if dimensions.get("Meta") == "init_train_data_iter":
        seen, longest = (
            _sum(metrics.get(name)) for name in ("Total Records Seen", "Max Records Seen Between Resets")
        )
        if math.isfinite(seen - longest) and seen > longest:
            log.mini_batch_size = int(seen - longest)
    epoch, model = dimensions.get("epoch"), dimensions.get("model")
    if not isinstance(epoch, int) or not isinstance(model, int) or epoch < 0 or model < 0:
        return
    for metric, entry in metrics.items():
        channel, _, objective = metric.partition("_")
        losses.setdefault(channel, {})[epoch, model] = _sum(entry)
        log.objective = objective


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{where}: expected JSON; got {excerpt(text)}. Is the line cut off?") from None
    return document if isinstance(document, dict) else {}


def _sum(entry: Any) -> float:
    value = entry.get("sum") if isinstance(entry, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
