"""The two doors: bytes to arrays and arrays to bytes. Knows no folders, no HTTP, no SageMaker job."""
