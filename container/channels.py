"""The job's channels: files or FIFOs on one side, repeated passes over batches on the other."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.errors import DataError, Stopped
from eigenline.container.channel_files import WHOLE_BYTES, find_files, fingerprint
from eigenline.container.columns import ChannelReader, Columns, Labels
from eigenline.container.configuration import ChannelDescription
from eigenline.container.job_log import JobLog, silent_log
from eigenline.container.pipes import TIMEOUT_SECONDS, Pipe
from eigenline.container.reading_progress import ReadingProgress
from eigenline.container.stopping import Stopping
from eigenline.formats.read_buffer import GZIP_MAGIC
from eigenline.formats.recordio.wrapped import unwrap

Blocks: TypeAlias = Generator[tuple[str, Batch], None, None]  # a file's or FIFO's name, and a block of it


class FileChannel:
    """A channel of files, each pass reading all of them in the order of their names.

    Parameters
    ----------
    description
        The channel's name and content type.
    files
        At least one file.
    labels
        ``required`` (Linear Learner) or ``ignored`` (PCA).
    stopping
        True once the job was asked to stop; a pass then ends at the next block.
    columns
        Shared by all channels of the job.
    log
        Receives warnings about the data, and how far a long pass is.
    """

    def __init__(
        self,
        description: ChannelDescription,
        files: Sequence[Path],
        labels: Labels,
        stopping: Stopping,
        columns: Columns | None = None,
        log: JobLog | None = None,
    ) -> None:
        self.name = description.name
        self.files = files
        self._stated_type = description.content_type
        self._reader = ChannelReader(description, labels, columns or Columns())
        self._reader.look_at(files[0])
        self._stopping = stopping
        self._log = log or silent_log()
        self._progress = ReadingProgress(description.name, sum(_sizes(files)), self._log)
        self._warned = False

    def __iter__(self) -> Iterator[Batch]:
        return _checked(self.name, self.blocks(), self._stopping)

    def describe(self) -> str:
        """Return what was found, for the log."""
        count, size = len(self.files), _sizes(self.files)
        return f"{count} file{'s' * (count != 1)}, {sum(size) / 1e6:,.1f} MB, {self._reader.describe()}"

    def classes(self) -> frozenset[str]:
        """Return the distinct labels where the target's column holds texts; nothing where it holds numbers.

        Raises
        ------
        DataError
            If a label is missing, or they are too many.
        Stopped
            Where the job was asked to stop.
        """
        found: frozenset[str] = frozenset()
        for path in self.files:
            with self._open(path) as file:
                texts = self._reader.texts_of_labels(_mapped(file), str(path))
                while True:
                    with self._stopping.breaking_off():
                        some = next(texts, None)
                    if some is None:
                        break
                    found |= some
            if not found:
                break  # the first file's labels are numbers, and so are the others'
        return found

    def identity(self) -> str:
        """Return a text that differs for other data: their type, and the files' names, sizes and content.

        Raises
        ------
        Stopped
            Where the job was asked to stop.
        """
        size = sum(_sizes(self.files))
        contents = []
        for path in self.files:
            with self._open(path) as file:
                contents.append((path.name, fingerprint(file, size <= WHOLE_BYTES, self._stopping)))
        return f"{self.name}: {contents} of {self._stated_type}"

    def blocks(self) -> Blocks:
        """Yield the batches of one pass as they are, each with its file's name."""
        unended = []
        self._progress.begin()
        for path in self.files:
            with self._open(path) as file:
                source = _mapped(file)
                for batch, offset in self._reader.batches(source, str(path)):
                    self._progress.update(offset if isinstance(source, mmap.mmap) else file.tell())
                    yield str(path), batch
                    if isinstance(source, mmap.mmap):
                        source.madvise(mmap.MADV_DONTNEED)  # what was read stays cached, but is not ours any more
                if self._reader.is_csv and isinstance(source, mmap.mmap):
                    unended += [path] * (not _ends_with_line(source[:2], source[-1:]))
                self._progress.end_file(os.fstat(file.fileno()).st_size)
        if unended and not self._warned:
            self._warned = True
            self._log.warning(_unended_files(self.name, unended))

    def _open(self, path: Path) -> FileIO:
        try:
            return path.open("rb", buffering=0)  # the reader has blocks of its own
        except OSError as error:
            raise DataError(f"Channel {self.name!r}: {path} cannot be read: {error.strerror}.") from error


def _ends_with_line(first_bytes: bytes, last_byte: bytes) -> bool:
    """Return whether a text ends with a whole line; of gzip data, which carry their own length, True."""
    return first_bytes == GZIP_MAGIC or last_byte in {b"\n", b"\r", b""}


def _unended_files(channel: str, unended: Sequence[Path]) -> str:
    count = len(unended)
    which = f"{unended[0]} ends" if count == 1 else f"{count} files, {unended[0]} the first of them, end"
    return (
        f"Channel {channel!r}: {which} without a line end. The last line was read as it is; if it looks cut off, "
        "so is the file."
    )


def _sizes(files: Sequence[Path]) -> list[int]:
    return [path.stat().st_size for path in files]


def _mapped(file: FileIO) -> mmap.mmap | FileIO:
    """Map a file into memory; where that cannot be done (some FastFile streams), read it as a stream."""
    try:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return file
    # What is packed is read once and in order, and of a stream it is known how far that is.
    return file if mapped[:2] == GZIP_MAGIC else mapped


