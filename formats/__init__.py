"""Bytes to arrays and arrays to bytes: training data, requests, responses, model artifacts."""
