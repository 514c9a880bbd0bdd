"""The `serve` command: loads the model once, then lets gunicorn's workers answer over HTTP."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from eigenline.serve.settings import Settings

_DESCRIPTION: Final = """\
Answer SageMaker's inference requests on one port: GET /ping, POST /invocations, GET /execution-parameters,
and a page for people at GET /.
"""

_EPILOG: Final = """\
examples:
  serve                                    what SageMaker runs: the model in /opt/ml/model, port 8080
  serve model.tar.gz --port 9000           an artifact that a training job wrote, here or on AWS
  curl -d '1.5,16,14' -H 'Content-Type: text/csv' localhost:8080/invocations

environment (SageMaker sets these; so can you):
  SAGEMAKER_BASE_DIR                       instead of /opt/ml
  SAGEMAKER_BIND_TO_PORT                   instead of 8080
  MODEL_SERVER_WORKERS                     processes; by default one a CPU that the container may use
  MODEL_SERVER_TIMEOUT                     seconds; 60
  MAX_CONTENT_LENGTH                       bytes of a request body; 6 MiB, in batch transform 100 MiB
  SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT     the answer's type where the client names none; application/json
  SAGEMAKER_INFERENCE_OUTPUT               columns of the answer, for example predicted_label,probability
  EIGENLINE_THRESHOLD                     another threshold for a binary classifier
  SAGEMAKER_MULTI_MODEL=true               serve /models instead of one model
  EIGENLINE_PAGE=false                    no page at GET /
  SAGEMAKER_CONTAINER_LOG_LEVEL            DEBUG, INFO, WARNING, ERROR

A folder with a PCA and a Linear Learner artifact is served as a chain. Everything else: docs/serving.md.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop; 1 when it cannot start."""
    # Before numpy loads: more BLAS threads than one a worker fight each other for the same CPUs (2 to 6 times
    # the CPU a request), and threads that exist before a fork are lost after it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given = _parser().parse_args(arguments)

    from eigenline.algorithms.errors import UserError
    from eigenline.serve.app import create_app
    from eigenline.serve.front import Front
    from eigenline.serve.settings import read_settings

    try:
        settings = read_settings()
        settings = replace(settings, port=given.port or settings.port, workers=given.workers or settings.workers)
        _configure_logging(settings)
        if settings.multi_model:
            with tempfile.TemporaryDirectory(prefix="serve-models-") as folder:
                front = Front(create_app(settings=settings, registry_file=Path(folder) / "models.sqlite"))
                return _run(front, settings)
        return _run(Front(create_app(given.model, settings=settings)), settings)
    except UserError as error:
        print(f"serve: {error}", file=sys.stderr)  # noqa: T201 -- one line, for whoever started it
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "serve", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="folder or model.tar.gz; by default /opt/ml/model")
    parser.add_argument("--port", type=_positive, metavar="N", help="by default 8080")
    parser.add_argument("--workers", type=_positive, metavar="N", help="processes; by default one a CPU")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise ValueError(text)
    return value


def _configure_logging(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s %(process)d] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)


def gunicorn_options(settings: Settings) -> Mapping[str, Any]:
    """Return gunicorn's configuration for these settings."""
    return {
        "bind": f"0.0.0.0:{settings.port}",
        "workers": settings.workers,
        # An event loop a worker: a thousand slow clients cost it a thousand buffers, not a thousand threads.
        "worker_class": "eigenline.serve.worker.Worker",
        "asgi_loop": "asyncio",  # with uvloop, where it is installed, the worker is a fifth slower (measured)
        "timeout": settings.timeout_seconds,
        "graceful_timeout": 25,  # SageMaker kills 30 s after SIGTERM
        "keepalive": 5,
        "proc_name": "serve",
        "loglevel": settings.log_level.lower(),
        "accesslog": None,  # the front writes its own, without /ping and with the request id
        "control_socket_disable": True,
        "limit_request_field_size": 16384,
    }


def _run(front: Any, settings: Settings) -> int:
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):  # type: ignore[misc]
        """Gunicorn around an application that is in memory already, so that forked workers share its pages."""

        def load_config(self) -> None:
            """Take our options instead of a command line."""
            for name, value in gunicorn_options(settings).items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            """Return the application."""
            return front

    try:
        Server().run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
