"""Linear Learner jobs that are interrupted: what a stop leaves, and that resumed jobs end like whole ones."""

import contextlib
import io
import json
import os
import threading
import time

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.algorithms.batch import HeldBatches
from eigenline.algorithms.errors import Stopped
from eigenline.container import linear_learner_job as job
from eigenline.container.channels import PipeChannel
from eigenline.container.configuration import ChannelDescription
from eigenline.container.job import JobContext
from eigenline.container.job_log import JobLog
from eigenline.container.stopping import Stopping
from tests.container.linear_learner_runs import TASKS, KeptStates, data, run

EVERY_PASS = 30.0  # seconds on the job's clock at each look: every pass of the finish is due for a checkpoint


def ends_like(resumed, whole) -> bool:
    return (
        resumed.model.weights.tobytes() == whole.model.weights.tobytes()
        and resumed.model.bias.tobytes() == whole.model.bias.tobytes()
        and resumed.model.threshold == whole.model.threshold
    )


@pytest.mark.parametrize("compatibility", ["best", "aws"])
@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_job_makes_the_model_of_an_uninterrupted_one(task, compatibility):
    kept = KeptStates()
    whole, _, _ = run(task, checkpoints=kept, compatibility=compatibility)
    assert len(kept.states) >= 2
    for state in (kept.states[0], kept.states[-1]):
        resumed, log, _ = run(task, checkpoints=KeptStates(state), compatibility=compatibility)
        assert "Resumed from the checkpoint of epoch" in log
        assert ends_like(resumed, whole)


@pytest.mark.parametrize("task", TASKS)
def test_a_job_resumed_in_its_finish_goes_on_there(task):
    kept = KeptStates()
    whole, whole_log, _ = run(task, channels=("train",), checkpoints=kept, tick=EVERY_PASS)
    of_finish = [state for state in kept.states if any("." in name for name in state)]
    assert len(of_finish) > 5
    for position in range(0, len(of_finish), max(1, len(of_finish) // 4)):
        later = KeptStates(of_finish[position])
        resumed, log, _ = run(task, channels=("train",), checkpoints=later, tick=EVERY_PASS)
        done = int(of_finish[position].get("epoch", -1)) + 1  # an epoch is a round of the path
        assert log.count("Saving model for epoch") == whole_log.count("Saving model for epoch") - done
        assert ends_like(resumed, whole)
        # what is left to do, and one pass of each stage to find where that is
        assert len(later.states) <= len(of_finish) - position + 3


def test_the_finish_leaves_no_checkpoint_when_it_is_quick():
    kept = KeptStates()
    run("regressor", checkpoints=kept)
    assert not any(name.startswith("refit.") for state in kept.states for name in state)


@pytest.mark.parametrize("after", [3, 30, 300, 1000])
@pytest.mark.parametrize("compatibility", ["best", "aws"])
def test_a_stop_at_any_moment_leaves_a_model_or_says_that_there_is_none(after, compatibility):
    asked = iter(range(10**9))
    try:
        outcome, log, _ = run(
            "binary_classifier", stopping=lambda: next(asked) >= after, compatibility=compatibility
        )
    except Stopped:
        assert after == 3
        return
    assert np.isfinite(outcome.model.weights).all()
    assert "Best model found for hyperparameters" in log
    json.loads(outcome.reports["report.json"])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.75, 0.9])
def test_a_job_stopped_in_its_finish_and_started_again_ends_like_a_whole_one(task, share):
    """The clock stands still, so what the second job goes on from is what the stop itself saved."""
    calm = {"channels": ("train",), "tick": 0.0}
    asked = Asked()
    whole, _, _ = run(task, stopping=asked, **calm)
    kept = KeptStates()
    stopped, log, _ = run(task, checkpoints=kept, stopping=Asked(share * asked.times), **calm)
    assert "Training ended because the job was asked to stop" in log
    assert np.isfinite(stopped.model.weights).all()
    assert any(name.endswith(".point") for name in kept.states[-1])
    resumed, _, _ = run(task, checkpoints=KeptStates(kept.states[-1]), **calm)
    assert ends_like(resumed, whole)


class Asked:
    """A request to stop that comes after it was looked for so many times."""

    def __init__(self, after: float = float("inf")) -> None:
        self.after, self.times = after, 0

    def __call__(self) -> bool:
        self.times += 1
        return self.times > self.after


@pytest.mark.parametrize("compatibility", ["best", "aws"])
@pytest.mark.parametrize("passes", [1, 2, 3, 6, 9, 10, 14])
def test_a_stop_while_the_next_pipe_is_waited_for_leaves_a_model(tmp_path, passes, compatibility):
    """In Pipe mode a stop is seen in the midst of waiting; an epoch, or a pass of the finish, then is empty."""
    batch = data("binary_classifier", n=30_000)
    content = write_recordio(batch.features, batch.labels)
    stopping = Stopping()
    threading.Thread(target=feed, args=(tmp_path, content, passes, stopping), daemon=True).start()
    channel = PipeChannel(ChannelDescription("train", mode="Pipe"), tmp_path, "required", stopping)
    settings = job.read_settings(
        {"predictor_type": "binary_classifier", "mini_batch_size": "500", "compatibility": compatibility}
    )
    context = JobContext({"train": HeldBatches(channel, 0)}, JobLog(io.StringIO()), KeptStates(), stopping)
    try:
        outcome = job.run(settings, context)
    except Stopped:
        assert passes <= 2
        return
    assert np.isfinite(outcome.model.weights).all()
    assert (outcome.model.predict(batch.features).predicted_label == batch.labels).mean() > 0.8


def feed(folder, content, passes, stopping):
    for number in range(passes):
        os.mkfifo(folder / f"train_{number}")
        with (folder / f"train_{number}").open("wb") as pipe, contextlib.suppress(BrokenPipeError):
            pipe.write(content)
    time.sleep(0.3)
    stopping.request("test")
