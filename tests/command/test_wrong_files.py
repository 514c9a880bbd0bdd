"""What a hurried person gives, and the sentence that comes back: the place, the cause, what to do."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eigenline.command.main import eigenline
from tests.command.runs import linear_table, write_csv

ROWS = "\n".join(f"{i % 7},{i * 0.5},{(i * 37) % 11},{i * 1.25}" for i in range(1, 31)) + "\n"
GOOD = "a,b,c,y\n" + ROWS
SEMICOLONS = GOOD.replace(",", ";").replace(".", ",")


@dataclass(frozen=True)
class Wrong:
    """One file: its bytes, options of train and check, and the sentence of each verb (None: predict takes it)."""

    name: str
    content: bytes
    sentence: str
    at_predict: str | None = ""
    options: tuple[str, ...] = ("--target", "y")
    suffix: str = ".csv"


def line(number: int, text: str, base: str = GOOD) -> bytes:
    lines = base.split("\n")
    lines[number - 1] = text
    return "\n".join(lines).encode()


CASES = [
    Wrong("empty file", b"", "is empty: it has no byte."),
    Wrong("blank lines only", b"\n\n  \n", "is empty: it holds no line with data."),
    Wrong("names only", b"a,b,c,y\n", "holds one line of names and no rows."),
    Wrong(
        "a text cell",
        line(5, "1,two,3,4"),
        "line 5, column 'b': the cell is a number elsewhere but the text 'two'",
        "line 5, column 'b': expected a number, got 'two'.",
    ),
    Wrong(
        "a text column",
        GOOD.replace("\n", ",Oslo\n").replace("y,Oslo", "y,city").encode(),
        "column 'city': the cell is the text 'Oslo'; features are numbers. Text columns: --categories one-hot",
        None,
    ),
    Wrong(
        "an empty cell",
        line(5, "1,,3,4"),
        "line 5, column 'b': the cell is empty (1 such cells in the column). Say --fill mean",
        "line 5, column 'b': the cell is empty, and the model was trained without a way",
    ),
    Wrong(
        "NA", line(5, "1,NA,3,4"), "line 5, column 'b': the cell is empty", "line 5, column 'b': the cell is empty"
    ),
    Wrong(
        "infinity",
        line(5, "1,inf,3,4"),
        "Infinite values have no place in a linear model",
        "Infinite values have no place in a linear model",
    ),
    Wrong("percent", line(5, "1,50%,3,4"), "Write percentages as numbers", "Write percentages as numbers"),
    Wrong("currency", line(5, "1,$50,3,4"), "without the currency", "without the currency"),
    Wrong("thousands", line(5, '1,"1,250.5",3,4'), "without thousands separators", "without thousands separators"),
    Wrong(
        "a date", line(5, "1,2024-05-01,3,4"), "It looks like a date or a time", "It looks like a date or a time"
    ),
    Wrong(
        "a short row",
        line(7, "1,2,3"),
        "line 7: it has 3 values, expected 4. Is a value missing, or was the file "
        "cut short (the last one there should be 'y')?",
    ),
    Wrong("a long row", line(7, "1,2,3,4,5"), "line 7: it has 5 values, expected 4. One more than expected"),
    Wrong("a sum below", (GOOD + "total\n").encode(), "line 32: it has 1 value, expected 4. 'total' stands alone"),
    Wrong(
        "a title above",
        ("Customers 2024 export\n" + GOOD).encode(),
        "line 1: 'Customers 2024 export' stands alone, "
        "but line 2 has 4 values: it looks like a title above the table.",
    ),
    Wrong("a comment above", ("# made by me\n" + GOOD).encode(), "it looks like a comment above the table."),
    Wrong(
        "R's short header",
        GOOD.replace("a,b,c,y", "b,c,y").encode(),
        "3 column names, but line 2 has 4 values. "
        "One name less than values: is the first column the row names that R writes?",
    ),
    Wrong("a long header", GOOD.replace("a,b,c,y", "a,b,c,y,z").encode(), "One name more than values"),
    Wrong("a name twice", GOOD.replace("a,b,c,y", "a,b,b,y").encode(), "the column name 'b' stands there 2 times"),
    Wrong("UTF-16", GOOD.encode("utf-16"), "is UTF-16 text, as Excel's 'Unicode Text' is. Save it as 'CSV UTF-8'"),
    Wrong("Windows-1252", GOOD.replace("a,b", "größe,b").encode("cp1252"), "line 1: byte 0xf6 is not UTF-8 text."),
    Wrong("Excel workbook", b"PK\x03\x04" + bytes(200), "is an Excel workbook or another archive, not CSV."),
    Wrong("old Excel workbook", b"\xd0\xcf\x11\xe0" + bytes(200), "is an Excel workbook or another archive"),
    Wrong("web page", b"<!DOCTYPE html><html>404</html>", "is a web page or XML, not CSV."),
    Wrong("PDF", b"%PDF-1.7\n" + bytes(100), "is a PDF document"),
    Wrong("binary", bytes(range(256)) * 4, "is not text: it holds zero bytes."),
    Wrong("old Mac", GOOD.replace("\n", "\r").encode(), "has lines that end as on old Macs (CR alone)."),
    Wrong(
        "one JSON document", b'[{"a": 1, "y": 2}]', "is one JSON document. Write one record a line (JSON Lines)"
    ),
    Wrong("broken JSON Lines", b'{"a": 1, "b": 2, "c": 3, "y": 2}\n{"a": 1,\n', "line 2: not JSON"),
    Wrong(
        "a new name in JSON Lines",
        b'{"a": 1, "b": 2, "c": 3, "y": 2}\n{"a": 1, "z": 3}\n',
        "line 2: the name 'z' is not in the first row",
    ),
    Wrong("damaged gzip", gzip.compress(GOOD.encode())[:-30] + b"x" * 30, "is damaged gzip data"),
    Wrong("cut gzip", gzip.compress(GOOD.encode())[:-12], "is damaged gzip data"),
    Wrong("spaces", GOOD.replace(",", " ").encode(), "the values seem to be separated by spaces"),
    Wrong("an open quotation mark", line(5, '1,"2,3,4'), "line 5: it has 2 values, expected 4"),
    Wrong("damaged npz", b"PK\x03\x04 .npy garbage", "is not a readable .npz file", options=(), suffix=".npz"),
    Wrong("damaged recordIO", b"\x0a\x23\xd7\xce\xff\xff\xff\x7f", "the file is cut off or damaged", options=()),
    Wrong("damaged svmlight", b"1 1:2 2:3\n1 x:2\n", "is not readable svmlight text", options=(), suffix=".svm"),
    Wrong(
        "no such target",
        GOOD.encode(),
        "has no column 'Y'. Did you mean 'y'? Its columns are: a, b, c, y.",
        None,
        ("--target", "Y"),
    ),
    Wrong(
        "no target",
        GOOD.encode(),
        "Which column is to be predicted? Say --target NAME (or --pca K, to predict "
        "nothing). Probably: --target y The columns of",
        None,
        (),
    ),
    Wrong(
        "a label that never changes",
        "\n".join(
            row.rsplit(",", 1)[0] + (",y" if not i else ",5") for i, row in enumerate(GOOD.strip().split("\n"))
        ).encode(),
        "The label 'y' is '5' in every row",
        None,
    ),
    Wrong("a label that is missing", line(5, "1,2,3,"), "line 5: the label 'y' is empty (1 such rows).", None),
    Wrong(
        "a label that is a word once",
        line(5, "1,2,3,four"),
        "line 5: the label 'y' is the text 'four', but a number in 29 other rows.",
        None,
    ),
    Wrong(
        "too many labels for two classes",
        GOOD.encode(),
        "has 30 different values",
        None,
        ("--target", "y", "--predictor-type", "binary_classifier"),
    ),
    Wrong(
        "numbers for a regressor",
        GOOD.replace("\n", ",no\n").replace("y,no", "y,bought").encode(),
        "a regressor predicts numbers",
        None,
        ("--target", "bought", "--predictor-type", "regressor"),
    ),
    Wrong(
        "an unknown column to ignore",
        GOOD.encode(),
        "has no column 'z' to ignore.",
        None,
        ("--target", "y", "--ignore", "z"),
    ),
]


def said_by(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(eigenline, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    names, table = linear_table(100)
    code, said = said_by(
        "train", str(write_csv(folder / "t.csv", names, table)), "--target", "y", "-o", f"{folder}/m"
    )
    assert code == 0, said
    return folder / "m"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sentence(case: Wrong, tmp_path: Path, model: Path) -> None:
    path = tmp_path / f"given{case.suffix}"
    path.write_bytes(case.content)
    for verb in (["train", str(path), "-o", str(tmp_path / "m")], ["check", str(path)]):
        code, said = said_by(*verb, *case.options)
        assert code == 1, said
        assert case.sentence in said
        assert "Traceback" not in said
    assert not (tmp_path / "m").exists() or not list((tmp_path / "m").glob("model_*"))
    code, said = said_by("predict", str(model), str(path), "-o", str(tmp_path / "out.csv"))
    if case.at_predict is None:
        assert code == 0, said
    else:
        assert code == 1, said
        assert (case.at_predict or case.sentence) in said
        assert not (tmp_path / "out.csv").exists()


def test_a_file_that_is_not_there(tmp_path: Path, model: Path) -> None:
    (tmp_path / "sales.csv").write_text(GOOD)
    for verb in (["train", "--target", "y"], ["check", "--target", "y"], ["predict", str(model)]):
        code, said = said_by(*verb, str(tmp_path / "sale.csv"))
        assert code == 1
        assert f"Did you mean {tmp_path / 'sales.csv'}?" in said


def test_names_that_do_not_match_the_model(tmp_path: Path, model: Path) -> None:
    (tmp_path / "n.csv").write_text(GOOD.replace("a,b,c,y", "a,b,colour,y"))
    code, said = said_by("predict", str(model), str(tmp_path / "n.csv"))
    assert code == 1
    assert (
        "lacks the column 'c' that the model was trained with. It has 'colour' besides: was a column renamed?"
        in said
    )


def test_files_that_do_not_match_each_other(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(GOOD)
    (tmp_path / "2.csv").write_text(GOOD.replace("a,b,c,y", "a,b,d,y"))
    code, said = said_by("train", str(tmp_path), "--target", "y", "-o", str(tmp_path / "m"))
    assert code == 1
    assert "2.csv lacks 'c' and has 'd' besides, compared with" in said


def test_semicolons_and_decimal_commas_are_understood(tmp_path: Path) -> None:
    (tmp_path / "eu.csv").write_text(SEMICOLONS)
    code, said = said_by("check", str(tmp_path / "eu.csv"), "--target", "y")
    assert code == 0, said
    assert "4 columns separated by semicolons" in said
    assert "Numbers are read with decimal commas." in said
    assert "30 numbers from 0.5 to 15" in said


def test_the_index_that_pandas_writes_is_left_out(tmp_path: Path) -> None:
    rows = [f"{i},{row}" if i else f",{row}" for i, row in enumerate(GOOD.strip().split("\n"))]
    (tmp_path / "p.csv").write_text("\n".join(rows))
    code, said = said_by("train", str(tmp_path / "p.csv"), "--target", "y", "-o", str(tmp_path / "m"))
    assert code == 0, said
    assert "it is taken for pandas' index and left out" in said
    assert "of 3 features train" in said


def test_check_shows_what_was_understood(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.sort(rng.integers(0, 2, 400))
    rows = zip(range(400), rng.normal(size=400).round(3), label, ["x"] * 200 + ["z"] * 200, label, strict=True)
    path = write_csv(tmp_path / "t.csv", ["number", "size", "copy", "kind", "y"], rows)
    code, said = said_by("check", str(path), "--target", "y", "--categories", "one-hot")
    assert code == 0, said
    assert "Column 'number' counts the rows (0 to 399): is it an identifier?" in said
    assert "Trap: the rows are sorted by the label." in said
    assert "Trap: 'copy' is the label over again" in said
    assert "Classes: 0 " in said
    assert "Nothing is in the way: eigenline train" in said


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        (b"1,2,3\n", 0, "1 records of 3 features, read as text/csv."),
        (b'{"instances": [{"features": [1, 2, 3]}]}', 0, "read as application/json"),
        (
            b'{"features": [1, 2, 3]}\n{"features": [1, 2, 3]}\n',
            0,
            "2 records of 3 features, read as application/jsonlines",
        ),
        (
            b"1,2,3,4\n",
            1,
            "has 4 features, but the model takes 3. One more than expected: is the label still in it?",
        ),
        (b"a,b,c\n1,2,3\n", 1, "column names"),
        (b"1,x,3\n", 1, "column 2: expected a number, got 'x'"),
        (b'{"instances": [1]}', 1, "check:"),
        (b"", 1, "body is empty"),
    ],
)
def test_check_reads_a_request_as_serve_does(
    tmp_path: Path, model: Path, body: bytes, code: int, sentence: str
) -> None:
    (tmp_path / "request").write_bytes(body)
    found, said = said_by("check", str(tmp_path / "request"), "--model", str(model))
    assert found == code, said
    assert sentence in said
    if not code:
        assert "The first record: a=1, b=2, c=3" in said
        assert "Its answer: score " in said
