"""How the tests of the Linear Learner job run one: small data, a log in memory, checkpoints that are all kept."""

import io
import itertools

import numpy as np

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.container import linear_learner_job as job
from eigenline.container.job import JobContext
from eigenline.container.job_log import JobLog

TASKS = {
    "regressor": {"predictor_type": "regressor"},
    "binary_classifier": {"predictor_type": "binary_classifier"},
    "multiclass_classifier": {"predictor_type": "multiclass_classifier", "num_classes": "3"},
}


class KeptStates:
    """Checkpoints in memory, every one of them."""

    def __init__(self, first=None):
        self.first, self.states = first, []

    def load(self):
        return self.first

    def save(self, state):
        self.states.append({name: np.array(value) for name, value in state.items()})


def data(task, n=1500, seed=1, names=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    score = X[:, 0] - X[:, 1] + 0.5 * rng.normal(size=n).astype(np.float32)
    if task == "binary_classifier":
        score = (score > 0).astype(np.float32)
    elif task == "multiclass_classifier":
        score = np.digitize(score, [-0.5, 0.5]).astype(np.float32)
    return Batch(X, score, None, names)


def run(
    task, channels=("train", "validation", "test"), checkpoints=None, stopping=lambda: False, tick=0.125, **more
):
    """Run a job; its clock goes on by `tick` seconds whenever it is asked for the time."""
    stream = io.StringIO()
    batches = {name: HeldBatches([data(task, seed=i)]) for i, name in enumerate(channels)}
    settings = job.read_settings({**TASKS[task], "mini_batch_size": "100", **more})
    ticks = itertools.count()
    log = JobLog(stream, algorithm="Linear Learner", clock=lambda: 1e6 + next(ticks) * tick)
    outcome = job.run(settings, JobContext(batches, log, checkpoints or KeptStates(), stopping))
    return outcome, stream.getvalue(), batches
