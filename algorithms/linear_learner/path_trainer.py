"""Training as well as we can: a path of models that descend together by sums over records.

A sample of the records gives the start; there the curvature is estimated; then all regularisation strengths, folds
and weights of the positives descend as one matrix. The best is selected on records that its columns did not see,
and refitted on all. docs/linear_learner.md explains it on one page.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import HeldBatches
from eigenline.algorithms.errors import Stopped
from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.checkpoint import Checkpoint
from eigenline.algorithms.linear_learner.evaluation import (
    RawScores,
    as_if_some_were_wrong,
    best_thresholds,
    choose_model,
    mean_losses,
    score_left_out,
    score_records,
    wrong_label_losses,
)
from eigenline.algorithms.linear_learner.finish import Finished
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.lbfgs import Point, descend
from eigenline.algorithms.linear_learner.losses import Huber, Loss
from eigenline.algorithms.linear_learner.objective import Objective
from eigenline.algorithms.linear_learner.preconditioner import Curvature
from eigenline.algorithms.linear_learner.reports import EpochReport, ModelRecord, Notice, Report, State
from eigenline.algorithms.linear_learner.robust_refit import (
    STRENGTH,
    Comparison,
    GeneralisedCrossEntropy,
    compare,
    fit_calibration,
    is_wanted,
)
from eigenline.algorithms.linear_learner.rows import Preparation
from eigenline.algorithms.linear_learner.scoring import ScoreSample, as_float32, link
from eigenline.algorithms.linear_learner.training_data import TrainingData, memory_notice
from eigenline.algorithms.linear_learner.validation_split import WIDE, SplitKind, choose_split
from eigenline.algorithms.records import Records, RecordsHere

# Of so many records the path is explored, where there are more; the refit sees them all.
MOST_PATH_ROWS: Final = 200_000
FEWEST_PATH_ROWS: Final = 50_000
PATH_BYTES: Final = 256_000_000
# From so many records on, the path starts from what a sample of one in eight gave, and explores around its best.
SAMPLED_ROWS: Final = 10_000
SAMPLED_SHARE: Final = 1 / 8
SAMPLE_STRENGTHS: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
AROUND: Final = (0.15, 0.4, 1.0, 2.5)  # L2 strengths of the path, relative to the sample's best
LADDER: Final = tuple(10.0**power for power in range(-6, 2))  # without a sample
HALFWAY: Final = 10.0**0.5
MOST_EXTENSIONS: Final = 3
SAMPLE_PASSES, PATH_PASSES, REFIT_PASSES, ROBUST_PASSES, ROBUST_REFIT_PASSES = 20, 8, 30, 7, 8
# In float64, so on small data, where passes cost next to nothing: for all strengths, for the best and its
# neighbours, and for the refit.
SMALL_PATH, SMALL_EXTENSION, SMALL_REFIT = 12, 40, 300
WIDE_PATH: Final = 3  # without an estimate of the Hessian
SAMPLE_TOLERANCE, PATH_TOLERANCE = 1e-3, 3e-4
TOLERANCE: Final = {np.float32: 3e-4, np.float64: 1e-10}
STOPPED: Final = "the job was asked to stop"


def train_path(training_data: TrainingData, resume: State | None) -> Iterator[Report | Finished]:
    """Train; the last thing yielded is the chosen model.

    Raises
    ------
    Stopped
        Where the job was asked to stop before there was any model.
    """
    path = _Path(training_data, Checkpoint(resume or {}))
    if resume:
        path.resumed_epoch = int(resume.get("epoch", -1))
        yield Notice(f"Resumed from the checkpoint of epoch {max(path.resumed_epoch, 0)}.")
    try:
        yield from path.train()
    except Stopped:
        if path.best is None:
            raise
        path.reason = STOPPED
    yield path.finished()


@dataclass(frozen=True, eq=False)
class _Best:
    """The best model so far: parameters (feature_dim + 1, outputs), and which of the explored models it is."""

    parameters: NDArray[np.float64]
    model: int


@dataclass(eq=False)
class _Explored:
    """Every model of the path so far, one entry (or column) each."""

    grid: HyperparameterGrid
    train_losses: NDArray[np.float64]
    losses: NDArray[np.float64]
    compared: NDArray[np.float64]  # the losses with what makes those of few records safe to compare
    criteria: NDArray[np.float64]
    raw: RawScores | None
    parameters: NDArray[np.float64]  # shape (feature_dim + 1, models, folds, outputs)
    converged: NDArray[np.bool_]

    def without(self, model: int) -> _Explored:
        """Return all models but one."""
        kept = np.flatnonzero(np.arange(len(self.grid)) != model)
        raw = self.raw
        return _Explored(
            self.grid.take(kept),
            self.train_losses[kept],
            self.losses[kept],
            self.compared[kept],
            self.criteria[kept],
            None if raw is None else RawScores(raw.scores[:, kept], raw.labels, raw.weights),
            self.parameters[:, kept],
            self.converged[kept],
        )

    def with_more(self, more: _Explored) -> _Explored:
        """Return these models followed by others."""
        return _Explored(
            self.grid.beside(more.grid),
            np.concatenate([self.train_losses, more.train_losses]),
            np.concatenate([self.losses, more.losses]),
            np.concatenate([self.compared, more.compared]),
            np.concatenate([self.criteria, more.criteria]),
            None if self.raw is None or more.raw is None else self.raw.beside(more.raw),
            np.concatenate([self.parameters, more.parameters], axis=1),
            np.concatenate([self.converged, more.converged]),
        )


@dataclass(eq=False)
class _Path:
    """One training: the data at hand, and what has been found so far."""

    training_data: TrainingData
    checkpoint: Checkpoint
    best: _Best | None = None
    reason: str = "the path and the refit are complete"
    passes: int = 0
    epoch: int = 0
    resumed_epoch: int = -1
    converged: bool = False
    explored: _Explored | None = None
    sample_records: list[ModelRecord] = field(default_factory=list)
    robust: tuple[HyperparameterGrid, Comparison] | None = None
    raw: RawScores | None = None  # calibrated raw scores of left-out records, by the chosen model

    def train(self) -> Generator[Report, None, None]:
        """Go through the stages."""
        training_data, settings = self.training_data, self.training_data.settings
        rows, feature_dim = training_data.summary.rows, training_data.summary.feature_dim
        every = training_data.records
        preparation = training_data.preparation
        most = min(MOST_PATH_ROWS, max(FEWEST_PATH_ROWS, PATH_BYTES // training_data.summary.row_bytes))
        records, path_rows = every, rows
        if rows > 2 * most:
            batch = every.sample(most)
            records, path_rows = _held(batch, training_data), len(batch)
        self.split = choose_split(
            rows=path_rows,
            feature_dim=feature_dim,
            outputs=settings.num_outputs,
            validation=training_data.validation is not None,
        )
        of_path = replace(preparation, folds=self.split.folds)
        yield Notice(f"Models are compared on {self.split}.")
        width = feature_dim + 1
        start = np.zeros((width, settings.num_outputs))
        lead: float | None = None
        curvature: Curvature | None = None
        if path_rows >= SAMPLED_ROWS:
            share = SAMPLED_SHARE
            batch = records.sample(int(share * path_rows))
            of_path = replace(of_path, sampled=share if self.split.folds else 0.0)
            start, lead = yield from self._start(_held(batch, training_data), records, start)
        weights = self._weights()
        strengths = self._strengths(lead, len(weights))
        objective = self._objective(records, of_path, self._grid(strengths, weights), self.split.left_out)
        count = len(objective) // len(self.split.left_out)
        yield memory_notice(training_data, count, len(objective))
        begin = np.tile(start, (1, len(objective)))
        alone = count == 1 and records is every and self.split.left_out == (-1,)
        limit = self._limit(SMALL_REFIT, REFIT_PASSES) if alone else self._limit(SMALL_PATH, PATH_PASSES)
        tolerance = TOLERANCE[preparation.dtype] if alone else PATH_TOLERANCE
        explored, point = yield from self._explore(objective, begin, "path", limit, tolerance, curvature)
        # few records are cheap to look at again, where the best of them stands
        curvature = point.curvature if path_rows >= SAMPLED_ROWS else None
        winner = self._select(explored)
        free = not settings.is_set("wd") and settings.num_models == AUTO and count > len(weights)
        limit = self._limit(SMALL_EXTENSION, PATH_PASSES)
        for extension in range(MOST_EXTENSIONS if free else 0):
            more = self._extension(explored.grid, winner, extension)
            again = not explored.converged[winner] and extension == 0
            if not len(more) and not again:
                break
            strengths = np.append(more, explored.grid.wd[winner]) if again else more
            grid = explored.grid.take([winner] * len(strengths)).with_values(wd=strengths)
            objective = self._objective(records, of_path, grid, self.split.left_out)
            begin = np.tile(explored.parameters[:, winner].reshape(width, -1), (1, len(strengths)))
            stage = f"path.{extension + 2}"
            found, _ = yield from self._explore(objective, begin, stage, limit, tolerance, curvature)
            before = explored.grid.wd[winner]
            explored = (explored.without(winner) if again else explored).with_more(found)
            winner = self._select(explored)
            if explored.grid.wd[winner] == before:
                break
        yield from self._refit(records, of_path, every, explored, winner, curvature, alone)

    def _start(
        self, sample: Records, records: Records, zero: NDArray[np.float64]
    ) -> Generator[Report, None, tuple[NDArray[np.float64], float]]:
        """Train a few strengths on a sample; return the parameters and the L2 of the best on the other records."""
        training_data, settings = self.training_data, self.training_data.settings
        fixed = settings.is_set("wd")
        strengths = (
            [self.training_data.candidates.wd[0]] if fixed else [s * self._unit() for s in SAMPLE_STRENGTHS]
        )
        grid = self._grid(np.array(strengths), self._weights()[:1])
        objective = self._objective(sample, training_data.preparation, grid, (-1,))
        begin = np.tile(zero, (1, len(grid)))
        limit = settings.passes(SAMPLE_PASSES)
        point = yield from self._descend(objective, begin, "start", limit, SAMPLE_TOLERANCE, None)
        outputs = settings.num_outputs
        best = 0
        if len(grid) > 1:
            # two groups: the sample, and the others, which are left out
            others = replace(training_data.preparation, folds=1, sampled=SAMPLED_SHARE)
            effective = objective.effective(point.parameters)
            losses = mean_losses(records, others, training_data.loss, effective, grid, outputs)
            best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
            self.sample_records = [
                ModelRecord(
                    0,
                    "start",
                    point.passes,
                    float(point.evaluation.loss[m]),
                    float(losses[m]),
                    np.nan,
                    "explored",
                    grid.describe(m),
                )
                for m in range(len(grid))
            ]
        parameters = point.parameters[:, best * outputs : (best + 1) * outputs]
        return parameters, float(grid.wd[best]) * (1.0 if fixed else SAMPLED_SHARE)

    def _explore(
        self,
        objective: Objective,
        begin: NDArray[np.float64],
        stage: str,
        limit: int,
        tolerance: float,
        curvature: Curvature | None,
    ) -> Generator[Report, None, tuple[_Explored, Point]]:
        """Descend some models together and evaluate them on the records they did not see."""
        settings, split = self.training_data.settings, self.split
        folds = len(split.left_out)
        count = len(objective) // folds
        point = yield from self._descend(objective, begin, stage, limit, tolerance, curvature)
        grid = objective.grid.take(np.arange(0, len(objective), folds))
        train_losses = point.evaluation.loss.reshape(count, folds).mean(axis=1)
        nothing = np.full(count, np.nan)
        raw: RawScores | None = None
        criteria = nothing
        if split.kind is SplitKind.TRAINING:
            losses = train_losses
        elif split.kind is SplitKind.VALIDATION_CHANNEL:
            losses = self._validation_losses(point.parameters, grid)
        else:
            losses = point.evaluation.held_out_loss.reshape(count, folds).mean(axis=1)
        if settings.is_binary and split.kind is not SplitKind.TRAINING:
            raw = self._score(objective, point.parameters)
            criteria = np.array([choice.value for choice in best_thresholds(raw, settings)])
        yield from self._epoch(point, count, train_losses, losses, criteria)
        shape = (len(begin), count, folds, settings.num_outputs)
        converged = np.asarray(point.converged.reshape(count, folds).all(axis=1))
        return _Explored(
            grid,
            train_losses,
            losses,
            self._compared(objective, point.parameters, losses),
            criteria,
            raw,
            point.parameters.reshape(shape),
            converged,
        ), point

    def _compared(
        self, objective: Objective, parameters: NDArray[np.float64], losses: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the losses that models are compared by: those of a classifier's few records are made safe."""
        training_data, split = self.training_data, self.split
        settings = training_data.settings
        records, channel = objective.records, training_data.validation_records
        of_channel = split.kind is SplitKind.VALIDATION_CHANNEL
        if of_channel:
            assert channel is not None
            records = channel
        count = records.count or 0
        if settings.is_regression or split.kind is SplitKind.TRAINING or count >= SAMPLED_ROWS:
            return losses
        loss, outputs = training_data.loss, settings.num_outputs
        if of_channel:
            raw = training_data.raw_parameters(parameters)
            wrong = wrong_label_losses(records, training_data.raw_preparation, loss, raw, outputs)
        else:
            effective, left_out = objective.effective(parameters), objective.left_out
            wrong = wrong_label_losses(records, objective.preparation, loss, effective, outputs, left_out)
            wrong = wrong.reshape(len(losses), -1).mean(axis=1)
            count = count * len(split.left_out) // split.folds
        return as_if_some_were_wrong(losses, wrong, count)

    def _epoch(
        self,
        point: Point,
        count: int,
        train_losses: NDArray[np.float64],
        losses: NDArray[np.float64],
        criteria: NDArray[np.float64],
    ) -> Iterator[EpochReport]:
        """Report the models of a round as an epoch, unless the job before this one did."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        self.checkpoint.before["epoch"] = np.array(epoch)
        if epoch <= self.resumed_epoch:
            return
        is_channel = self.split.kind is SplitKind.VALIDATION_CHANNEL
        value = float(np.nanmin(losses)) if np.isfinite(losses).any() else float("nan")
        yield EpochReport(
            epoch,
            epoch + 2,
            self.training_data.summary.rows * point.passes,
            train_losses,
            losses if is_channel else None,
            None if is_channel or self.split.kind is SplitKind.TRAINING else losses,
            self.training_data.loss.objective_name,
            value,
            True,
            0,
            self.checkpoint.state(),
        )

    def _refit(
        self,
        records: Records,
        of_path: Preparation,
        every: Records,
        explored: _Explored,
        winner: int,
        curvature: Curvature | None,
        alone: bool,
    ) -> Generator[Report, None, None]:
        """Try the robust loss from the winner's columns, then refit the better of the two on every record."""
        training_data, settings = self.training_data, self.training_data.settings
        folds = len(self.split.left_out)
        begin = explored.parameters[:, winner].mean(axis=1)  # nearer to the optimum of all than any fold's own
        self.best = _Best(begin, winner)
        self.raw = None if explored.raw is None else explored.raw.column(winner)
        single = explored.grid.take([winner])
        free = not settings.is_set("wd")
        if free:
            single = single.with_values(wd=np.array([self._lowest(explored, winner)]))
        loss: Loss = training_data.loss
        slope, intercept = 1.0, 0.0
        stage, limit = "refit", self._limit(SMALL_REFIT, REFIT_PASSES)
        if self.raw is not None and is_wanted(settings, len(self.raw)):
            model = self._robust_model(explored.grid, winner)
            robust = explored.grid.take([model])
            columns = robust.take([0] * folds)
            objective = replace(
                self._objective(records, of_path, columns, ()),
                loss=GeneralisedCrossEntropy(),
                left_out=np.array(self.split.left_out),
            )
            at = explored.parameters[:, model].reshape(len(begin), -1)
            passes = settings.passes(ROBUST_PASSES)
            point = yield from self._descend(objective, at, "robust", passes, PATH_TOLERANCE, curvature, False)
            raw = self._score(objective, point.parameters)
            positive = float(single.positive_example_weight[0])
            scores = raw.scores[:, 0].astype(np.float64)
            calibration = fit_calibration(scores, raw.labels.astype(np.float64), raw.weights, positive)
            comparison = compare(raw, self.raw, calibration, positive)
            self.robust = robust, comparison
            if comparison.wins:
                single, loss, stage, limit = (
                    robust,
                    objective.loss,
                    "robust refit",
                    settings.passes(ROBUST_REFIT_PASSES),
                )
                slope, intercept = calibration.slope, calibration.intercept
                begin = point.parameters.mean(axis=1, keepdims=True)
                calibrated = as_float32(calibration.apply(raw.scores))
                self.raw = RawScores(calibrated, raw.labels, raw.weights)
        if alone:
            self.converged = bool(explored.converged[winner])
            return
        seen = 1.0
        if free:
            # L2 is a normal prior of the weights; next to a mean over n records its strength is that over n
            rows = training_data.summary.rows
            seen = (records.count or rows) / rows
            if self.split.folds:
                seen *= 1 - (1 - of_path.sampled) / self.split.folds
        whole = replace(training_data.preparation, folds=0, sampled=0.0)
        objective = replace(
            self._objective(every, whole, single.with_values(wd=single.wd * seen), (-1,)), loss=loss
        )
        point = yield from self._descend(
            objective, begin, stage, limit, TOLERANCE[training_data.preparation.dtype], curvature, False
        )
        parameters = point.parameters * slope
        parameters[-1] += intercept
        self.best = _Best(parameters, winner)
        self.converged = bool(point.converged[0])

    def _descend(
        self,
        objective: Objective,
        begin: NDArray[np.float64],
        stage: str,
        passes: int,
        tolerance: float,
        curvature: Curvature | None,
        first: bool = True,
    ) -> Generator[Report, None, Point]:
        """Descend; of a first stage, the lowest loss so far is the best model, should the job be stopped."""
        outputs = self.training_data.settings.num_outputs

        def observe(point: Point) -> None:
            if not first:
                return
            loss = np.where(np.isfinite(point.evaluation.loss), point.evaluation.loss, np.inf)
            column = int(np.argmin(loss))
            chosen = point.parameters[:, column * outputs : (column + 1) * outputs]
            self.best = _Best(chosen.copy(), -1)
            self.best_grid = objective.grid.take([column])

        point = yield from descend(
            objective,
            begin,
            stage=stage,
            passes=passes,
            tolerance=tolerance,
            curvature=curvature,
            checkpoint=self.checkpoint,
            observe=observe,
        )
        self.passes += point.passes
        return point

    def _objective(
        self, records: Records, preparation: Preparation, grid: HyperparameterGrid, left_out: tuple[int, ...]
    ) -> Objective:
        """Return the objective of every model of a grid, without each of the folds in turn."""
        settings = self.training_data.settings
        columns = grid.take(np.repeat(np.arange(len(grid)), len(left_out))) if left_out else grid
        folds = np.tile(np.array(left_out, np.int64), len(grid)) if left_out else np.full(len(grid), -1)
        return Objective(
            records, preparation, self.training_data.loss, columns, folds, settings.num_outputs, settings.use_bias
        )

    def _score(self, objective: Objective, parameters: NDArray[np.float64]) -> RawScores:
        validation = self.training_data.validation_records
        if self.split.kind is not SplitKind.VALIDATION_CHANNEL:
            return score_left_out(objective, parameters, self.split.left_out)
        assert validation is not None
        return score_records(
            validation, self.training_data.raw_preparation, self.training_data.raw_parameters(parameters)
        )

    def _validation_losses(self, parameters: NDArray[np.float64], grid: HyperparameterGrid) -> NDArray[np.float64]:
        training_data = self.training_data
        assert training_data.validation_records is not None
        raw = training_data.raw_parameters(parameters)
        return mean_losses(
            training_data.validation_records,
            training_data.raw_preparation,
            training_data.raw_loss,
            raw,
            grid,
            training_data.settings.num_outputs,
        )

    def _select(self, explored: _Explored) -> int:
        comparable = len(np.unique(explored.grid.positive_example_weight)) == 1
        count = 0 if explored.raw is None else len(explored.raw)
        winner = choose_model(
            explored.compared, explored.criteria, count, self.training_data.settings, comparable=comparable
        )
        self.explored = explored
        self.best = _Best(explored.parameters[:, winner].mean(axis=1), winner)
        self.raw = None if explored.raw is None else explored.raw.column(winner)
        return winner

    def _weights(self) -> NDArray[np.float64]:
        """Return the weights of positives that are explored."""
        weights = np.unique(self.training_data.candidates.positive_example_weight)
        return weights[:1] if self.training_data.settings.num_models == 1 else weights

    def _robust_model(self, grid: HyperparameterGrid, winner: int) -> int:
        """Return the model of the path that the robust loss starts from."""
        distance = np.abs(np.log(np.maximum(grid.wd, 1e-300) / max(STRENGTH * grid.wd[winner], 1e-300)))
        same = grid.positive_example_weight == grid.positive_example_weight[winner]
        return int(np.argmin(np.where(same, distance, np.inf)))

    def _unit(self) -> float:
        """Return what a strength of L2 is measured in: narrow parabolas are a fraction of the others."""
        loss = self.training_data.loss
        return min(1.0, loss.delta) if isinstance(loss, Huber) and loss.delta > 0 else 1.0

    def _strengths(self, lead: float | None, weights: int) -> NDArray[np.float64]:
        """Return the L2 strengths that the path begins with."""
        settings, training_data = self.training_data.settings, self.training_data
        if settings.is_set("wd") or settings.num_models == 1:
            return training_data.candidates.wd[:1]
        if self.split.kind is SplitKind.TRAINING:
            # nothing can order strengths: a standard normal prior of the normalised weights
            return np.array([self._unit() / training_data.summary.total_weight])
        if settings.num_models != AUTO:
            count = -(-settings.num_models // weights)
            if lead is None:
                return np.logspace(-6, 1, count) * self._unit()
            return lead * np.logspace(-0.4 * count / 2, 0.4 * count / 2, count)
        if lead is None:
            return np.array(LADDER) * self._unit()
        return lead * np.array(AROUND)

    def _grid(self, strengths: NDArray[np.float64], weights: NDArray[np.float64]) -> HyperparameterGrid:
        """Return every strength with every weight of positives; as many as `num_models` where that is set."""
        count = len(strengths) * len(weights)
        if self.training_data.settings.num_models != AUTO:
            count = min(count, self.training_data.settings.num_models)
        repeated = self.training_data.candidates.take(np.zeros(count, np.intp))
        return repeated.with_values(
            wd=np.tile(strengths, len(weights))[:count],
            positive_example_weight=np.repeat(weights, len(strengths))[:count],
        )

    def _extension(self, grid: HyperparameterGrid, winner: int, round: int) -> NDArray[np.float64]:
        """Return more strengths to try: beyond the edge where the best is there, else between its neighbours."""
        same = grid.positive_example_weight == grid.positive_example_weight[winner]
        known = np.sort(grid.wd[same])
        best = grid.wd[winner]
        step = known[1] / known[0]
        if best == known[-1]:
            return np.array([best * step, best * step**2])
        if best == known[0] and best > 1e-9 * self._unit():
            return np.array([best / step, best / step**2])
        if round == 0 and step > 5:
            return np.array([best / HALFWAY, best * HALFWAY])
        return np.zeros(0)

    def _lowest(self, explored: _Explored, winner: int) -> float:
        """Return the strength where the parabola through the winner's loss and its neighbours' is lowest.

        The strengths of a path lie far apart; between them the loss is smooth in the logarithm of the strength.
        """
        grid, losses = explored.grid, explored.compared
        same = np.flatnonzero(grid.positive_example_weight == grid.positive_example_weight[winner])
        same = same[np.argsort(grid.wd[same])]
        place = int(np.flatnonzero(same == winner)[0])
        near = same[max(place - 1, 0) : place + 2]
        if len(near) < 3 or not losses[winner] < min(losses[near[0]], losses[near[2]]) < np.inf:
            return float(grid.wd[winner])
        left, right = (np.log(grid.wd[near[side]] / grid.wd[winner]) for side in (0, 2))
        up, down = losses[near[2]] - losses[winner], losses[near[0]] - losses[winner]
        shift = (up * left**2 - down * right**2) / (2 * (up * left - down * right))
        return float(grid.wd[winner] * np.exp(shift))

    def _limit(self, small: int, large: int) -> int:
        """Return the passes of a stage: more in float64, and where there is no estimate of the Hessian."""
        settings, training_data = self.training_data.settings, self.training_data
        if training_data.preparation.dtype is np.float64:
            return settings.passes(small)
        return settings.passes(large * (WIDE_PATH if training_data.summary.feature_dim > WIDE else 1))

    def finished(self) -> Finished:
        """Return the chosen model, and the records of all."""
        assert self.best is not None
        settings = self.training_data.settings
        records: list[ModelRecord] = []
        for record in self.sample_records:
            records.append(replace(record, model=len(records)))
        explored, chosen = self.explored, self.best.model
        winner: ModelRecord | None = None
        if explored is None or chosen < 0:
            nan = float("nan")
            winner = ModelRecord(
                len(records), "path", self.passes, nan, nan, nan, "chosen", self.best_grid.describe(0)
            )
            records.append(winner)
        else:
            robust = self.robust is not None and self.robust[1].wins and self.reason != STOPPED
            for model in range(len(explored.grid)):
                outcome = "explored"
                if model == chosen:
                    outcome = "selected, then made robust" if robust else "chosen"
                record = ModelRecord(
                    len(records),
                    "path",
                    self.passes,
                    float(explored.train_losses[model]),
                    float(explored.losses[model]),
                    float(explored.criteria[model]),
                    outcome,
                    explored.grid.describe(model),
                )
                records.append(record)
                if model == chosen:
                    winner = record
            if self.robust is not None:
                grid, comparison = self.robust
                record = ModelRecord(
                    len(records),
                    "robust",
                    self.passes,
                    float("nan"),
                    comparison.log_loss,
                    comparison.accuracy,
                    "chosen" if robust else "explored",
                    grid.describe(0),
                )
                records.append(record)
                winner = record if robust else winner
        assert winner is not None
        sample: ScoreSample | None = None
        if self.raw is not None and len(self.raw):
            sample = ScoreSample(len(self.raw))
            scores = as_float32(link(self.raw.scores, settings.resolved_loss))
            sample.update(scores, self.raw.labels, self.raw.weights)
        end = "converged" if self.converged else "ended"
        ending = f"the path {end} after {self.passes} full passes"
        return Finished(
            self.best.parameters,
            tuple(records),
            winner,
            str(self.split),
            sample,
            STOPPED if self.reason == STOPPED else ending,
            self.passes,
        )


def _held(batch: object, training_data: TrainingData) -> RecordsHere:
    """Return records in memory as a channel, with the threads and the stop of the job's."""
    held = HeldBatches([batch])  # type: ignore[list-item]
    records = RecordsHere(held, threads=training_data.threads, stopping=training_data.rows.stopping)
    records.count = len(batch)  # type: ignore[arg-type]
    return records