class PipeChannel:
    """A channel of FIFOs, one for each pass: ``train_0``, ``train_1``, ...

    Notes
    -----
    A pass that is given up early closes its FIFO early, which SageMaker allows, and costs that epoch's number:
    the next pass opens the next one.
    """

    def __init__(
        self,
        description: ChannelDescription,
        folder: Path,
        labels: Labels,
        stopping: Stopping,
        timeout_seconds: float = TIMEOUT_SECONDS,
        columns: Columns | None = None,
        log: JobLog | None = None,
    ) -> None:
        self.name = description.name
        self._stated_type = description.content_type
        self._reader = ChannelReader(description, labels, columns or Columns())
        self._progress = ReadingProgress(description.name, None, log or silent_log())
        self._wrapped = description.wrapped
        self._folder = folder
        self._stopping = stopping
        self._timeout_seconds = timeout_seconds
        self._epoch = 0

    def __iter__(self) -> Iterator[Batch]:
        return _checked(self.name, self.blocks(), self._stopping)

    def blocks(self) -> Blocks:
        """Yield the batches of one pass as they are, each with its FIFO's name."""
        path = self._folder / f"{self.name}_{self._epoch}"
        self._epoch += 1
        with Pipe(path, self._stopping, self._timeout_seconds) as pipe:
            text = self._reader.is_csv
            content: BinaryIO = cast(BinaryIO, pipe)
            if self._wrapped:
                content = cast(BinaryIO, unwrap(io.BufferedReader(pipe, 1 << 16), str(path), text))
            self._progress.begin()
            for batch, offset in self._reader.batches(content, str(path)):
                self._progress.update(offset)
                yield str(path), batch
            if text and not self._wrapped and not _ends_with_line(pipe.first_bytes, pipe.last_byte):
                # Nothing else would distinguish the end of the data from the death of who sends them.
                raise DataError(
                    f"{path} ends within a line: the writer of the pipe probably died. Where the data themselves "
                    "lack their last line end, add it."
                )

    def classes(self) -> frozenset[str]:
        """Return nothing: who reads a pipe to find out its classes could not read it again."""
        return frozenset()

    def describe(self) -> str:
        """Return what the channel is, for the log."""
        wrapped = ", each object wrapped in a recordIO frame" if self._wrapped else ""
        return f"pipe input mode under {self._folder / self.name}, {self._reader.describe()}{wrapped}"

    def identity(self) -> str:
        """Return a text that differs for other data, as far as that is known without reading them."""
        return f"{self.name}: pipe of {self._stated_type}"


def _checked(channel: str, batches: Blocks, stopping: Stopping) -> Iterator[Batch]:
    """Pass batches on; refuse a channel without records, and files that differ in their number of features.

    Once the job was asked to stop, the pass ends, whatever is left of it. It is incomplete then, which whoever
    reads it finds out from `stopping`, as `algorithms.records` does.
    """
    first: tuple[str, int] | None = None
    try:
        while True:
            with stopping.breaking_off():
                name, batch = next(batches, ("", None))
            if batch is None:
                break
            if not len(batch):
                continue
            if first is None:
                first = name, batch.feature_dim
            elif batch.feature_dim != first[1]:
                raise DataError(
                    f"Channel {channel!r}: {name} has {batch.feature_dim} features, but {first[0]} has "
                    f"{first[1]}. All files of a channel must have the same columns."
                )
            yield batch
    except Stopped:
        return
    finally:
        batches.close()  # a pass that is given up closes its file or FIFO now
    if first is None:
        raise DataError(f"Channel {channel!r} is empty: its files hold no record.")


Channel: TypeAlias = FileChannel | PipeChannel


def open_channels(
    descriptions: Sequence[ChannelDescription],
    folder: Path,
    labels: Labels,
    stopping: Stopping,
    columns: Columns | None = None,
    log: JobLog | None = None,
) -> dict[str, Channel]:
    """Find all channels of a job.

    Parameters
    ----------
    descriptions
        What ``inputdataconfig.json`` says.
    folder
        ``/opt/ml/input/data``.
    labels
        ``required`` or ``ignored``.
    stopping
        True once the job was asked to stop.
    columns
        What is known of the columns; shared by all channels.
    log
        Receives warnings about the data, and how far a long pass is.

    Raises
    ------
    DataError
        For a channel whose folder or files are missing or empty.
    """
    opened: dict[str, Channel] = {}
    columns = columns or Columns()
    for description in descriptions:
        name = description.name
        if description.mode == "Pipe":
            opened[name] = PipeChannel(description, folder, labels, stopping, columns=columns, log=log)
        else:
            opened[name] = FileChannel(
                description, find_files(name, folder / name), labels, stopping, columns, log
            )
    check_given(list(opened), folder)
    return opened


def check_given(names: Sequence[str], folder: Path) -> None:
    """Refuse a job without training data.

    Raises
    ------
    DataError
        Naming the channels that were given.
    """
    if "train" not in names:
        given = (
            f"Given were: {', '.join(sorted(names))}."
            if names
            else f"No channel was given, and {folder} is empty."
        )
        raise DataError(f"Channel 'train' is missing: training needs its records. {given}")


def hold_in_memory(channels: Mapping[str, Channel], memory_bytes: float) -> dict[str, HeldBatches]:
    """Keep the channels' data from the first pass on, as far as they fit.

    ``train`` may keep 40 % of the container's memory and every other channel 15 %: the rest is for the models, the
    block being read, and the interpreter.
    """
    return {name: HeldBatches(channel, share_of_memory(name) * memory_bytes) for name, channel in channels.items()}


def share_of_memory(channel: str) -> float:
    """Return which share of a container's memory the records of a channel may take."""
    return 0.4 if channel == "train" else 0.15
