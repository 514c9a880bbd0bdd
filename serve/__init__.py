"""SageMaker's HTTP contract: `/ping`, `/invocations` and the `serve` command."""
