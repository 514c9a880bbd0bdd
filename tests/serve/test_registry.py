"""The models of a multi-model endpoint: who is loaded, agreed on by many threads and many processes."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eigenline.algorithms.errors import UserError
from eigenline.serve.answers import Refusal
from eigenline.serve.models import ModelTooLarge, load_model
from eigenline.serve.registry import Registry

from .conftest import make_linear, make_pca, write_model


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "list.sqlite", tmp_path, 1 << 30)


def status(call: Callable[[], object]) -> int:
    try:
        call()
    except Refusal as refusal:
        return refusal.status
    except UserError:
        return 400
    return 200


def test_load_get_unload(registry: Registry, tmp_path: Path) -> None:
    url = str(write_model(tmp_path / "a", make_pca()))
    assert registry.load("a", url).name == "a"
    assert (registry.get("a").name, registry.get("a").url) == ("a", url)
    assert registry.model("a").algorithms == ("pca",)
    assert status(lambda: registry.load("a", url)) == 409
    registry.unload("a")
    assert status(lambda: registry.get("a")) == 404
    assert status(lambda: registry.model("a")) == 404
    assert status(lambda: registry.unload("a")) == 404


def test_a_name_loaded_again_from_elsewhere_is_the_new_model_everywhere(
    registry: Registry, tmp_path: Path
) -> None:
    other_worker = Registry(tmp_path / "list.sqlite", tmp_path, 1 << 30)
    registry.load("a", str(write_model(tmp_path / "a", make_pca())))
    assert other_worker.model("a").algorithms == ("pca",)
    registry.unload("a")
    registry.load("a", str(write_model(tmp_path / "b", make_linear())))
    assert other_worker.model("a").algorithms == ("linear-learner",)


def test_what_one_worker_unloads_leaves_the_memory_of_the_others(registry: Registry, tmp_path: Path) -> None:
    other_worker = Registry(tmp_path / "list.sqlite", tmp_path, 1 << 30)
    registry.load("a", str(write_model(tmp_path / "a", make_pca())))
    other_worker.model("a")
    other_worker.forget_unlisted()
    assert other_worker._models
    registry.unload("a")
    assert not registry._models
    other_worker.forget_unlisted()
    assert not other_worker._models


def _holds_until(file: Path, root: Path, ready: Any, delay: float) -> None:
    """A worker that has the model in memory and looks at the list only after a while."""
    registry = Registry(file, root, 1 << 30)
    registry.model("a")
    registry.forget_unlisted()
    ready.set()
    time.sleep(delay)
    registry.forget_unlisted()
    time.sleep(300)


@pytest.mark.parametrize(("delay", "waits"), [(0.5, 0.5), (300, 2)])
def test_unload_returns_when_the_other_workers_have_dropped_the_model(
    registry: Registry, tmp_path: Path, delay: float, waits: float
) -> None:
    registry.load("a", str(write_model(tmp_path / "a", make_pca())))
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=_holds_until, args=(tmp_path / "list.sqlite", tmp_path, ready, delay))
    worker.start()
    try:
        assert ready.wait(300)
        started = time.monotonic()
        registry.unload("a")
        waited = time.monotonic() - started
        assert waits - 0.2 < waited < 200, "for the worker to drop it, but not without end"
    finally:
        worker.kill()
        worker.join()
    registry.load("a", str(tmp_path / "a"))
    started = time.monotonic()
    registry.unload("a")
    assert time.monotonic() - started < 1, "a worker that has died is not waited for"


def test_pages_list_every_model_once_in_order(registry: Registry, tmp_path: Path) -> None:
    url = str(write_model(tmp_path / "a", make_pca()))
    names = [f"model-{i:03d}" for i in range(25)]
    for name in reversed(names):
        registry.load(name, url)
    seen, token, pages = [], "", 0
    while token is not None:
        entries, token = registry.page(token, size=10)
        seen += [entry.name for entry in entries]
        pages += 1
    assert (seen, pages) == (names, 3)


def test_memory_that_does_not_suffice_is_507_until_another_is_unloaded(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "list.sqlite", tmp_path, 30_000, workers=2)
    url = str(write_model(tmp_path / "a", make_linear(1000)))
    registry.load("first", url)
    assert status(lambda: registry.load("second", url)) == 507
    assert status(lambda: registry.get("second")) == 404
    registry.unload("first")
    assert status(lambda: registry.load("second", url)) == 200


@pytest.mark.parametrize(
    "url",
    ["/etc", "/opt/../etc/passwd", "relative/../../..", "missing", "", "a\0b", 5, None, ["a"]],
)
def test_urls_outside_the_root_or_of_nothing(registry: Registry, url: object) -> None:
    assert status(lambda: registry.load("a", url)) == 400
    assert registry.page() == ([], None)


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "outside", make_pca())
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "outside")
    registry = Registry(tmp_path / "list.sqlite", root, 1 << 30)
    assert status(lambda: registry.load("a", str(root / "a"))) == 400


@pytest.mark.parametrize("name", ["", "x" * 2000, "a\nb", "../../etc/passwd", 5, None])
def test_names_that_are_none(registry: Registry, tmp_path: Path, name: object) -> None:
    url = str(write_model(tmp_path / "a", make_pca()))
    assert status(lambda: registry.load(name, url)) == 400


@pytest.mark.parametrize("name", ["..", "'; DROP TABLE models; --", "ü", "%2e%2e"])
def test_names_are_only_names(registry: Registry, tmp_path: Path, name: str) -> None:
    registry.load(name, str(write_model(tmp_path / "a", make_pca())))
    assert registry.get(name).name == name
    assert registry.unload(name).name == name


def test_of_many_threads_that_load_one_name_one_wins(registry: Registry, tmp_path: Path) -> None:
    url = str(write_model(tmp_path / "a", make_pca()))
    barrier = threading.Barrier(16)

    def load(_: int) -> int:
        barrier.wait()
        return status(lambda: registry.load("a", url))

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(load, range(16))) == [200] + [409] * 15


def _race(file: Path, root: Path, urls: list[str], seed: int, results: "multiprocessing.Queue[list[int]]") -> None:
    import random

    order = random.Random(seed)
    registry = Registry(file, root, 1 << 30)
    seen = []
    for _ in range(150):
        action, name = order.choice(["load", "unload", "model", "model"]), order.choice(["a", "b", "c"])
        if action == "load":
            seen.append(status(lambda name=name: registry.load(name, order.choice(urls))))  # type: ignore[misc]
        elif action == "unload":
            seen.append(-status(lambda name=name: registry.unload(name)))  # type: ignore[misc]
        else:
            status(lambda name=name: registry.model(name))  # type: ignore[misc]
            registry.forget_unlisted()
    results.put(seen)


@pytest.mark.slow
def test_processes_agree_on_who_loaded_and_who_unloaded(registry: Registry, tmp_path: Path) -> None:
    urls = [str(write_model(tmp_path / name, make_linear(seed=i))) for i, name in enumerate("xyz")]
    context = multiprocessing.get_context("fork")  # as gunicorn makes its workers
    results: multiprocessing.Queue[list[int]] = context.Queue()
    file = tmp_path / "list.sqlite"
    workers = [context.Process(target=_race, args=(file, tmp_path, urls, i, results)) for i in range(3)]
    for worker in workers:
        worker.start()
    outcomes = [outcome for _ in workers for outcome in results.get(timeout=300)]
    for worker in workers:
        worker.join(300)
    assert set(outcomes) <= {200, 409, -200, -404}
    listed = len(registry.page()[0])
    assert outcomes.count(200) - outcomes.count(-200) == listed


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("\ud800", "a"),
        ("a", "\udfff"),
        ("a", "x" * 300),
        ("a", "/".join(["x" * 100] * 60)),
        ("a", "loop"),
        ("a", "loop/deeper"),
    ],
    ids=["half a pair as a name", "as a url", "a long component", "a long path", "a loop", "below a loop"],
)
def test_what_no_file_system_knows_is_refused(registry: Registry, tmp_path: Path, name: str, url: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    write_model(tmp_path / "a", make_pca())
    assert status(lambda: registry.load(name, str(tmp_path / url))) == 400
    assert status(lambda: registry.get("\ud800")) == 404
    assert status(lambda: registry.unload("\ud800")) == 404


@pytest.mark.parametrize("change", ["replaced", "removed", "another beside it", "written again"])
def test_files_that_change_after_the_load_are_refused_by_all_workers_alike(
    registry: Registry, tmp_path: Path, change: str
) -> None:
    holds, does_not = (Registry(tmp_path / "list.sqlite", tmp_path, 1 << 30) for _ in range(2))
    folder = write_model(tmp_path / "a", make_linear())
    registry.load("a", str(folder))
    assert holds.model("a").algorithms == ("linear-learner",)
    artifact = folder / "model_algo-1"
    if change == "replaced":
        write_model(tmp_path / "b", make_pca())
        (tmp_path / "b" / "model_algo-1").replace(artifact)
    elif change == "removed":
        artifact.unlink()
    elif change == "another beside it":
        write_model(folder, make_pca(4, 4), "model_algo-2")
    else:
        artifact.write_bytes(artifact.read_bytes())
    for worker in (registry, holds, does_not):
        with pytest.raises(Refusal, match="have changed since it was loaded") as caught:
            worker.model("a")
        assert caught.value.status == 409
        assert worker.held("a") is None
    registry.unload("a")
    if change != "removed":
        registry.load("a", str(folder))
        assert holds.model("a").algorithms == does_not.model("a").algorithms


def test_a_report_takes_no_memory_of_a_multi_model_endpoint(registry: Registry, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "a", make_linear())
    (folder / "report.json").write_text('{"summary": ["' + "x" * 4_000_000 + '"]}')
    registry.load("a", str(folder))
    assert registry.model("a").reports == {}


def test_parameters_of_an_artifact_count(tmp_path: Path) -> None:
    model = make_linear()
    large = type(model)(
        model.weights, model.bias, model.predictor_type, model.loss, 0.5, {"class_weights": [1.0] * 100_000}
    )
    registry = Registry(tmp_path / "list.sqlite", tmp_path, 1 << 20)
    assert status(lambda: registry.load("a", str(write_model(tmp_path / "a", large)))) == 507


def test_a_model_that_fits_exactly_is_loaded(tmp_path: Path) -> None:
    url = str(write_model(tmp_path / "a", make_linear()))
    needed = load_model(tmp_path / "a").num_bytes + 4096
    exact = Registry(tmp_path / "exact.sqlite", tmp_path, 2 * needed, workers=2)
    assert status(lambda: exact.load("a", url)) == 200
    short = Registry(tmp_path / "short.sqlite", tmp_path, 2 * needed - 1, workers=2)
    assert status(lambda: short.load("a", url)) == 507


def test_a_file_larger_than_the_memory_is_507(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / "model_algo-1").open("wb") as file:
        file.truncate(1 << 42)  # takes no room on the disk
    with pytest.raises(ModelTooLarge, match="more than the memory"):
        registry.load("a", str(tmp_path / "a"))


class UnloadedMeanwhile(Registry):
    """A worker for which another one unloads a model while its files are read."""

    other: Registry

    def _read(self, name: str, url: str) -> Any:
        read = super()._read(name, url)
        self.other.unload(name)
        return read


def test_a_model_that_is_unloaded_while_it_is_read_is_not_kept(registry: Registry, tmp_path: Path) -> None:
    registry.load("a", str(write_model(tmp_path / "a", make_pca())))
    slow = UnloadedMeanwhile(tmp_path / "list.sqlite", tmp_path, 1 << 30)
    slow.other = registry
    assert status(lambda: slow.model("a")) == 404
    assert slow.held("a") is None
    assert not slow._models


def test_workers_that_have_seen_an_unload_do_not_write_again(registry: Registry, tmp_path: Path) -> None:
    """Each write wakes the others: a worker that wrote at every look would keep all of them awake for ever."""
    file = tmp_path / "list.sqlite"
    registry.load("a", str(write_model(tmp_path / "a", make_pca())))
    workers = [Registry(file, tmp_path, 1 << 30) for _ in range(2)]
    registry.unload("a")
    for _ in range(3):
        for worker in workers:
            worker.forget_unlisted()

    def writes() -> int:
        return int.from_bytes(file.read_bytes()[24:28])  # SQLite's own counter of changes, in the file's header

    before = writes()
    for _ in range(20):
        for worker in workers:
            worker.forget_unlisted()
    assert writes() == before
