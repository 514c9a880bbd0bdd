"""What an interrupted path needs to go on: the newest state of every stage so far, as named arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from eigenline.algorithms.linear_learner.reports import State

# The largest arrays of a state serve only its next step; a stage that is over has none.
_FOR_THE_NEXT_STEP: Final = ("steps", "changes", "inverses")


class Checkpoint:
    """The stages of a training, each with the state that it can go on from.

    A resumed job runs through the stages again. One that was over is given its last state, and ends at once with
    the same result; the one that was interrupted goes on; later ones have no state and begin. An array of a stage
    is named ``stage.array``; a stage's name may have full stops, an array's has none.

    Parameters
    ----------
    resume
        The state that the job is resumed from; empty for a new job.
    before
        What was known before the first stage: every state repeats it.
    """

    def __init__(self, resume: State, before: State | None = None) -> None:
        self.before = {name: array for name, array in (before or {}).items() if "." not in name}
        self._over: dict[str, State] = {}
        self._found: dict[str, dict[str, np.ndarray]] = {}
        for name, array in resume.items():
            stage, _, field = name.rpartition(".")
            self._found.setdefault(stage, {})[field] = array
        self._stage, self._now = "", _nothing

    def resumed(self, stage: str) -> State | None:
        """Return the state that a stage goes on from, or None where it begins."""
        return self._found.get(stage)

    def note(self, stage: str, state: Callable[[], State]) -> None:
        """Remember where a stage is; `state` is called before the stage moves on, if at all."""
        self._stage, self._now = stage, state

    def close(self) -> None:
        """End the stage that was noted last: keep its result, release what its next step would need."""
        if self._stage:
            state = self._now().items()
            self._over[self._stage] = {name: array for name, array in state if name not in _FOR_THE_NEXT_STEP}
        self._stage, self._now = "", _nothing

    def state(self) -> State:
        """Return the arrays of a checkpoint."""
        stages = {**self._over, **({self._stage: self._now()} if self._stage else {})}
        return self.before | {
            f"{stage}.{name}": array for stage, state in stages.items() for name, array in state.items()
        }


def _nothing() -> State:
    return {}
