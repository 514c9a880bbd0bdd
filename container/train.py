"""The training job as a command: from the folders of a job to a model in them, or to one sentence why not."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from eigenline.algorithms.errors import UserError
from eigenline.container.folders import Folders, claim_tree
from eigenline.container.stopping import Stopping
from eigenline.container.supervisor import supervise

# numpy, and with it everything else of this project, is imported only after the number of BLAS threads is set.

HELP = """\
Train PCA or Linear Learner from a SageMaker folder tree, and exit 0 with the model in it.

The tree lies under /opt/ml, or under the folder that SAGEMAKER_BASE_DIR names:

  input/config/hyperparameters.json   {"predictor_type": "binary_classifier", "mini_batch_size": "200"}
                                      or {"num_components": "10", "mini_batch_size": "200", ...}
  input/config/inputdataconfig.json   {"train": {"ContentType": "text/csv"}}
                                      (optional; recordIO-protobuf files where it is absent)
  input/data/train/                   one or more files; `validation` and `test` likewise
                                      (Pipe mode: the FIFOs train_0, train_1, ...)
  model/                              receives model_algo-1, in SageMaker's own layout, and readable reports
  output/failure                      receives the reason, when there is one; the exit code is then not 0
  checkpoints/                        where it exists, receives the state after each epoch; a killed job goes on
"""

EPILOG = """\
environment:
  SAGEMAKER_BASE_DIR     the tree's root (default: /opt/ml)
  ALGORITHM              pca or linear-learner, where the hyperparameters leave it open
  WRITE_REPORT           `no` leaves report.html away, the page about the model (it takes some tenths of a second)
  OPENBLAS_NUM_THREADS   threads of the linear algebra (default: the container's CPU quota)

exit codes:
  0     the model is complete (also after SIGTERM, when there was one to save)
  1     a failure: output/failure says which, `ClientError: ` yours, `AlgorithmError: ` ours
  137   killed, most often for want of memory: output/failure says so
  143   stopped by SIGTERM before there was a model

examples:
  SAGEMAKER_BASE_DIR=$PWD/ml eigenline train
  docker run -v "$PWD/ml:/opt/ml" eigenline train
"""


# Python lets a thread that comes back from a product wait 5 ms for its turn, as long as a whole product of a block
# takes. With turns of half a millisecond the Linear Learner walkthrough trains in 0.85 of the time.
SWITCH_SECONDS = 5e-4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        "train", description=HELP, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    os.umask(0)  # so that files written as root can be removed by the user who owns the mounted folder
    folders = Folders.from_environment()
    _share_machine(folders)
    limit_threads()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        claim_tree(folders)  # held until this process and its child have ended
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1

    def job(stopping: Stopping) -> int:
        from eigenline.container.training_job import run_job

        return run_job(folders, os.environ, sys.stdout, stopping)

    return supervise(job, folders)


def _share_machine(folders: Folders) -> None:
    """Count on an even share of the machine where all hosts of the job are containers on it."""
    from eigenline.container.configuration import read_hosts
    from eigenline.formats.machine_limits import share_machine

    with suppress(UserError):  # the job itself reports it
        hosts = read_hosts(folders)
        share_machine(len(hosts.names) if hosts.on_one_machine else 1)


def limit_threads() -> None:
    """Set the number of BLAS threads to the container's CPU quota, unless the user set it.

    BLAS libraries count the host's CPUs; in a container that may use two of sixty-four they would start sixty-four
    threads, and the kernel would throttle them all.
    """
    from eigenline.formats.machine_limits import cpu_quota

    threads = str(max(1, int(cpu_quota())))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)
