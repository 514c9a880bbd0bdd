"""Long damaged inputs through one reader: ``python -m tests.formats.long_inputs READER digits|all``.

Every reader takes linear time: seconds here, where a quadratic one takes hours. The bound lies far from both, and
counts CPU seconds only, so a busy machine cannot fail it.
"""

import resource
import sys
from collections.abc import Callable, Iterator

import numpy as np

from eigenline import read_recordio_answer, write_recordio
from eigenline.algorithms.errors import UserError
from eigenline.algorithms.hyperparameters import parse
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.formats.artifact.model_file import read_artifact
from eigenline.formats.artifact.model_tar import read_model_tar
from eigenline.formats.content_types import negotiate, parse_content_type
from eigenline.formats.reading import read_batches
from eigenline.formats.requests import read_features

CPU_SECONDS = 400
DIGITS = 1_000_000
LENGTHS = (10_000, 300_000)
LONG_PIECES = frozenset(("1", "0", '"', " ", "\\", "[", ","))  # with every ending at both lengths
PIECES = (
    *(
        "1",
        "0",
        "-",
        "+",
        ".",
        "e",
        "1e",
        "1.",
        "a",
        "_",
        "1 ",
        " ",
        "\t",
        " \t",
        "\r",
        "\0",
        "\\",
        "\\u12",
        "/",
        ":",
    ),
    *(
        ",",
        "1,",
        "a,",
        ";",
        "1;",
        '"',
        '""',
        '",',
        '"a',
        '" "',
        "[",
        "]",
        "[]",
        "[1,",
        "{",
        '{"a":',
        "}",
        "'",
        "\xe9",
    ),
    *("\n", "1\n", "\r\n", "1:1 ", "null,", "\ufffd", "\u2028", "=", "q=", "*", "*/*,", ";q=1,", "nan,", "1,\n"),
)
ENDINGS = ("", "x", "e", ",x", '"', "\n", ",1,1\n", "x,1,1\n1,2,3,4\n")
RECORD = write_recordio(np.ones((2, 3), np.float32))


def damaged_numbers() -> Iterator[str]:
    for ending in ("x", "e", ".x", "e1x", " 1"):
        yield "1" * DIGITS + ending
    yield "1." + "1" * DIGITS + "x"
    yield "1e" + "1" * DIGITS + "x"


def repeated_pieces() -> Iterator[str]:
    for length in LENGTHS:
        for piece in PIECES:
            for ending in ENDINGS if length == LENGTHS[0] or piece in LONG_PIECES else ("x",):
                yield piece * (length // len(piece)) + ending


def csv_request(text: str) -> None:
    for form in ("{}", "1,2,{}", '1,"{}",3\n', "1,2\n{}"):
        outcome(lambda body: read_features(body, "text/csv"), form.format(text))
    outcome(lambda body: read_features(body, "text/csv;header=present"), text + "\n1,2,3\n")


def csv_channel(text: str) -> None:
    outcome(lambda body: list(read_batches(body, "text/csv", name="x")), text)
    outcome(
        lambda body: list(read_batches(body, "text/csv;label_size=0", name="x", block_bytes=4096)), "1,2\n" + text
    )


def json_request(text: str) -> None:
    for form in ("{}", '{{"instances":[{{"features":[{}]}}]}}', '{{"features":[1,"{}"]}}', "[[1,2],[{}"):
        outcome(lambda body: read_features(body, "application/json"), form.format(text))


def json_lines(text: str) -> None:
    for form in ("{}", '{{"features":[{}]}}\n', '{{"features":[1,"{}"]}}\n'):
        outcome(lambda body: read_features(body, "application/jsonlines"), form.format(text))
    outcome(lambda body: list(read_batches(body, "jsonlines", name="x", block_bytes=4096)), text)


def recordio(text: str) -> None:
    for front in (b"", RECORD, RECORD[:8], RECORD[:20]):
        body = front + text.encode()
        framed = body[:4] + (len(body) - 8).to_bytes(4, "little") + body[8:]
        for data in (body, framed):
            outcome(lambda body: read_features(body, "protobuf"), data)
            outcome(lambda body: list(read_batches(body, "protobuf", name="x", block_bytes=4096)), data)
            outcome(read_recordio_answer, data)


def headers(text: str) -> None:
    for form in ("{}", "text/csv;label_size={}", "text/csv;header={}", 'text/csv;charset="{}', "text/csv{};q=0"):
        outcome(lambda header: parse_content_type(header.decode()).label_size(1), form.format(text))
        outcome(lambda header: negotiate(header.decode()), form.format(text))


def hyperparameters(text: str) -> None:
    given = {"predictor_type": "regressor", "feature_dim": "3"}
    for name in ("feature_dim", "wd", "l1", "epochs", "loss", "normalize_data"):
        outcome(lambda value, name=name: parse(Settings, given | {name: value.decode()}), text)
    outcome(lambda name: parse(Settings, given | {name.decode(): "1"}), text)


def artifacts(text: str) -> None:
    for front in (b"", b"PK\3\4", b"\x1f\x8b", (0x112).to_bytes(8, "little")):
        outcome(read_artifact, front + text.encode())
        outcome(read_model_tar, front + text.encode())


def outcome(read: Callable[[bytes], object], text: str | bytes) -> None:
    message = ""
    try:
        read(text if isinstance(text, bytes) else text.encode())
    except UserError as error:
        message = str(error)
    assert len(message) < 2000, f"{len(message)} characters of error"


READERS = {
    reader.__name__: reader
    for reader in (
        csv_request,
        csv_channel,
        json_request,
        json_lines,
        recordio,
        headers,
        hyperparameters,
        artifacts,
    )
}


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS if hard == resource.RLIM_INFINITY else hard, hard))
    reader = READERS[sys.argv[1]]
    for text in damaged_numbers() if sys.argv[2] == "digits" else repeated_pieces():
        reader(text)


if __name__ == "__main__":
    main()
