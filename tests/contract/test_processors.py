"""The image and the processors it runs on: how new they must be, and how many of them it uses."""

import dataclasses
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.contract.clauses import ONLY_THE_IMAGE, clause
from tests.contract.runs import ContainerRun, run_in
from tests.contract.trees import Tree

pytestmark = pytest.mark.image
Container = Callable[..., ContainerRun]


@clause("Image", "NumPy's code for every processor from x86-64-v2 on", **ONLY_THE_IMAGE)
def test_it_needs_no_processor_newer_than_those_of_ml_m4(image: str) -> None:
    """ml.m4 and ml.c4 have AVX2 at most; what is newer is chosen at start, where the processor has it."""
    program = "from numpy._core._multiarray_umath import __cpu_baseline__; print(*__cpu_baseline__)"
    needed = set(run_in(image, "python", "-c", program).split())
    if not {"ASIMD", "NEON"} & needed:  # those are arm64's
        assert needed <= {"SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "POPCNT", "SSE42", "X86_V2"}


# ml.c4 and ml.m4 have Haswell or Broadwell processors: AVX2, and no AVX-512.
WITHOUT_AVX512 = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
EMULATOR = shutil.which("qemu-x86_64-static")


@clause("Image", "it trains the same models without AVX-512 (ml.c4, ml.m4)", **ONLY_THE_IMAGE)
@pytest.mark.parametrize("emulated", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_trains_the_same_models_on_older_processors(
    container: Container, pca_tree: Tree, linear_tree: Tree, tmp_path: Path, emulated: bool
) -> None:
    """With the newer code switched off; and, where there is an emulator, on a Haswell that has no other."""
    if platform.machine() != "x86_64":
        pytest.skip("this machine is no x86-64")
    if emulated and not EMULATOR:
        pytest.skip("the package qemu-user-static is not installed")
    options = ["--env=OPENBLAS_VERBOSE=2"] + ([f"--volume={EMULATOR}:/emulator:ro"] if emulated else [])
    train = ["/emulator", "-cpu", "Haswell-noTSX", "/opt/eigenline/bin/python", "/opt/eigenline/bin/train"]
    for tree in (pca_tree, linear_tree):
        tree.write()
        older = Tree(tmp_path / f"older-{tree.root.name}", tree.hyperparameters, tree.channels)
        shutil.copytree(tree.root, older.root)
        assert container(tree).wait().code == 0
        run = container(
            older,
            *options,
            environment={} if emulated else WITHOUT_AVX512,
            command=train if emulated else ["train"],
        )
        result = run.wait(300)
        assert result.code == 0, result.log
        assert "Core: Haswell" in result.log  # OpenBLAS says for which processor it chose its code
        assert_same_model(tree.model(), older.model())


def assert_same_model(model: object, other: object) -> None:
    for field in dataclasses.fields(model):  # type: ignore[arg-type]
        value = getattr(model, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            np.testing.assert_allclose(getattr(other, field.name), value, rtol=1e-3, atol=1e-5)


@clause("Image", "BLAS threads follow the CPU quota", **ONLY_THE_IMAGE)
@pytest.mark.parametrize(("option", "threads"), [("--cpus=1", "1"), ("--cpus=2", "2")])
def test_threads_follow_the_cpu_quota_of_the_container(
    container: Container, pca_tree: Tree, option: str, threads: str
) -> None:
    log = container(pca_tree.write(), option).wait().log
    assert f"{threads} CPUs, {threads} BLAS threads" in log
