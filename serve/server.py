"""The command `serve`: loads the model once, then starts gunicorn's workers, which answer over HTTP."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flask import Flask

    from eigenline.serve.settings import Settings

_DESCRIPTION: Final = """\
Answer SageMaker's inference requests on one port: GET /ping, POST /invocations, GET /execution-parameters,
and a page for people at GET /.
"""

_EPILOG: Final = """\
examples:
  serve                                    the model in /opt/ml/model, on port 8080 of this machine only
  serve model.tar.gz --port 9000           an artifact that a training job wrote, here or on AWS
  serve --host 0.0.0.0                     for other machines too; the image does this
  curl -d '1.5,16,14' -H 'Content-Type: text/csv' localhost:8080/invocations

environment (SageMaker sets these; so can you):
  SAGEMAKER_BASE_DIR                       instead of /opt/ml
  SAGEMAKER_BIND_TO_PORT                   instead of 8080
  MODEL_SERVER_WORKERS                     processes; by default one per CPU that the container may use
  MODEL_SERVER_TIMEOUT                     seconds for a body, or for a worker that hangs; 60
  MAX_CONTENT_LENGTH                       bytes of a request body; 6 MiB, in batch transform 100 MiB
  SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT     the answer's type where the client names none; application/json
  SAGEMAKER_INFERENCE_OUTPUT               columns of the answer, for example predicted_label,probability
  EIGENLINE_THRESHOLD                      another threshold for a binary classifier
  SAGEMAKER_MULTI_MODEL=true               serve /models instead of one model
  EIGENLINE_PAGE=false                     no page at GET /
  SAGEMAKER_CONTAINER_LOG_LEVEL            DEBUG, INFO, WARNING, ERROR

A folder with a PCA and a Linear Learner artifact is served as a chain. Everything else: docs/serving.md.
"""


# A worker shows a sign of life once per second; on a busy machine that may be late without being dead.
_SHORTEST_HANG_SECONDS: Final = 10
_BACKLOG: Final = 2048


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is stopped; 1 when it cannot start."""
    # As process 1 there is no default action: a SIGTERM before gunicorn has its own handler would be lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Before numpy loads: more BLAS threads than one per worker compete for the same CPUs (2 to 6 times
    # the CPU per request), and threads that exist before a fork are lost after it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given = _parser().parse_args(arguments)

    from eigenline.algorithms.errors import UserError
    from eigenline.serve.settings import read_settings

    try:
        workers = {"MODEL_SERVER_WORKERS": str(given.workers)} if given.workers else {}  # they share the memory
        settings = read_settings({**os.environ, **workers})
        settings = replace(settings, host=given.host or settings.host, port=given.port or settings.port)
        _configure_logging(settings)
        with _listen(settings) as listener:
            return _serve(given.model, settings, listener)
    except UserError as error:
        print(f"serve: {error}", file=sys.stderr)  # noqa: T201 -- one line, for whoever started it
        return 1


def _parser() -> argparse.ArgumentParser:
    from eigenline.version import version

    parser = argparse.ArgumentParser(
        "serve", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="folder or model.tar.gz; by default /opt/ml/model")
    parser.add_argument(
        "--host", metavar="ADDRESS", help="to listen on: 127.0.0.1 by default, 0.0.0.0 for all interfaces"
    )
    parser.add_argument("--port", type=_port, metavar="N", help="by default 8080")
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes; by default one per CPU")
    parser.add_argument("--version", action="version", version=f"eigenline {version()}")
    return parser


def _port(text: str) -> int:
    return _integer(text, 65_535, "a port number from 1 to 65535")


def _workers(text: str) -> int:
    return _integer(text, 1_000, "a number from 1 to 1000")


def _integer(text: str, largest: int, rule: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= largest):
        raise argparse.ArgumentTypeError(f"must be {rule}; got {text[:40]!r}")
    return int(text)


def _configure_logging(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s %(process)d] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)


def _listen(settings: Settings) -> socket.socket:
    """Open the port, before the model is read: it may be taken, and that is said at once."""
    from eigenline.serve.settings import SettingError

    try:
        # "localhost" may be two addresses; this listens on the first.
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingError(
            f"{settings.host} port {settings.port} cannot be listened on: {reason}. "
            "Is another server running there? --port and --host choose another place."
        ) from None
    return listener


def _serve(model: Path | None, settings: Settings, listener: socket.socket) -> int:
    from eigenline.serve.app import create_app
    from eigenline.serve.metrics import Metrics

    scratch = _scratch_folder()
    metrics = Metrics(2 * settings.workers)  # while one is replaced there are more
    if not settings.multi_model:
        return _run(create_app(model, settings=settings, metrics=metrics), settings, listener, scratch)
    with tempfile.TemporaryDirectory(prefix="serve-models-", dir=scratch) as folder:
        file = Path(folder) / "models.sqlite"
        app = create_app(settings=settings, registry_file=file, metrics=metrics)
        return _run(app, settings, listener, scratch)


def _scratch_folder() -> str:
    """Return a folder for the workers' signs of life and the list of models, which are small.

    A container with a read-only file system has none but /dev/shm.
    """
    from eigenline.serve.settings import SettingError

    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        try:
            with tempfile.TemporaryFile(dir="/dev/shm"):
                return "/dev/shm"
        except OSError:
            raise SettingError(
                "There is no folder that can be written to for small temporary files. Mount one, "
                "for example docker run --read-only --tmpfs /tmp."
            ) from None


def gunicorn_options(settings: Settings) -> Mapping[str, Any]:
    """Return gunicorn's configuration for these settings."""
    return {
        "workers": settings.workers,
        "worker_class": "eigenline.serve.worker.Worker",
        "timeout": max(settings.timeout_seconds, _SHORTEST_HANG_SECONDS),
        "graceful_timeout": 25,  # SageMaker kills 30 s after SIGTERM
        "proc_name": "serve",
        "loglevel": settings.log_level.lower(),
        "accesslog": None,  # the workers write their own, without /ping and with the request id
        "control_socket_disable": True,
        "backlog": _BACKLOG,
    }


def _run(app: Flask, settings: Settings, listener: socket.socket, scratch: str) -> int:
    from gunicorn.app.base import BaseApplication

    slots: set[int] = set()

    def pre_fork(_server: object, worker: Any) -> None:
        worker.slot = next(slot for slot in range(len(slots) + 1) if slot not in slots)
        slots.add(worker.slot)

    def post_fork(_server: object, _worker: Any) -> None:
        # Until the worker has its own handler it would hand the signal to a queue that nobody reads.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def child_exit(_server: object, worker: Any) -> None:
        slots.discard(worker.slot)
        app.extensions["metrics"].leave_slot(worker.slot)

    class Server(BaseApplication):  # type: ignore[misc]
        """Gunicorn around an application that is in memory already, so that forked workers share its pages."""

        def load_config(self) -> None:
            """Take our options instead of a command line."""
            for name, value in gunicorn_options(settings).items():
                self.cfg.set(name, value)
            self.cfg.set("bind", f"fd://{listener.detach()}")
            self.cfg.set("worker_tmp_dir", scratch)
            self.cfg.set("pre_fork", pre_fork)
            self.cfg.set("post_fork", post_fork)
            self.cfg.set("child_exit", child_exit)

        def load(self) -> Any:
            """Return the application."""
            return app

    # What is in memory now stays: workers neither search it for garbage nor, by marking it, copy its pages.
    gc.collect()
    gc.freeze()
    try:
        Server().run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
