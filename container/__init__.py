"""SageMaker's training contract: the `/opt/ml` tree, the job's log, its failure file, and the `train` command."""
