"""The job as it is described: hyperparameters, channels, hosts and checkpoints, from SageMaker's JSON files."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.container.folders import Folders

MODES = ("File", "FastFile", "Pipe")
DEFAULT_CONTENT_TYPE = "application/x-recordio-protobuf"
# SageMaker sends at most a few hundred kilobytes; a manifest lists one file in about a hundred bytes.
_LONGEST_JSON: Final = 16 << 20
# Source: CreateTrainingJob's pattern and length of ChannelName; the SDKs' hosts have such names too.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class ChannelDescription:
    """One entry of ``inputdataconfig.json``.

    Attributes
    ----------
    name
        Letters, digits, dots, dashes and underscores, 64 at most.
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
    """The machines of a job, from ``resourceconfig.json``.

    Attributes
    ----------
    current, names
        This one, and all of them.
    interface
        The network interface between them, as ``network_interface_name`` says; empty where it does not.
    on_one_machine
        Whether they are containers of one machine, which share its CPUs and its memory: the SDKs' local mode.
    """

    current: str = "algo-1"
    names: tuple[str, ...] = ("algo-1",)
    interface: str = ""
    on_one_machine: bool = False

    @property
    def first(self) -> str:
        """The host that trains and writes the model: the first by name, so that all hosts agree on it."""
        return min(self.names)


@dataclass(frozen=True)
class Configuration:
    """Everything that is known of a job before any data is touched."""

    hyperparameters: Mapping[str, object]
    channels: tuple[ChannelDescription, ...]
    hosts: Hosts
    checkpoints: Path | None


def read_json(path: Path) -> Any:
    """Read a JSON file of any origin.

    Returns
    -------
    Any
        The document, whose texts are all valid Unicode; None where there is no such file.

    Raises
    ------
    UserError
        Naming the file, and the place in it where that is known: not a file, too long, not UTF-8, not JSON, nested
        beyond what Python reads, a number of thousands of digits, half of a surrogate pair.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is not a file; expected a JSON document.")
        with path.open("rb") as file:
            content = file.read(_LONGEST_JSON + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > _LONGEST_JSON:
        raise UserError(f"{path} is longer than {_LONGEST_JSON >> 20} MiB; is this the right file?")
    try:
        document = json.loads(content.decode("utf-8-sig"))
        json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded.") from error
    except UnicodeEncodeError as error:
        half = excerpt(error.object[error.start : error.start + 1])
        raise UserError(f"{path} holds {half}, half of a surrogate pair, which is no text.") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; expected a flat JSON document.") from error
    except ValueError as error:  # Python's bound of the digits of an integer
        raise UserError(f"{path} holds a number that is too long: {error}.") from error
    return document


def read_hosts(folders: Folders) -> Hosts:
    """Read ``resourceconfig.json``; a job without one runs on one host, ``algo-1``."""
    path = folders.configuration / "resourceconfig.json"
    document = _read_object(path)
    current = document.get("current_host", "algo-1")
    names = document.get("hosts", [current])
    if not (isinstance(current, str) and isinstance(names, list) and all(isinstance(n, str) for n in names)):
        raise UserError(f'{path}: expected {{"current_host": "algo-1", "hosts": ["algo-1", ...]}}.')
    for name in (current, *names):
        _check_name(path, "host", name)
    if current not in names:
        raise UserError(f"{path}: current_host {excerpt(current)} is not one of hosts {excerpt(names)}.")
    interface, machine = (document.get(name) for name in ("network_interface_name", "current_instance_type"))
    return Hosts(
        current,
        tuple(names),
        interface if isinstance(interface, str) else "",
        isinstance(machine, str) and machine.startswith("local"),
    )


def read_configuration(folders: Folders) -> Configuration:
    """Read all JSON files of ``input/config``; each may be absent, as in a job that was made by hand."""
    path = folders.configuration / "hyperparameters.json"
    hyperparameters = {name: _unquoted(value) for name, value in _read_object(path).items()}
    return Configuration(
        hyperparameters, _read_channels(folders), read_hosts(folders), _checkpoint_folder(folders)
    )


def _check_name(path: Path, kind: str, name: str) -> None:
    # Names become parts of paths: the channel's folder, the model's file.
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise UserError(
            f"{path}: the {kind} name {excerpt(name)} is not one: expected 1 to 64 letters, digits, dots, dashes "
            "or underscores."
        )


def _unquoted(value: object) -> object:
    # Chosen: '"randomized"' means 'randomized'. SageMaker's framework estimators encode every value as JSON once
    # more, and the open-source training toolkit decodes it, so people do not notice that they sent quotes.
    if isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            text = json.loads(value)
            text.encode()
        except ValueError:  # no JSON text, or half of a surrogate pair
            return value
        return text
    return value


def _read_channels(folders: Folders) -> tuple[ChannelDescription, ...]:
    path = folders.configuration / "inputdataconfig.json"
    if not path.exists():
        # Chosen: without a description every folder of input/data is a File channel of recordIO, so that a tree
        # made by hand needs no third JSON file.
        found = sorted(folder.name for folder in folders.data.glob("*") if folder.is_dir())
        return tuple(ChannelDescription(name) for name in found if _NAME.fullmatch(name))
    return tuple(_channel(path, name, entry) for name, entry in _read_object(path).items())


def _channel(path: Path, name: str, entry: object) -> ChannelDescription:
    _check_name(path, "channel", name)
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
        if not isinstance(local, str) or "\0" in local:
            raise UserError(f"{path}: LocalPath must be the path of a folder; got {excerpt(local)}.")
        return Path(local)
    return folders.checkpoints if folders.checkpoints.is_dir() else None


def _read_object(path: Path) -> dict[str, Any]:
    document = read_json(path)
    if document is None and not path.exists():
        return {}
    if not isinstance(document, dict):
        raise UserError(f"{path} must hold one JSON object; got {excerpt(document)}.")
    return document
