"""A training job after the first pass: data summarised, scaler made, `auto` values resolved against the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, HeldBatches, concatenate
from eigenline.algorithms.blas_threads import blas_threads
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.data_summary import DataSummary, check_batch, summarise
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid, make_grid
from eigenline.algorithms.linear_learner.losses import Floats, Loss, make_loss
from eigenline.algorithms.linear_learner.reports import Notice
from eigenline.algorithms.linear_learner.rows import Block, Preparation, TrainingRows
from eigenline.algorithms.linear_learner.scaling import Scaler, make_scaler
from eigenline.algorithms.linear_learner.scoring import memory_bytes, spelled_bytes
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.records import InOrder, Records, RecordsHere, State, Work, sample_of

# So small a data set is trained in float64: that costs nothing and reaches the optimum to many digits. `aws` is
# float32 as the service is: the losses of real jobs are repeated ten times nearer so.
SMALL = 2_000_000
Channels: TypeAlias = Mapping[str, Batches | Records]
ABSENT_CLASS_WEIGHT = 1e6


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Everything that both ways of training start from.

    Attributes
    ----------
    settings, summary, scaler, candidates, rows
        The request; the data; their normalisation; the models; the training records for mini-batches.
    train
        The training channel.
    loss, raw_loss
        The loss on normalised labels, which is trained, and on raw ones, which is reported of other records.
    validation, validation_channel
        The validation channel's records in raw units, and the checked channel; None without one.
    threads
        That may share the work of a full pass.
    """

    settings: Settings
    summary: DataSummary
    scaler: Scaler
    candidates: HyperparameterGrid
    train: Batches | Records
    rows: TrainingRows
    loss: Loss
    raw_loss: Loss
    validation: TrainingRows | None
    validation_channel: Batches | Records | None
    threads: int

    @cached_property
    def every(self) -> Records:
        """All training records in raw units."""
        records = self._records(self.train)
        records.count = self.summary.rows
        return records

    def _records(self, channel: Batches | Records) -> Records:
        if isinstance(channel, Records):
            return channel
        return RecordsHere(channel, threads=self.threads, stopping=self.rows.stopping)

    @cached_property
    def for_passes(self) -> tuple[Records, Preparation]:
        """The training records for full passes, and what makes blocks of them; few are normalised once for all.

        Raises
        ------
        Stopped
            Where the job was asked to stop before few records were read.
        """
        rows, records = self.rows, self.every
        if self.summary.rows * self.summary.feature_dim > SMALL:
            return records, rows.preparation
        whole = concatenate(records.total(_Collect()).values)
        block = rows.block(whole, None, normalise=True)
        batch = Batch(block.features, block.labels[:, 0], block.sample_weights)
        identity = Scaler(np.zeros(whole.feature_dim), np.ones(whole.feature_dim))
        normalised = RecordsHere(HeldBatches([batch]), stopping=rows.stopping)
        normalised.count = self.summary.rows
        return normalised, replace(rows.preparation, scaler=identity)

    @property
    def records(self) -> Records:
        """The training records for full passes."""
        return self.for_passes[0]

    @property
    def preparation(self) -> Preparation:
        """What makes blocks of `records`."""
        return self.for_passes[1]

    @cached_property
    def raw_preparation(self) -> Preparation:
        """What makes blocks of batches in raw units."""
        identity = Scaler(np.zeros(self.summary.feature_dim), np.ones(self.summary.feature_dim))
        return Preparation(identity, self.rows.dtype, self.rows.class_weights)

    @cached_property
    def validation_records(self) -> Records | None:
        """The validation channel's records."""
        return None if self.validation_channel is None else self._records(self.validation_channel)

    def raw_parameters(self, parameters: Floats) -> Floats:
        """Return parameters for raw features and labels, in the working precision."""
        weights, bias = self.scaler.raw_units(parameters)
        return np.asarray(np.vstack([weights, bias]), self.rows.dtype)

    def raw_rows(self, batches: Batches) -> TrainingRows:
        """Return records of a channel in raw units."""
        return raw_rows(batches, self.summary.feature_dim, self.rows)


def raw_rows(batches: Batches, feature_dim: int, like: TrainingRows) -> TrainingRows:
    """Return records that nothing is done to, weighted and stopped like others."""
    identity = Scaler(np.zeros(feature_dim), np.ones(feature_dim))
    return TrainingRows(batches, identity, like.dtype, like.class_weights, stopping=like.stopping)


class _Collect:
    """The work of a pass that keeps all records."""

    def begin(self) -> InOrder[Batch]:
        return InOrder()

    def update(self, state: InOrder[Batch], batch: Batch, first: int) -> InOrder[Batch]:
        state.add(first, batch)
        return state

    def merge(self, first: InOrder[Batch], second: InOrder[Batch]) -> InOrder[Batch]:
        first.merge(second)
        return first


