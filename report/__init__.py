"""One page about a model: scores on rows that did not train, pictures, tables; for `eigenline` and for jobs."""
