"""The files of `test_wrong_files`, sent to a real server as they stand: the sentence or answer that comes back."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.runs import command, linear_table, write_csv
from tests.command.test_wrong_files import CASES, Wrong
from tests.ports import free_port

NUMBER = "line 5, column 2 ('b'): expected a number, got "
# None: the label's column is passed over, and the rest of the file is in order
SENTENCES: dict[str, str | None] = {
    "empty file": "",
    "blank lines only": "The request holds no records.",
    "names only": "The request holds no records.",
    "a text cell": NUMBER + "'two'. Text categories must be encoded",
    "a text column": "line 2, column 5 ('city'): expected a number, got 'Oslo'.",
    "an empty cell": NUMBER + "an empty cell. Missing and infinite values must be filled in",
    "NA": NUMBER + "'NA'. Missing and infinite values",
    "infinity": NUMBER + "'inf'. Missing and infinite values",
    "percent": NUMBER + "'50%'",
    "currency": NUMBER + "'$50'",
    "thousands": NUMBER + "'1,250.5'",
    "a date": NUMBER + "'2024-05-01'",
    "a short row": "line 7: it has 3 values, expected 4. One less than expected: is a value missing",
    "a long row": "line 7: it has 5 values, expected 4. One more than expected",
    "a sum below": "line 32: it has 1 value, expected 4.",
    "a title above": "Line 1 seems to be a title, above the column names ('a', 'b', 'c', 'y'): leave it out.",
    "a comment above": "Line 1 begins with '#': comments are not understood here",
    "R's short header": "One name is missing: R's write.table gives the column of row names none",
    "a long header": "There is one name too many: does the header name a column that is not there?",
    "a name twice": "Missing: 'c'. There more than once: 'b'.",
    "UTF-16": "This is UTF-16 text, as Excel's 'Unicode text' is. Save it as 'CSV UTF-8'.",
    "Windows-1252": "its columns are not those of the model. Missing: 'a'. Unknown:",
    "Excel workbook": "This is a zip archive, as an Excel workbook (.xlsx) is.",
    "old Excel workbook": "This is an Excel workbook (.xls).",
    "web page": "The request holds no records.",
    "PDF": "This is a PDF document.",
    "binary": "line 1 holds 1 column name ('\\x00",
    "old Mac": "The request holds no records.",
    "one JSON document": "line 1, value 1: expected a number within float32, got",
    "broken JSON Lines": 'line 1: expected {"features": [...]}',
    "a new name in JSON Lines": "Unknown: 'z'.",
    "damaged gzip": "These are gzip data; give them as a file of their own, or unpack them first.",
    "cut gzip": "These are gzip data; give them as a file of their own, or unpack them first.",
    "spaces": "The values seem to be separated by spaces; this format has commas.",
    "an open quotation mark": NUMBER + "'\"2'",
    "damaged npz": "This is a zip archive",
    "damaged recordIO": "the file is cut off or damaged.",
    "damaged svmlight": "The values seem to be separated by spaces",
    "no such target": None,
    "no target": None,
    "a label that never changes": None,
    "a label that is missing": "line 5, column 4 ('y'): expected a number, got an empty cell.",
    "a label that is a word once": "line 5, column 4 ('y'): expected a number, got 'four'.",
    "too many labels for two classes": None,
    "numbers for a regressor": "line 2, column 5 ('bought'): expected a number, got 'no'.",
    "an unknown column to ignore": None,
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    write_csv(folder / "t.csv", *linear_table(100))
    assert command("train", "t.csv", "--target", "y", "-o", "m", folder=folder).returncode == 0
    port = free_port()
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "eigenline", "serve", "m", "--port", str(port)],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(300)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=300) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def answer_of(address: str, case: Wrong) -> tuple[int, bytes]:
    kind = "text/csv;header=present;target=y"
    if "recordIO" in case.name or "JSON" in case.name:
        kind = "application/x-recordio-protobuf" if "recordIO" in case.name else "application/jsonlines"
    request = urllib.request.Request(f"{address}/invocations", case.content, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sentence_of_a_request(case: Wrong, address: str) -> None:
    status, body = answer_of(address, case)
    sentence = SENTENCES[case.name]
    if sentence is None:
        assert status == 200
        assert len(json.loads(body)["predictions"]) == 30
    elif not sentence:
        assert (status, body) == (204, b"")
    else:
        assert status == 400
        assert sentence in json.loads(body)["error"]
