"""What users of SageMaker's Python SDKs run: the examples that they paste, and calls beyond `fit` and `deploy`."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.clauses import IN_THE_SDKS, OTHER_TEST, SDK_ONLY, WALKTHROUGHS, clause
from tests.contract.conftest import compose_is_there
from tests.contract.runs import docker
from tests.contract.sdks import ROOT, sdk_environment

pytestmark = [pytest.mark.image, pytest.mark.slow]


def run(python: Path, *arguments: str, **environment: str) -> str:
    # The small digits: the same calls in a fraction of the time.
    environment = sdk_environment() | {"MPLBACKEND": "agg", "MNIST_DIR": ""} | environment
    done = subprocess.run(
        [python, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(autouse=True)
def no_container_left(image: str) -> Iterator[None]:
    """The SDKs leave their stopped containers behind; tests must not."""
    if not compose_is_there():
        pytest.skip("the SDKs' local mode needs docker compose, which is not installed")
    before = set(docker("ps", "--all", "--quiet", f"--filter=ancestor={image}").split())
    yield
    for name in set(docker("ps", "--all", "--quiet", f"--filter=ancestor={image}").split()) - before:
        docker("rm", "--force", name)


def assert_few_errors(found: str, missed: str, false: str) -> None:
    """Of the small digits' 35 zeros and 325 others in the test set, at most four are wrong."""
    assert int(found) + int(missed) == 35
    assert int(missed) + int(false) <= 4


@clause("Start", WALKTHROUGHS, process=OTHER_TEST, container=IN_THE_SDKS, sdk3=OTHER_TEST)
def test_both_walkthroughs_with_the_sdk_2(tmp_path: Path, sdk2_python: Path) -> None:
    output = run(sdk2_python, "-m", "examples.sagemaker_local_mode", TMPDIR=str(tmp_path))
    zeros = re.search(r"is a 0 +(\d+) +(\d+)\n", output)
    others = re.search(r"is another digit +(\d+) +(\d+)\n", output)
    assert zeros, output
    assert others, output
    assert_few_errors(zeros[1], zeros[2], others[1])
    assert "projected 64 records on 10 components" in output
    assert not list(tmp_path.iterdir()), "temporary files are left behind"


@clause("Start", WALKTHROUGHS, process=OTHER_TEST, container=IN_THE_SDKS, sdk2=OTHER_TEST)
def test_both_walkthroughs_with_the_sdk_3(tmp_path: Path, sdk3_python: Path) -> None:
    output = run(sdk3_python, "-m", "examples.sagemaker_v3_local_mode", TMPDIR=str(tmp_path))
    zeros = re.search(r"zeros found (\d+), missed (\d+)", output)
    others = re.search(r"taken for a zero (\d+), rejected (\d+)", output)
    assert zeros, output
    assert others, output
    assert_few_errors(zeros[1], zeros[2], others[1])
    captured = re.search(r"projected 64 records on 10 components, which hold ([0-9.]+) of the best", output)
    assert captured, output
    assert 0.9999 < float(captured[1]) < 1.0001
    assert not list(tmp_path.iterdir()), "temporary files are left behind"


@clause(
    "Serving",
    "`RecordSerializer`, `RecordDeserializer`, and a batch transform job",
    process=SDK_ONLY,
    container=SDK_ONLY,
    sdk3="its local session has no predictor and no transformer of its own; its calls are those of the other rows",
)
def test_further_calls_of_the_sdk_2(tmp_path: Path, sdk2_python: Path) -> None:
    run(sdk2_python, "tests/contract/sdk2_calls.py", str(tmp_path / "results.json"))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["record_predictor"]["accuracy"] > 0.9
    assert results["record_predictor"]["scores"] == 300
    assert 0 <= results["record_predictor"]["score_0"] <= 1
    assert results["batch_transform"] == {"lines": 20, "values": 2}
