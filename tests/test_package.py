"""What would be published: built, installed and run as a stranger does, beside folders named like our rooms."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
ROOMS = sorted(path.name for path in (ROOT / "eigenline").iterdir() if path.is_symlink())
PAGE = ["page.html", "page.css", "page.js"]
NOT_SOURCE = (".*", "build", "dist", "demo", "*.egg-info", "__pycache__", "node_modules")


def run(*command: object, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command without this checkout on its path; its output, or a failure that shows it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SAGEMAKER"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=clean | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}"
    return done.stdout


def new_environment(folder: Path) -> Path:
    """Make a virtual environment that has what this one has, but for this project; return its interpreter."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    python = folder / "bin" / "python"
    [site] = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).split()
    # A plain path: the .pth files below it, the editable install's among them, are not read.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def install(python: Path, *what: object) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    # Without --ignore-installed, pip would find this project in the environment that the path names.
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        *options,
        "--ignore-installed",
        *what,
        folder=ROOT,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout as a clone has it, so that building leaves nothing in this one."""
    copy = tmp_path_factory.mktemp("source") / "clone"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    return copy


@pytest.fixture(scope="module")
def distributions(source: Path) -> dict[str, Path]:
    """The source distribution, and the wheel that is built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", source.parent / "dist", source, folder=source)
    return {path.suffix: path for path in (source.parent / "dist").iterdir()}


@pytest.fixture(scope="module")
def installed(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the wheel installed."""
    python = new_environment(tmp_path_factory.mktemp("installed") / "environment")
    install(python, distributions[".whl"])
    return python


@pytest.fixture
def strangers_folder(tmp_path: Path) -> Path:
    """A folder with modules of the names that our rooms have; importing one of them is an error."""
    trap = "raise ImportError('the folder that the user happens to have was imported')\n"
    for name in ("algorithms", "container", "formats", "cluster"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(trap)
    for name in ("serve", "train", "command", "machine"):
        (tmp_path / f"{name}.py").write_text(trap)
    return tmp_path


def package_files() -> set[str]:
    """Every file that an installed package has, but for the definition that a module was generated from."""
    files = {f"eigenline/{path.name}" for path in (ROOT / "eigenline").iterdir() if path.is_file()}
    for room in ROOMS:
        files |= {f"eigenline/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*") if path.is_file()}
    return {file for file in files if not file.endswith((".pyc", ".proto"))}


@pytest.mark.slow
def test_the_wheel_holds_one_package_and_all_of_it(distributions: dict[str, Path]) -> None:
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        names = set(wheel.namelist())
        [top_level] = [wheel.read(name).decode() for name in names if name.endswith("top_level.txt")]
    assert {name.partition("/")[0] for name in names} == {"eigenline", f"eigenline-{VERSION}.dist-info"}
    assert top_level.split() == ["eigenline"]
    assert {name for name in names if name.startswith("eigenline/")} == package_files()
    assert {"eigenline/py.typed", *(f"eigenline/serve/{name}" for name in PAGE)} <= names


@pytest.mark.slow
def test_the_source_distribution_holds_files_instead_of_links(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions[".gz"]) as archive:
        members = {member.name: member for member in archive}
    top = f"eigenline-{VERSION}"
    assert not [name for name, member in members.items() if member.issym() or member.islnk()]
    packages = {name.split("/")[1] for name, member in members.items() if name.count("/") > 1}
    assert packages == {"eigenline", "eigenline.egg-info"}
    assert {f"{top}/{name}" for name in package_files()} <= set(members)
    assert {f"{top}/{name}" for name in ("LICENSE", "README.md", "pyproject.toml")} <= set(members)


@pytest.mark.slow
def test_installing_adds_one_command(installed: Path) -> None:
    commands = {path.name for path in installed.parent.iterdir()}
    assert "eigenline" in commands
    assert not commands & {"train", "serve"}


USE = """
import multiprocessing, sys
import numpy as np
import eigenline
from eigenline import PCA, LinearLearnerClassifier, LinearLearnerRegressor, read_recordio, write_recordio

records = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)

def fit(how):
    return PCA(num_components=2, algorithm_mode="regular").fit(records)

if __name__ == "__main__":
    assert type(eigenline.PCA) is type and isinstance(fit("here"), eigenline.PCA)
    labels = (records[:, 0] > 0).astype(int)
    assert LinearLearnerClassifier().fit(records, labels).score(records, labels) > 0.9
    np.testing.assert_array_equal(read_recordio(write_recordio(records))[0], records)
    for how in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(how).Pool(2) as pool:
            for fitted in pool.map(fit, [how, how]):
                assert isinstance(fitted, eigenline.PCA), how
                np.testing.assert_array_equal(fitted.components_, fit("here").components_)
    print(eigenline.__file__)
