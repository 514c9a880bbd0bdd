"""All solvers to the components against the exact answer, on data of every shape and kind."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca import krylov
from eigenline.algorithms.pca.direct_solvers import completed, with_fixed_signs
from eigenline.algorithms.pca.training import NOT_READ_AGAIN, STOPPED, Solution
from tests.algorithms.pca.solvers import SOLVERS, cut, every_solver, solve


def spectrum_data(rng: np.random.Generator, n: int, d: int, offset: float = 0.0) -> NDArray[np.float64]:
    """Records with singular values that fall geometrically, away from zero by `offset`."""
    rank = min(n, d)
    left = np.linalg.qr(rng.standard_normal((n, rank)))[0]
    right = np.linalg.qr(rng.standard_normal((d, rank)))[0]
    return (left * (100 * 0.7 ** np.arange(rank))) @ right.T + offset


def exact(features: NDArray[Any], centred: bool = True) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared singular values (descending) and right singular vectors as columns, by LAPACK in float64."""
    moved = features - features.mean(axis=0) if centred else features
    _, singular_values, rows = np.linalg.svd(moved.astype(np.float64), full_matrices=False)
    return singular_values**2, rows.T


def assert_same_subspace(
    found: Solution, features: NDArray[Any], k: int, rtol: float, centred: bool = True
) -> None:
    values, vectors = exact(features, centred)
    pairs = found.decomposition
    np.testing.assert_allclose(pairs.eigenvalues[:k], values[:k], rtol=rtol, atol=rtol * values[0])
    components = completed(pairs.components, k, np.random.default_rng(0))[:, :k]
    np.testing.assert_allclose(components.T @ components, np.eye(k), atol=1e-6)
    known = values[:k] > 1e-9 * values[0]
    np.testing.assert_allclose(
        with_fixed_signs(components[:, known]),
        with_fixed_signs(vectors[:, :k][:, known]),
        atol=max(1e-5, 30 * rtol),
    )


@every_solver
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    ("n", "d"), [(200, 20), (20, 200), (60, 60), (500, 3), (4, 400)], ids=["tall", "wide", "square", "thin", "few"]
)
def test_solvers_agree_with_the_exact_answer(
    rng: np.random.Generator, solver: str, n: int, d: int, centred: bool
) -> None:
    features = spectrum_data(rng, n, d, offset=0.5)
    k = min(3, n - 1)
    found = solve(cut(features, 37), solver, num_components=k, centred=centred)
    assert_same_subspace(found, features, k, rtol=1e-7, centred=centred)
    centre = features.mean(axis=0) if centred else 0.0
    assert found.moments.total(centred) == pytest.approx(((features - centre) ** 2).sum())


@every_solver
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_data_far_from_zero_keep_their_components(rng: np.random.Generator, solver: str, precision: Any) -> None:
    features = spectrum_data(rng, 150, 40, offset=1e5)
    found = solve(cut(features, 50), solver, precision=precision)
    assert_same_subspace(found, features, 3, rtol=1e-6 if precision is np.float64 else 1e-4)


def test_without_centring_data_far_from_zero_have_their_mean_as_first_component(rng: np.random.Generator) -> None:
    features = spectrum_data(rng, 150, 40) + 1e4
    for solver in SOLVERS:
        found = solve(cut(features, 50), solver, num_components=1, centred=False, precision=np.float32)
        assert_same_subspace(found, features, 1, rtol=1e-5, centred=False)


