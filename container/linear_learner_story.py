"""The end of a Linear Learner job in sentences: why it stopped, who won and by how much, what it confuses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eigenline.algorithms.linear_learner.metrics import Scores
from eigenline.algorithms.linear_learner.reports import ModelRecord, Trained
from eigenline.algorithms.linear_learner.settings import Settings

_WIDEST_TABLE = 12


def summary(trained: Trained, settings: Settings) -> list[str]:
    """Return why training ended, who won and by how much, and where the threshold is from."""
    return [f"Training ended because {trained.stop_reason}.", _winner(trained), *_threshold(trained, settings)]


def confusions(scores: Mapping[str, Scores]) -> list[str]:
    """Return the lines of a confusion matrix for each channel that was scored."""
    return [line for channel, found in scores.items() for line in _confusion(channel, found)]


def _winner(trained: Trained) -> str:
    winner = trained.winner
    name = f"Model {winner.model}" + (" (polished)" if winner.stage == "polished" else "")
    value, others, better = _compared(winner, trained.records)
    text = f"{name} won on {trained.selected_on}: {value}"
    if others:
        text += f"; {better}"
    strength = f"wd={winner.hyperparameters['wd']:.3g}, l1={winner.hyperparameters['l1']:.3g}"
    return f"{text}. It has {strength}."


def _compared(winner: ModelRecord, records: tuple[ModelRecord, ...]) -> tuple[str, bool, str]:
    rivals = [record for record in records if record is not winner and record.stage == winner.stage]
    if np.isfinite(winner.selection_loss):
        losses = [record.selection_loss for record in rivals if np.isfinite(record.selection_loss)]
        value, what = winner.selection_loss, "loss"
        best = min(losses, default=float("nan"))
    else:
        losses = [record.criterion for record in rivals if np.isfinite(record.criterion)]
        value, what = winner.criterion, "criterion"
        best = max(losses, default=float("nan"))
    if not losses:
        return f"{what} {value:.6g}", False, ""
    difference = (best - value) * (1 if what == "loss" else -1)
    side = "ahead of" if difference >= 0 else "behind"
    percent = 100 * abs(difference) / max(abs(best), 1e-300)
    remark = "" if difference >= 0 else ", whose criterion is worse"
    return f"{what} {value:.6g}", True, f"{percent:.3g} % {side} the next best of {len(rivals)}{remark}"


def _threshold(trained: Trained, settings: Settings) -> list[str]:
    if not settings.is_binary:
        return []
    criterion = settings.binary_classifier_model_selection_criteria
    return [
        f"A record is positive when its score is at least {trained.model.threshold:.6g}; the threshold was "
        f"calibrated for {criterion} on {trained.calibrated_on}."
    ]


def _confusion(channel: str, scores: Scores) -> list[str]:
    table = scores.confusion
    if table is None:
        return []
    if len(table) > _WIDEST_TABLE:
        wrong = table.copy()
        np.fill_diagonal(wrong, 0)
        actual, called = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        return [
            f"Most frequent confusion, {channel}: class {actual} called {called}, {wrong[actual, called]:g} times."
        ]
    width = max(len(f"{table.max():g}"), 5) + 2
    lines = [
        f"Confusion matrix, {channel} (rows: true label, columns: predicted label):",
        " " * 8 + "".join(f"{label:>{width}}" for label in range(len(table))),
    ]
    lines += [f"{label:>8}" + "".join(f"{value:>{width}g}" for value in row) for label, row in enumerate(table)]
    return lines