class _Elsewhere:
    """Stands for the batches of records that are not here: whoever needs them in stored order gets batches."""

    def __iter__(self) -> Iterator[Batch]:
        raise AssertionError("records on other hosts are not read in batches here")


def checked(channel: Batches | Records, settings: Settings, name: str, feature_dim: int) -> Batches | Records:
    """Return a channel whose batches are checked on every pass, against settings and number of features."""
    if isinstance(channel, Records):
        return _CheckedRecords(channel, settings, name, feature_dim)
    return CheckedBatches(channel, settings, name, feature_dim)


def _check(batch: Batch, settings: Settings, channel: str, feature_dim: int, first: int) -> None:
    if batch.feature_dim != feature_dim:
        raise DataError(
            f"{channel}: records have {batch.feature_dim} features, the training data have {feature_dim}"
        )
    check_batch(batch, settings, channel, first)


@dataclass(frozen=True, eq=False)
class _CheckedWork:
    """A work whose blocks are checked first."""

    work: Work[Any]
    settings: Settings
    channel: str
    feature_dim: int

    def begin(self) -> Any:
        return self.work.begin()

    def update(self, state: Any, batch: Batch, first: int) -> Any:
        _check(batch, self.settings, self.channel, self.feature_dim, first)
        return self.work.update(state, batch, first)

    def merge(self, first: Any, second: Any) -> Any:
        return self.work.merge(first, second)


class _CheckedRecords:
    """Records that are checked on every pass, wherever they are."""

    def __init__(self, records: Records, settings: Settings, channel: str, feature_dim: int) -> None:
        self.count = records.count
        self._records = records
        self._check = settings, channel, feature_dim

    def head(self) -> Batch | None:
        return self._records.head()

    def total(self, work: Work[State], *, exact: bool = True, block_bytes: int | None = None) -> State:
        found: State = self._records.total(_CheckedWork(work, *self._check), block_bytes=block_bytes)
        self.count = self._records.count
        return found

    def sample(self, count: int) -> Batch:
        return sample_of(self, count)

    def release(self) -> None:
        self._records.release()


@dataclass(frozen=True, eq=False)
class CheckedBatches:
    """A channel whose batches are checked on every pass; keeps `held` visible for shuffling in memory."""

    batches: Batches
    settings: Settings
    channel: str
    feature_dim: int

    @property
    def held(self) -> Any:
        """The batches in memory, where the channel holds them."""
        return getattr(self.batches, "held", None)

    def __iter__(self) -> Iterator[Any]:
        position = 0
        for batch in self.batches:
            _check(batch, self.settings, self.channel, self.feature_dim, position)
            position += len(batch)
            yield batch


def prepare(settings: Settings, channels: Channels, stopping: Callable[[], bool]) -> TrainingData:
    """DataSummary the training channel and resolve everything that was left to the data."""
    train = channels["train"]
    found = summarise(train, settings, stopping=stopping)
    if settings.as_aws and found.rows < settings.mini_batch_size:
        raise DataError(
            f"train: holds {found.rows} records, fewer than one mini-batch; set mini_batch_size to at most "
            f"{found.rows} (it is {settings.mini_batch_size})"
        )
    scaler = make_scaler(settings, found.moments, found.label_moments, sparse=found.sparse)
    size = found.rows * found.feature_dim
    dtype: type[np.floating[Any]] = np.float64 if size <= SMALL and not settings.as_aws else np.float32
    batches = _Elsewhere() if isinstance(train, Records) else train
    rows = TrainingRows(
        batches, scaler, dtype, _class_weights(settings, found), seed=settings.seed, stopping=stopping
    )
    positives, negatives = 1.0, 1.0
    if settings.is_binary and found.class_weights is not None and found.class_weights.min() > 0:
        negatives, positives = found.class_weights
    channel, validation = None, None
    if "validation" in channels:
        channel = checked(channels["validation"], settings, "validation", found.feature_dim)
        batches = _Elsewhere() if isinstance(channel, Records) else channel
        validation = raw_rows(batches, found.feature_dim, rows)
    threads = blas_threads() if size > SMALL and not settings.as_aws else 1
    # in `best` the widths that a loss speaks of mean what they say: units of the labels
    scale = 1.0 if settings.as_aws else scaler.label_scale
    return TrainingData(
        settings,
        found,
        scaler,
        make_grid(settings, float(negatives / positives), found.feature_dim),
        train,
        rows,
        _loss(settings, scale),
        _loss(settings, 1.0),
        validation,
        channel,
        threads,
    )


