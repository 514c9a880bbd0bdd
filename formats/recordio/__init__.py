"""recordIO-protobuf: frames, protobuf records, and the streams that SageMaker wraps or joins."""
