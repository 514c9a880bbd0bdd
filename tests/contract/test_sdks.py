"""SageMaker's own Python SDKs, versions 2 and 3, in local mode against the image; each in its own environment."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.runs import docker

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.image, pytest.mark.slow]


def run(python: Path, *arguments: str) -> str:
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "PYTHONWARNINGS": "ignore",
        "MPLBACKEND": "agg",
        "MNIST_DIR": "",  # the small digits: the same calls in a fraction of the time
    }
    done = subprocess.run(
        [python, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(autouse=True)
def no_container_left(image: str) -> Iterator[None]:
    """The SDKs leave their stopped containers behind; tests must not."""
    before = set(docker("ps", "--all", "--quiet", f"--filter=ancestor={image}").split())
    yield
    for name in set(docker("ps", "--all", "--quiet", f"--filter=ancestor={image}").split()) - before:
        docker("rm", "--force", name)


def test_both_walkthroughs_with_the_sdk_2(sdk2_python: Path) -> None:
    output = run(sdk2_python, "-m", "examples.sagemaker_local_mode")
    zeros = re.search(r"is a 0 +(\d+) +(\d+)\n", output)
    others = re.search(r"is another digit +(\d+) +(\d+)\n", output)
    assert zeros, output
    assert others, output
    found, missed, false = int(zeros[1]), int(zeros[2]), int(others[1])
    assert found + missed == 35
    assert missed + false <= 4
    assert "projected 64 records on 10 components" in output


def test_further_calls_of_the_sdk_2(tmp_path: Path, sdk2_python: Path) -> None:
    run(sdk2_python, "tests/contract/sdk2_calls.py", str(tmp_path / "results.json"))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["record_predictor"]["accuracy"] > 0.9
    assert results["record_predictor"]["scores"] == 300
    assert 0 <= results["record_predictor"]["score_0"] <= 1
    assert results["two_hosts"] == {"models": 1, "projections": 3}
    assert "exited with code: 1" in results["failure"]["raised"]
    assert results["batch_transform"] == {"lines": 20, "values": 2}


def test_the_linear_learner_walkthrough_with_the_sdk_3(sdk3_python: Path) -> None:
    output = run(sdk3_python, "-m", "examples.sagemaker_v3_local_mode")
    zeros = re.search(r"zeros found (\d+), missed (\d+)", output)
    others = re.search(r"taken for a zero (\d+), rejected (\d+)", output)
    assert zeros, output
    assert others, output
    assert int(zeros[1]) + int(zeros[2]) == 35
    assert int(zeros[2]) + int(others[1]) <= 4


def test_two_hosts_with_the_sdk_3(tmp_path: Path, sdk3_python: Path) -> None:
    program = (
        "import sys, tarfile, numpy as np\n"
        "from pathlib import Path\n"
        "from examples.sagemaker_v3_local_mode import train\n"
        "folder = Path(sys.argv[1]); data = folder / 'data'; data.mkdir()\n"
        "rows = np.random.default_rng(1).normal(size=(300, 6))\n"
        "np.savetxt(data / 'a.csv', np.column_stack([rows[:, 0] > 0, rows]), '%.6g', ',')\n"
        "model = train(folder / 'job', data, 6, hosts=2)\n"
        "with tarfile.open(model) as tar: print('MEMBERS', sorted(tar.getnames()))\n"
    )
    (tmp_path / "job").mkdir()
    output = run(sdk3_python, "-c", program, str(tmp_path))
    members = output.partition("MEMBERS ")[2]
    assert members.count("model_algo-") == 1, members
    assert "report.json" in members