def _loss(settings: Settings, label_scale: float) -> Loss:
    return make_loss(
        settings.resolved_loss,
        margin=settings.margin,
        quantile=settings.quantile,
        insensitivity=settings.loss_insensitivity / label_scale,
        delta=settings.huber_delta / label_scale,
        weighted=settings.positive_example_weight_mult != 1,
    )


def _class_weights(settings: Settings, found: DataSummary) -> NDArray[np.float64] | None:
    """Weight of each class under `balance_multiclass_weights`: 1 / frequency, 1,000,000 for absent classes.

    Source: log of a real job. Chosen for `best`: divided by the number of classes, so that the weights'
    mean is 1 and L2 keeps its meaning; a class that is absent weighs nothing anyway.
    """
    if settings.predictor_type != "multiclass_classifier" or not settings.balance_multiclass_weights:
        return None
    assert found.class_weights is not None
    counts = found.class_weights
    with np.errstate(divide="ignore"):
        weights = np.where(counts > 0, found.total_weight / counts, ABSENT_CLASS_WEIGHT)
    return weights if settings.as_aws else np.asarray(weights / np.count_nonzero(counts))


def memory_notice(training_data: TrainingData, models: int, columns: int) -> Notice:
    """Return how much memory the models take that are trained side by side, in so many columns of parameters."""
    settings, width = training_data.settings, training_data.summary.feature_dim
    num_bytes = memory_bytes(width, columns * settings.num_outputs, training_data.rows.dtype().itemsize)
    return Notice(
        f"Training {models} models of {width} features"
        + (f" and {settings.num_outputs} classes" if settings.num_outputs > 1 else "")
        + f" in parallel takes about {spelled_bytes(num_bytes)} of memory beside the data."
    )


def data_notices(training_data: TrainingData, *, in_minibatches: bool) -> Iterator[Notice]:
    """Yield what a person should know about the data before training starts."""
    found, settings = training_data.summary, training_data.settings
    if found.class_weights is not None:
        present = np.count_nonzero(found.class_weights)
        if present == 1:
            label = int(np.argmax(found.class_weights))
            text = f"All training labels are {label}, a single class: the model can only predict that."
            yield Notice(text, warning=True, about_result=True)
        elif present < len(found.class_weights):
            absent = np.flatnonzero(found.class_weights == 0)
            names = ", ".join(map(str, absent[:5])) + (", ..." if len(absent) > 5 else "")
            yield Notice(
                f"{len(absent)} of {len(found.class_weights)} classes have no training record: {names}.",
                warning=True,
            )
    if found.sorted_by_label:
        remedy = "Full passes do not depend on their order."
        if settings.as_aws:
            remedy = "compatibility=aws trains in stored order; shuffle the records before training."
        elif in_minibatches:
            remedy = "They are shuffled in memory as a whole, but a stream only in windows: shuffle it beforehand."
        yield Notice(f"The training records look sorted by label. {remedy}", warning=in_minibatches)
    constant = int(np.count_nonzero(found.moments.deviation == 0))
    if constant:
        yield Notice(f"{constant} of {found.feature_dim} features are constant and get weight 0.")
    if found.rows < settings.mini_batch_size:
        meaning = "each epoch is one update" if in_minibatches else "the path has full passes only"
        yield Notice(
            f"There are {found.rows} records, fewer than mini_batch_size {settings.mini_batch_size}: {meaning}.",
            warning=in_minibatches,
        )


def metrics_parameters(settings: Settings, threshold: float, class_weights: Any) -> Mapping[str, Any]:
    """Return AWS's ``metrics_params``, the ten values that the artifact keeps; None where one has no meaning."""
    loss, binary = settings.resolved_loss, settings.is_binary
    classifier = not settings.is_regression
    insensitive = loss.startswith("eps_insensitive")
    return {
        "quantile": settings.quantile if loss == "quantile_loss" else None,
        "huber_delta": settings.huber_delta if loss == "huber_loss" else None,
        "margin": settings.margin if loss == "hinge_loss" else None,
        "loss_insensitivity": settings.loss_insensitivity if insensitive else None,
        "eps_insensitive_loss_type": loss if insensitive else None,
        "accuracy_top_k": settings.accuracy_top_k if classifier else None,
        "f_beta": settings.f_beta if classifier else None,
        "positive_example_weight_mult": settings.positive_example_weight_mult if binary else None,
        "class_weights": None if class_weights is None else [float(w) for w in class_weights],
        "threshold": threshold,
    }


def evaluation_blocks(source: TrainingRows | list[Block]) -> Iterator[Block]:
    """Yield the records of a channel, or of a hold-out that lies in memory."""
    yield from source if isinstance(source, list) else source.blocks()
