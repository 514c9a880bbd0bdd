"""The job as it is described: hyperparameters, channels, hosts and checkpoints, from SageMaker's JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.container.folders import Folders

MODES = ("File", "FastFile", "Pipe")
DEFAULT_CONTENT_TYPE = "application/x-recordio-protobuf"


@dataclass(frozen=True)
class ChannelDescription:
    """One entry of ``inputdataconfig.json``.

    Attributes
    ----------
    content_type
        As the caller wrote it. Both algorithms read recordIO-protobuf where none is given, because the SDK's
        ``record_set`` gives none.
    mode
        ``File``, ``FastFile`` (the same to a reader) or ``Pipe``.
    sharded
        True where each host sees only its share of the objects (``ShardedByS3Key``).
    wrapped
        True where SageMaker wraps each object, or each attribute of an augmented manifest, in a recordIO frame
        (``RecordWrapperType=RecordIO``, Pipe mode only).
    """

    name: str
    content_type: str = DEFAULT_CONTENT_TYPE
    mode: str = "File"
    sharded: bool = False
    wrapped: bool = False


@dataclass(frozen=True)
class Hosts:
    """The machines of a job, from ``resourceconfig.json``."""

    current: str = "algo-1"
    names: tuple[str, ...] = ("algo-1",)

    @property
    def first(self) -> str:
        """The host that trains and writes the model: the first by name, so that all hosts agree on it."""
        return min(self.names)


@dataclass(frozen=True)
class Configuration:
    """Everything that the job was told before any data is touched."""

    hyperparameters: Mapping[str, object]
    channels: tuple[ChannelDescription, ...]
    hosts: Hosts
    checkpoints: Path | None


def read_hosts(folders: Folders) -> Hosts:
    """Read ``resourceconfig.json``; a job without one runs on one host, ``algo-1``."""
    path = folders.configuration / "resourceconfig.json"
    document = _read_object(path)
    current = document.get("current_host", "algo-1")
    names = document.get("hosts", [current])
    if not (isinstance(current, str) and isinstance(names, list) and all(isinstance(n, str) for n in names)):
        raise UserError(f'{path}: expected {{"current_host": "algo-1", "hosts": ["algo-1", ...]}}.')
    if current not in names:
        raise UserError(f"{path}: current_host {excerpt(current)} is not one of hosts {excerpt(names)}.")
    return Hosts(current, tuple(names))


def read_configuration(folders: Folders) -> Configuration:
    """Read all JSON files of ``input/config``; each may be absent, as in a job that was made by hand."""
    path = folders.configuration / "hyperparameters.json"
    hyperparameters = {name: _unquoted(value) for name, value in _read_object(path).items()}
    return Configuration(
        hyperparameters, _read_channels(folders), read_hosts(folders), _checkpoint_folder(folders)
    )


def _unquoted(value: object) -> object:
    # Chosen: '"randomized"' means 'randomized'. SageMaker's framework estimators encode every value as JSON once
    # more, and the open-source training toolkit decodes it, so people do not notice that they sent quotes.
    if isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _read_channels(folders: Folders) -> tuple[ChannelDescription, ...]:
    path = folders.configuration / "inputdataconfig.json"
    if not path.exists():
        # Chosen: without a description every folder of input/data is a File channel of recordIO, so that a tree
        # made by hand needs no third JSON file.
        found = sorted(folder.name for folder in folders.data.glob("*") if folder.is_dir())
        return tuple(ChannelDescription(name) for name in found)
    return tuple(_channel(path, name, entry) for name, entry in _read_object(path).items())


def _channel(path: Path, name: str, entry: object) -> ChannelDescription:
    if not isinstance(entry, dict):
        raise UserError(f"{path}: channel {excerpt(name)} must be an object; got {excerpt(entry)}.")
    mode = entry.get("TrainingInputMode") or "File"
    if mode not in MODES:
        raise UserError(
            f"{path}: channel {excerpt(name)}: TrainingInputMode must be one of {', '.join(MODES)}; got "
            f"{excerpt(mode)}."
        )
    content_type = entry.get("ContentType") or DEFAULT_CONTENT_TYPE
    if not isinstance(content_type, str):
        raise UserError(
            f"{path}: channel {excerpt(name)}: ContentType must be a text; got {excerpt(content_type)}."
        )
    return ChannelDescription(
        name,
        content_type,
        mode,
        sharded=entry.get("S3DistributionType") == "ShardedByS3Key",
        wrapped=mode == "Pipe" and entry.get("RecordWrapperType") == "RecordIO",
    )


def _checkpoint_folder(folders: Folders) -> Path | None:
    """Return where checkpoints go; None unless the job asked for them.

    SageMaker makes ``/opt/ml/checkpoints`` only for jobs with a ``CheckpointConfig``, so its being there is the
    request; ``checkpointconfig.json``, where present, may name another folder.
    """
    path = folders.configuration / "checkpointconfig.json"
    if path.exists():
        local = _read_object(path).get("LocalPath") or str(folders.checkpoints)
        if not isinstance(local, str):
            raise UserError(f"{path}: LocalPath must be the path of a folder; got {excerpt(local)}.")
        return Path(local)
    return folders.checkpoints if folders.checkpoints.is_dir() else None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(document, dict):
        raise UserError(f"{path} must hold one JSON object; got {excerpt(document)}.")
    return document
