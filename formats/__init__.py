"""The two doors: bytes to arrays and arrays to bytes. Knows no folders, no HTTP, no SageMaker job."""

from formats.record_writer import write_recordio, write_recordio_to

__all__ = ["write_recordio", "write_recordio_to"]