@every_solver
@pytest.mark.parametrize("batch_rows", [1, 7, 64, 1000])
def test_the_answer_does_not_depend_on_the_batches(rng: np.random.Generator, solver: str, batch_rows: int) -> None:
    features = spectrum_data(rng, 130, 30)
    whole = solve([Batch(features)], solver).decomposition
    parts = solve(cut(features, batch_rows), solver).decomposition
    np.testing.assert_allclose(parts.eigenvalues, whole.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(parts.components, whole.components, atol=1e-6)


@every_solver
def test_the_answer_does_not_depend_on_the_order_of_records(rng: np.random.Generator, solver: str) -> None:
    features = spectrum_data(rng, 130, 30)
    straight = solve(cut(features, 40), solver).decomposition
    shuffled = solve(cut(rng.permutation(features), 40), solver).decomposition
    np.testing.assert_allclose(shuffled.eigenvalues, straight.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(shuffled.components, straight.components, atol=1e-6)


@every_solver
def test_sparse_records_give_what_dense_ones_give(rng: np.random.Generator, solver: str) -> None:
    sparse = csr_array(random_array((120, 40), density=0.1, rng=rng))
    features = sparse.toarray()
    mixed = [Batch(sparse[:50]), Batch(features[50:70]), Batch(sparse[70:])]
    for batches in (cut(sparse, 33), mixed):
        found = solve(batches, solver)
        assert_same_subspace(found, features, 3, rtol=1e-6)


@every_solver
@pytest.mark.parametrize("kind", ["constant", "one-row", "duplicates", "constant-column", "rank-two"])
def test_degenerate_data_give_zeros_and_never_nan(rng: np.random.Generator, solver: str, kind: str) -> None:
    features = {
        "constant": np.full((50, 30), 2.5),
        "one-row": rng.standard_normal((1, 30)),
        "duplicates": np.repeat(rng.standard_normal((2, 30)), 25, axis=0),
        "constant-column": np.column_stack([spectrum_data(rng, 50, 29), np.full(50, 7.0)]),
        "rank-two": rng.standard_normal((50, 2)) @ rng.standard_normal((2, 30)),
    }[kind]
    found = solve(cut(features, 20), solver, num_components=5)
    pairs = found.decomposition
    assert np.isfinite(pairs.components).all()
    assert (pairs.eigenvalues >= 0).all()
    values, _ = exact(features)
    expected = np.pad(values, (0, 5))[: len(pairs.eigenvalues)]
    scale = max(1.0, values[0])
    np.testing.assert_allclose(pairs.eigenvalues, expected, atol=1e-9 * scale, rtol=1e-6)


@pytest.mark.parametrize("kind", ["noise", "slow", "steps"])
def test_iteration_reaches_the_optimum_on_spectra_that_hardly_decay(rng: np.random.Generator, kind: str) -> None:
    noise = rng.standard_normal((900, 300))
    scales = {"noise": np.ones(300), "slow": np.arange(1, 301) ** -0.5, "steps": np.repeat([3.0, 1.0, 0.9], 100)}[
        kind
    ]
    features = noise * scales
    values, _ = exact(features)
    for solver in ("krylov in memory", "krylov over passes"):
        found = solve(
            cut(features, 200), solver, num_components=5, block_size=15, tolerance=2e-5, max_products=16,
            precision=np.float32,
        )  # fmt: skip
        basis = np.linalg.qr(found.decomposition.components.astype(np.float64))[0]
        captured = (((features - features.mean(axis=0)) @ basis) ** 2).sum()
        assert captured / values[:5].sum() > 0.999
        # what training reports of itself is never more than the components really capture
        assert found.decomposition.eigenvalues.sum() <= captured * (1 + 1e-5)


def test_a_block_smaller_than_the_restart_loses_nothing(rng: np.random.Generator) -> None:
    features = rng.standard_normal((400, 120)) * np.linspace(1.5, 1.0, 120)
    found = solve(cut(features, 100), "krylov over passes", num_components=3, block_size=3, tolerance=1e-14)
    assert found.passes > 2 * krylov.BASIS_BLOCKS  # so the basis was cut back more than once
    assert_same_subspace(found, features, 3, rtol=1e-6)


class CountedPasses:
    """A channel that counts its passes, and can change between them."""

    def __init__(self, features: NDArray[Any], later: NDArray[Any] | None = None) -> None:
        self.passes = 0
        self._features = features
        self._later = features if later is None else later

    def __iter__(self) -> Iterator[Batch]:
        self.passes += 1
        yield from cut(self._features if self.passes == 1 else self._later, 25)


@pytest.mark.parametrize("solver", ["covariance_eigh", "gram_eigh", "krylov in memory"])
def test_one_pass_is_enough_unless_the_iteration_needs_more(rng: np.random.Generator, solver: str) -> None:
    channel = CountedPasses(spectrum_data(rng, 100, 50))
    assert solve(channel, solver).passes == channel.passes == 1


def test_the_iteration_counts_its_passes(rng: np.random.Generator) -> None:
    channel = CountedPasses(spectrum_data(rng, 100, 50))
    assert solve(channel, "krylov over passes").passes == channel.passes > 1


def test_nothing_is_held_where_one_pass_is_enough(rng: np.random.Generator) -> None:
    for solver in ("covariance_eigh", "gram_eigh", "krylov in memory"):
        held = HeldBatches(cut(spectrum_data(rng, 100, 50), 25))
        solve(held, solver)
        assert held.held is None


def test_a_channel_that_cannot_be_read_again_gives_a_single_pass_sketch(rng: np.random.Generator) -> None:
    features = spectrum_data(rng, 300, 80)
    found = solve(CountedPasses(features, later=features[:0]), "krylov over passes", block_size=20)
    assert found.notes == (NOT_READ_AGAIN,)
    values, _ = exact(features)
    assert found.decomposition.eigenvalues.sum() > 0.95 * values[:3].sum()


def test_a_channel_that_changes_between_passes_is_an_error(rng: np.random.Generator) -> None:
    features = spectrum_data(rng, 300, 80)
    with pytest.raises(DataError, match="gave 250 records, but the first gave 300"):
        solve(CountedPasses(features, later=features[:250]), "krylov over passes")


@every_solver
def test_a_stop_in_the_first_pass_gives_a_model_of_what_was_read(rng: np.random.Generator, solver: str) -> None:
    features = spectrum_data(rng, 100, 50)
    asked = iter([False, False, *[True] * 1000])
    found = solve(cut(features, 25), solver, stopping=lambda: next(asked))
    assert found.notes == (STOPPED,)
    assert found.moments.count == 50
    if solver != "krylov over passes":  # a single block of random directions is a sketch
        assert_same_subspace(found, features[:50], 3, rtol=1e-6)


def test_a_stop_in_a_later_pass_keeps_the_best_so_far(rng: np.random.Generator) -> None:
    features = rng.standard_normal((100, 50)) * np.linspace(1.5, 1.0, 50)
    asked = iter([False] * 22 + [True] * 1000)
    found = solve(cut(features, 25), "krylov over passes", stopping=lambda: next(asked), block_size=5)
    assert found.notes == (STOPPED,)
    assert found.passes == 5  # 4 batches per pass, and once more at its end
    values, _ = exact(features)
    assert found.decomposition.eigenvalues.sum() > 0.9 * values[:3].sum()
