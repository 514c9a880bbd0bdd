"""Jobs whose labels are texts: classes are found, numbered and kept beside the model; mistakes are explained."""

import json
from pathlib import Path

import numpy as np
import pytest

from eigenline.formats.artifact.columns_file import ColumnNames, read_column_names
from tests.command.runs import command
from tests.contract.trees import Tree, feed_pipes

KIND = "text/csv;target=bought"
BINARY = {"predictor_type": "binary_classifier", "mini_batch_size": "50"}
THREE = {"predictor_type": "multiclass_classifier", "num_classes": "3", "mini_batch_size": "50"}


def rows(words: list[str], count: int = 300, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    lines = ["age,bought,income"]
    for number in range(count):
        place = number % len(words)
        age, income = rng.normal([3 * place, -2 * place])
        lines.append(f"{age:.3f},{words[place]},{income:.3f}")
    return ("\n".join(lines) + "\n").encode()


def run(root: Path, hyperparameters: dict[str, str], mode: str = "File", **channels: bytes):
    tree = Tree(root, hyperparameters)
    tree.channels = {name: {"ContentType": KIND, "TrainingInputMode": mode} for name in channels}
    tree.write()
    for name, content in channels.items():
        if mode == "Pipe":
            feed_pipes(tree, name, content, 1)
        else:
            tree.put(name, "part.csv", content)
    return tree, command("train", folder=root, env={"SAGEMAKER_BASE_DIR": str(root)})


@pytest.mark.parametrize(
    ("words", "hyperparameters"), [(["yes", "no"], BINARY), (["wool", "silk", "cotton"], THREE)]
)
def test_classes_have_their_names(tmp_path: Path, words: list[str], hyperparameters: dict[str, str]) -> None:
    tree, done = run(tmp_path, hyperparameters, train=rows(words), test=rows(words, seed=1))
    assert done.returncode == 0, done.stdout
    names = tuple(sorted(words))
    assert read_column_names((tmp_path / "model" / "columns.json").read_bytes()) == ColumnNames(
        ("age", "income"), "bought", names
    )
    assert f"Labels are texts, numbered in their order: {', '.join(map(repr, names))}." in done.stdout
    report = json.loads((tmp_path / "model" / "report.json").read_text())
    confusion = np.array(report["confusion"]["test"])
    assert np.trace(confusion) > 0.9 * confusion.sum() == 270
    (tmp_path / "new.csv").write_bytes(b"age,income\n0,0\n6,-4\n3,-2\n")
    told = command("predict", str(tmp_path / "model"), "new.csv", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    labels = [line.split(",")[0] for line in told.stdout.split()[1:]]
    assert labels[:2] == [words[0], words[2 if len(words) == 3 else 1]]
    assert tree.failure is None


@pytest.mark.parametrize(
    ("hyperparameters", "train", "sentence"),
    [
        (BINARY, rows(["a", "b", "c"]), "has 3 different texts ('a', 'b', 'c'), but a binary_classifier has 2."),
        (THREE, rows(["a", "b"]), "has 2 different texts ('a', 'b'), but num_classes is 3."),
        (BINARY, rows(["yes", "no"]) + b"1,,2\n", "line 302, column 2 ('bought'): the label is ''"),
        ({**BINARY, "predictor_type": "regressor"}, rows(["yes", "no"]), "expected a number, got 'yes'"),
        (BINARY, rows(["1", "0"]) + b"1,yes,2\n", "line 302, column 2 ('bought'): expected a number, got 'yes'"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, hyperparameters: dict[str, str], train: bytes, sentence: str
) -> None:
    tree, done = run(tmp_path, hyperparameters, train=train)
    assert done.returncode == 1
    assert tree.failure is not None
    assert sentence in tree.failure


def test_a_class_that_only_the_test_channel_has(tmp_path: Path) -> None:
    tree, _ = run(tmp_path, BINARY, train=rows(["yes", "no"]), test=rows(["yes", "no", "perhaps"]))
    assert tree.failure is not None
    assert (
        "line 4, column 2 ('bought'): the label is 'perhaps', which is none of the train channel's" in tree.failure
    )


def test_a_pipe_says_why_texts_are_no_classes(tmp_path: Path) -> None:
    tree, done = run(tmp_path, BINARY, "Pipe", train=rows(["yes", "no"]))
    assert done.returncode == 1
    assert tree.failure is not None
    assert "a classifier takes texts for classes, in File mode" in tree.failure
