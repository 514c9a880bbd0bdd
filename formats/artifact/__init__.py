"""Model artifacts: the files that SageMaker writes, read and written without MXNet."""