"""


def check_use(python: Path, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run the package from a folder: its names, every kind of process, the command; return where it was found."""
    (folder / "use.py").write_text(USE)
    found = run(python, "use.py", folder=folder, environment=environment).split()[-1]
    assert VERSION in run(python, "-m", "eigenline", "--version", folder=folder, environment=environment)
    return found


@pytest.mark.slow
def test_it_works_beside_folders_with_the_names_of_its_rooms(installed: Path, strangers_folder: Path) -> None:
    place = Path(check_use(installed, strangers_folder))
    assert place.is_relative_to(installed.parents[1])
    assert VERSION in run(installed.parent / "eigenline", "--version", folder=strangers_folder)


@pytest.mark.slow
def test_it_trains_and_serves_beside_folders_with_the_names_of_its_rooms(
    installed: Path, strangers_folder: Path
) -> None:
    job = strangers_folder / "ml"
    (job / "input" / "config").mkdir(parents=True)
    (job / "input" / "data" / "train").mkdir(parents=True)
    (job / "input" / "config" / "hyperparameters.json").write_text(
        '{"feature_dim": "2", "num_components": "1", "mini_batch_size": "10"}'
    )
    channels = {"train": {"ContentType": "text/csv;label_size=0"}}
    (job / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(channels))
    (job / "input" / "data" / "train" / "part.csv").write_text("0,0\n1,1\n2,2\n3,3.5\n" * 10)
    eigenline = installed.parent / "eigenline"
    run(eigenline, "train", folder=strangers_folder, environment={"SAGEMAKER_BASE_DIR": str(job)})
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"SAGEMAKER_BASE_DIR": str(job), "SAGEMAKER_BIND_TO_PORT": str(port), "PATH": os.environ["PATH"]}
    with (strangers_folder / "serve.log").open("wb") as log:
        server = subprocess.Popen([eigenline, "serve"], cwd=strangers_folder, env=settings, stdout=log, stderr=log)
    try:
        while True:
            assert server.poll() is None, (strangers_folder / "serve.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=60).close()
                break
            except OSError:
                time.sleep(0.05)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", data=b"1,1\n", headers={"Content-Type": "text/csv"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert len(json.load(answer)["projections"]) == 1
    finally:
        server.terminate()
        server.wait(timeout=60)


@pytest.mark.slow
def test_it_runs_from_a_checkout_that_was_never_installed(
    source: Path, strangers_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = new_environment(tmp_path_factory.mktemp("bare") / "environment")
    assert VERSION in run(python, "-m", "eigenline", "--version", folder=source, environment={"PYTHONPATH": "."})
    place = Path(check_use(python, strangers_folder, {"PYTHONPATH": str(source)}))
    assert place == source / "eigenline" / "__init__.py"


@pytest.mark.slow
def test_it_can_be_installed_as_a_link_to_a_checkout(
    source: Path, strangers_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = new_environment(tmp_path_factory.mktemp("editable") / "environment")
    install(python, "--editable", source)
    place = Path(check_use(python, strangers_folder))
    assert place == source / "eigenline" / "__init__.py"


def test_the_image_is_built_from_every_room() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_through == {"eigenline", *ROOMS, "image", "pyproject.toml", "README.md", "LICENSE"}


def test_the_version_stands_in_one_place() -> None:
    number = re.compile(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])")
    places = [ROOT / "Dockerfile", ROOT / "Makefile", ROOT / "image" / "bill_of_materials.py"]
    places += [ROOT / file for file in package_files() if file.endswith((".py", ".html", ".js"))]
    assert not [path for path in places if number.search(path.read_text())]
    assert len(number.findall((ROOT / "pyproject.toml").read_text())) == 1


def test_extras_that_name_the_project_itself_name_this_one() -> None:
    wanted = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    itself = [requirement for requirement in wanted if requirement.startswith(("eigen", PROJECT["name"]))]
    assert PROJECT["name"] == "eigenline"
    assert itself
    for requirement in itself:
        match = re.fullmatch(r"eigenline\[([\w,]+)\]", requirement)
        assert match, f"{requirement} would be fetched from an index"
        assert set(match[1].split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.slow
def test_a_type_check_of_fewer_files_than_there_are_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.check_types", "eigenline/version.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "mypy checked 1 files, but the package has" in done.stdout
