"""Every line of the job's log that a machine reads: the formats that tuning jobs and CloudWatch scrape."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from typing import TextIO


class JobLog:
    """Writes a training job's log the way SageMaker's built-in algorithms do.

    Parameters
    ----------
    stream
        Where the lines go; each is flushed.
    host
        Name of this host, as in ``resourceconfig.json``.
    algorithm
        Name in the ``#metrics`` dimensions: ``PCA`` or ``Linear Learner``.
    clock
        Seconds since the epoch.

    Notes
    -----
    Source: public logs of the real containers; regular expressions from DescribeTrainingJob (2020).
    """

    def __init__(
        self,
        stream: TextIO,
        host: str = "algo-1",
        algorithm: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.algorithm = algorithm
        self.clock = clock
        self._stream = stream

    def plain(self, text: str) -> None:
        """Write a line without a time stamp; what the stream cannot encode appears as its escape."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=self._stream, flush=True)

    def info(self, text: str) -> None:
        """Write a time-stamped line for people."""
        self._stamped("INFO", text)

    def warning(self, text: str) -> None:
        """Write a time-stamped warning."""
        self._stamped("WARNING", text)

    def error(self, text: str) -> None:
        """Write a time-stamped error."""
        self._stamped("ERROR", text)

    def _stamped(self, level: str, text: str) -> None:
        stamp = time.strftime("%m/%d/%Y %H:%M:%S", time.gmtime(self.clock()))
        self.plain(f"[{stamp} {level} 0] {text}")

    def metrics(
        self,
        values: Mapping[str, float | tuple[float, float] | list[float]],
        *,
        start_time: float | None = None,
        dimensions: Mapping[str, object] | None = None,
    ) -> None:
        """Write one ``#metrics`` line, then a blank line.

        A value is a number (its sum, minimum and maximum, count 1), a pair (sum, minimum and maximum) where
        SageMaker prints the two with different types, or a list of numbers that are summed up.
        """
        now = self.clock()
        entries = {}
        for name, value in values.items():
            if isinstance(value, list):
                least, most = min(value, default=0.0), max(value, default=0.0)
                entries[name] = {"sum": float(sum(value)), "count": len(value), "min": least, "max": most}
                continue
            total, extreme = value if isinstance(value, tuple) else (value, value)
            entries[name] = {"sum": total, "count": 1, "min": extreme, "max": extreme}
        document = {
            "StartTime": now if start_time is None else start_time,
            "EndTime": now,
            "Dimensions": {
                "Algorithm": self.algorithm,
                "Host": self.host,
                "Operation": "training",
                **(dimensions or {}),
            },
            "Metrics": entries,
        }
        self.plain("#metrics " + json.dumps(document) + "\n")

    def quality(self, channel: str, name: str, value: float, *, kind: str, epoch: int | None = None) -> None:
        """Write a ``#quality_metric`` line; `kind` is ``loss`` (less is better) or ``score``."""
        when = "" if epoch is None else f" epoch={epoch},"
        self.info(f"#quality_metric: host={self.host},{when} {channel} {name} <{kind}>={value!r}")

    def progress(self, percent: float, unit: str = "of epochs") -> None:
        """Write how much of the job is done."""
        self.info(f"#progress_metric: host={self.host}, completed {percent!r} % {unit}")

    def throughput(self, records_per_second: float) -> None:
        """Write how fast the last epoch went."""
        self.info(f"#throughput_metric: host={self.host}, train throughput={records_per_second!r} records/second")

    def epoch_stats(self, channel: str, epoch: int, seconds: float, mini_batches: int, num_bytes: int) -> None:
        """Write the line in which the service's data reader sums up one epoch of a channel."""
        now = self.clock()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
        document = {
            "data_pipeline": f"/opt/ml/input/data/{channel}",
            "epoch": epoch,
            "duration": round(seconds * 1e3),
            "num_examples": mini_batches,
            "num_bytes": num_bytes,
        }
        self.plain(f"[{stamp}.{int(now % 1 * 1e3):03d}] [tensorio] [info] epoch_stats={json.dumps(document)}")


def silent_log() -> JobLog:
    """Return a log that nobody reads."""
    return JobLog(io.StringIO())
