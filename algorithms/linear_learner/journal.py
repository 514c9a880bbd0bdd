"""What a job that was interrupted in its finish needs to go on: the newest state of every stage so far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eigenline.algorithms.linear_learner.reports import State

_PREFIX = "finish"
# The largest arrays of a state serve only its next step; a stage that is over has none.
_FOR_THE_NEXT_STEP = ("steps", "changes", "inverses")


class Journal:
    """The stages of a finish, each with the state that it can go on from.

    A resumed job runs through the stages again. One that was over is given its last state, and ends at once with
    the same result; the one that was interrupted goes on; later ones have no state and begin.

    Parameters
    ----------
    before
        The state after the mini-batch epochs, which every state of the finish repeats.
    resume
        The state that the job is resumed from; empty for a new job.
    """

    def __init__(self, before: State, resume: State) -> None:
        self._before = {name: array for name, array in before.items() if not name.startswith(_PREFIX)}
        self._over: dict[str, State] = {}
        self._found: dict[str, dict[str, np.ndarray]] = {}
        for name, array in resume.items():
            prefix, _, rest = name.partition(".")
            if prefix == _PREFIX:
                stage, _, field = rest.partition(".")
                self._found.setdefault(stage, {})[field] = array
        self._stage, self._now = "", _nothing

    def resumed(self, stage: str) -> State | None:
        """Return the state that a stage goes on from, or None where it begins."""
        return self._found.get(stage)

    def note(self, stage: str, state: Callable[[], State]) -> None:
        """Remember where a stage is; `state` is called before the stage moves on, if at all."""
        self._stage, self._now = stage, state

    def close(self) -> None:
        """End the stage that was noted last: keep its result, let go of what its next step would need."""
        if self._stage:
            state = self._now().items()
            self._over[self._stage] = {name: array for name, array in state if name not in _FOR_THE_NEXT_STEP}
        self._stage, self._now = "", _nothing

    def state(self) -> State:
        """Return the arrays of a checkpoint."""
        stages = {**self._over, **({self._stage: self._now()} if self._stage else {})}
        return self._before | {
            f"{_PREFIX}.{stage}.{name}": array for stage, state in stages.items() for name, array in state.items()
        }


def _nothing() -> State:
    return {}
