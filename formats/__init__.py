"""The two doors: bytes to arrays and arrays to bytes. Knows no folders, no HTTP, no SageMaker job."""

from formats.record_arrays import read_recordio, read_recordio_answer
from formats.record_writer import write_recordio, write_recordio_to

__all__ = ["read_recordio", "read_recordio_answer", "write_recordio", "write_recordio_to"]
