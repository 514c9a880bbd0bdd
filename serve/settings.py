"""What the environment tells the server, read once, each value checked and named when it is wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.formats.machine_limits import cpu_quota, memory_limit

MEBIBYTE = 1 << 20
Value = TypeVar("Value")


class SettingError(UserError):
    """An environment variable holds what it must not."""


@dataclass(frozen=True)
class Settings:
    """How to serve; the defaults are SageMaker's.

    Attributes
    ----------
    base_dir
        The tree that SageMaker mounts, ``/opt/ml`` (``SAGEMAKER_BASE_DIR``).
    host
        The address to listen on. Chosen: loopback; the image's `serve` listens on all interfaces.
    port
        ``SAGEMAKER_BIND_TO_PORT``; 8080.
    workers
        Processes: ``MODEL_SERVER_WORKERS`` or ``SAGEMAKER_MODEL_SERVER_WORKERS``; by default one per CPU that the
        container may use, and never more than fit the memory limit at 50 MB each.
    timeout_seconds
        ``MODEL_SERVER_TIMEOUT`` or ``SAGEMAKER_MODEL_SERVER_TIMEOUT``; 60: a body must have arrived
        within it, and a worker that shows no sign of life for so long (and for 10 s) is replaced.
    max_payload_bytes
        ``MAX_CONTENT_LENGTH`` in bytes; 6 MiB, and 100 MiB in batch transform, as SageMaker's own limits.
    body_budget_bytes
        Bytes of request bodies and of answers that one worker holds at once; others wait.
    default_accept
        ``SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT``: the answer's media type where the client names none.
    output
        ``SAGEMAKER_INFERENCE_OUTPUT``: the columns of the answer, in order; empty for the algorithm's own.
    threshold
        ``EIGENLINE_THRESHOLD``: replaces a binary classifier's own threshold.
    multi_model
        ``SAGEMAKER_MULTI_MODEL``: serve ``/models`` instead of one model.
    batch
        ``SAGEMAKER_BATCH``: this is a batch transform job.
    batch_strategy, max_concurrent_transforms
        What the batch job's request set, if it did.
    page
        ``EIGENLINE_PAGE``: whether ``GET /`` shows the page for people.
    log_level
        ``SAGEMAKER_CONTAINER_LOG_LEVEL`` as a name or Python's number; ``INFO``.
    """

    base_dir: Path = Path("/opt/ml")
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    timeout_seconds: int = 60
    max_payload_bytes: int = 6 * MEBIBYTE
    body_budget_bytes: int = 256 * MEBIBYTE
    default_accept: str | None = None
    output: tuple[str, ...] = ()
    threshold: float | None = None
    multi_model: bool = False
    batch: bool = False
    batch_strategy: str = "MULTI_RECORD"
    max_concurrent_transforms: int | None = None
    page: bool = True
    log_level: str = "INFO"

    @property
    def model_dir(self) -> Path:
        """Where SageMaker extracts the one model's ``model.tar.gz``."""
        return self.base_dir / "model"

    @property
    def models_dir(self) -> Path:
        """Where SageMaker extracts the models of a multi-model endpoint."""
        return self.base_dir / "models"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Make settings from environment variables.

    Raises
    ------
    SettingError
        Naming the variable, what it must be and what it is.
    """

    def read(names: str, parse: Callable[[str], Value], rule: str, default: Value) -> Value:
        for name in names.split():
            text = environment.get(name, "").strip()
            if text:
                try:
                    return parse(text)
                except ValueError:
                    raise SettingError(f"{name} must be {rule}; got {excerpt(text)}.") from None
        return default

    batch = read("SAGEMAKER_BATCH", _flag, "'true' or 'false'", False)
    batch_megabytes = read("SAGEMAKER_MAX_PAYLOAD_IN_MB", _count, "an integer of at least 0", 0)
    payload = max(batch_megabytes, 100) * MEBIBYTE if batch else 6 * MEBIBYTE
    payload = read("MAX_CONTENT_LENGTH", _positive, "a positive integer (bytes)", payload)
    memory = memory_limit()
    possible_workers = max(1, memory // (50 * MEBIBYTE))
    workers = read(
        "MODEL_SERVER_WORKERS SAGEMAKER_MODEL_SERVER_WORKERS",
        _positive,
        "a positive integer",
        min(max(1, math.ceil(cpu_quota())), possible_workers),
    )
    return Settings(
        base_dir=Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"),
        port=read("SAGEMAKER_BIND_TO_PORT", _port, "a port number from 1 to 65535", 8080),
        workers=workers,
        timeout_seconds=read(
            "MODEL_SERVER_TIMEOUT SAGEMAKER_MODEL_SERVER_TIMEOUT", _positive, "a positive integer (seconds)", 60
        ),
        max_payload_bytes=payload,
        # A quarter of the memory may wait as bodies: arrays made of a body are up to twelve times its size, but
        # few are worked on at once. One body of the allowed size always fits.
        body_budget_bytes=max(payload, min(1024 * MEBIBYTE, memory // 4) // workers),
        default_accept=environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "").strip() or None,
        output=tuple(
            name.strip().lower()
            for name in environment.get("SAGEMAKER_INFERENCE_OUTPUT", "").split(",")
            if name.strip()
        ),
        threshold=read("EIGENLINE_THRESHOLD", _finite, "a finite number", None),
        multi_model=read("SAGEMAKER_MULTI_MODEL", _flag, "'true' or 'false'", False),
        batch=batch,
        batch_strategy=read(
            "SAGEMAKER_BATCH_STRATEGY", _strategy, "MULTI_RECORD or SINGLE_RECORD", "MULTI_RECORD"
        ),
        max_concurrent_transforms=read(
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", _positive, "a positive integer", None
        ),
        page=read("EIGENLINE_PAGE", _flag, "'true' or 'false'", True),
        log_level=read("SAGEMAKER_CONTAINER_LOG_LEVEL", _level, "a level such as INFO or 20", "INFO"),
    )


def _flag(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ValueError(text)
    return int(text)


def _positive(text: str) -> int:
    if _count(text) == 0:
        raise ValueError(text)
    return int(text)


def _port(text: str) -> int:
    if not 1 <= _count(text) <= 65535:
        raise ValueError(text)
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def _strategy(text: str) -> str:
    name = text.upper().replace("MULTIRECORD", "MULTI_RECORD").replace("SINGLERECORD", "SINGLE_RECORD")
    if name not in ("MULTI_RECORD", "SINGLE_RECORD"):
        raise ValueError(text)
    return name


def _level(text: str) -> str:
    names = {"10": "DEBUG", "20": "INFO", "30": "WARNING", "40": "ERROR", "50": "CRITICAL"}
    name = names.get(text, text.upper())
    if name not in names.values():
        raise ValueError(text)
    return name
