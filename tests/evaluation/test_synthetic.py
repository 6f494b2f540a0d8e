"""The generator: exact, repeatable, shaped like the sets that it stands for."""

import tracemalloc

import numpy as np
import pytest

from auto_annotator.evaluation.clustering import score
from auto_annotator.evaluation.synthetic import DIMENSION, PRESETS, generate, spectrum
from auto_annotator.evaluation.synthetic_layout import MOST_FACES_IN_A_PICTURE


@pytest.fixture(scope="module")
def celebrities():
    return generate("ms1m", 12_000, seed=3)


@pytest.fixture(scope="module")
def album():
    return generate("album", 12_000, seed=3)


def cosines(faces, same):
    """Cosines of random pairs of one person, or of two."""
    rng, n = np.random.default_rng(0), len(faces.vectors)
    if same:
        order = np.argsort(faces.person, kind="stable")
        step = rng.integers(1, 12, n)
        first, second = order, order[(np.arange(n) + step) % n]
    else:
        first, second = rng.integers(0, n, (2, 200_000))
    keep = (
        ((faces.person[first] == faces.person[second]) == same) & ~faces.is_junk[first] & ~faces.is_junk[second] & (first != second)
    )
    return np.einsum("ij,ij->i", faces.vectors[first[keep]], faces.vectors[second[keep]])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("faces", [1, 2, 7, 100, 1500])
def test_every_preset_has_exactly_as_many_faces(preset, faces):
    made = generate(preset, faces, seed=1)
    assert made.vectors.shape == (faces, DIMENSION)
    assert made.vectors.dtype == np.float32
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    for column in (made.identity, made.person, made.quality, made.image, made.is_junk):
        assert column.shape == (faces,)
    assert 0 <= made.quality.min() <= made.quality.max() <= 1


def test_the_same_seed_gives_the_same_set_and_another_another():
    first, again, other = (generate("album", 800, seed=seed, second=0.7) for seed in (5, 5, 6))
    for name in ("vectors", "second", "identity", "person", "quality", "image", "is_junk"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.vectors, other.vectors)


def test_the_spectrum_has_the_effective_dimension_of_a_recogniser():
    variance = spectrum().astype(float) ** 2
    assert variance.sum() == pytest.approx(1, abs=1e-5)
    assert 1 / (variance**2).sum() == pytest.approx(180, abs=5)


def test_strangers_and_faces_of_one_person_are_as_far_apart_as_on_lfw(celebrities):
    strangers, same = cosines(celebrities, False), cosines(celebrities, True)
    assert strangers.mean() == pytest.approx(0.011, abs=0.01)
    assert strangers.std() == pytest.approx(0.09, abs=0.02)
    assert np.quantile(strangers, 0.999) > 4 * strangers.std()  # wide upper tail: families, kinds of people
    assert (same.mean(), same.std()) == pytest.approx((0.667, 0.121), abs=0.03)


def test_bad_faces_are_further_from_their_person(celebrities):
    order = np.lexsort((-celebrities.quality, celebrities.person))
    best = order[np.flatnonzero(np.diff(celebrities.person[order], prepend=-1))]
    anchor = celebrities.vectors[best][np.unique(celebrities.person, return_inverse=True)[1]]
    cosine = np.einsum("ij,ij->i", celebrities.vectors, anchor)
    good, bad = celebrities.quality > 0.75, celebrities.quality < 0.4
    assert cosine[good].mean() > cosine[bad].mean() + 0.15


def test_labels_of_celebrities_have_the_ceiling_of_web_collections(celebrities):
    ceiling = score(celebrities.person, celebrities.identity)
    assert 0.95 < ceiling.pairwise_f < 0.99
    assert 0.96 < ceiling.bcubed_f < 0.99
    sizes = np.bincount(celebrities.identity)
    assert np.mean(sizes) == pytest.approx(68.5, rel=0.15)


def test_an_album_has_many_people_seen_once_and_a_few_seen_often(album):
    sizes = np.unique(album.identity[~album.is_junk], return_counts=True)[1]
    assert 0.4 < (sizes == 1).mean() < 0.55
    assert 200 < sizes.max() <= 300
    assert album.is_junk.mean() == pytest.approx(0.03, abs=0.001)
    junk = album.identity[album.is_junk]
    assert len(np.unique(junk)) == len(junk)
    assert not np.isin(album.identity[~album.is_junk], junk).any()
    assert score(album.person, album.identity).bcubed_f == 1


def test_junk_looks_alike_and_has_low_quality(album):
    junk = album.vectors[album.is_junk]
    nearest = np.sort(junk @ junk.T, axis=1)[:, -2]
    assert np.median(nearest) > 0.5
    assert np.median(album.quality[album.is_junk]) < 0.15
    assert (album.quality[~album.is_junk] < 0.15).mean() < 0.01


def test_nobody_is_in_a_picture_twice_and_pictures_are_small(album):
    assert len(np.unique(np.stack([album.image, album.person]), axis=1).T) == len(album.image)
    sizes = np.unique(album.image, return_counts=True)[1]
    assert sizes.max() <= MOST_FACES_IN_A_PICTURE
    assert 0.1 * len(album.image) < (sizes * (sizes - 1) // 2).sum() < 0.3 * len(album.image)


def test_celebrities_come_alone(celebrities):
    assert len(np.unique(celebrities.image)) == len(celebrities.image)


def test_twins_are_nearer_than_other_relatives():
    def look_alikes(preset):
        faces = generate(preset, 6000, seed=2)
        people = np.unique(faces.person[~faces.is_junk], return_inverse=True)[1]
        sums = np.zeros((people.max() + 1, DIMENSION))
        np.add.at(sums, people, faces.vectors[~faces.is_junk])
        sums = sums[np.bincount(people) >= 8]
        sums /= np.linalg.norm(sums, axis=1, keepdims=True)
        return np.sort(sums @ sums.T, axis=1)[:, -2]

    assert (look_alikes("twins") > 0.6).mean() > 2 * (look_alikes("album") > 0.6).mean()


def test_a_second_recogniser_agrees_in_part():
    faces = generate("ms1m", 3000, seed=4, second=0.75)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3000, (2, 50_000))
    apart = faces.person[first] != faces.person[second]
    one, two = (np.einsum("ij,ij->i", v[first[apart]], v[second[apart]]) for v in (faces.vectors, faces.second))
    assert 0.3 < np.corrcoef(one, two)[0, 1] < 0.8
    assert abs(np.einsum("ij,ij->i", faces.vectors, faces.second).mean()) > 0.3  # parts correlate axis by axis


def test_a_file_holds_the_same_vectors_in_half_the_bytes(tmp_path):
    memory, mapped = (
        generate("album", 900, seed=7, second=0.5),
        generate("album", 900, seed=7, second=0.5, file=tmp_path / "faces.npy"),
    )
    assert mapped.vectors.dtype == np.float16
    assert mapped.vectors == pytest.approx(memory.vectors, abs=1e-3)
    assert np.load(tmp_path / "faces-second.npy", mmap_mode="r") == pytest.approx(memory.second, abs=1e-3)


@pytest.mark.slow
def test_work_space_does_not_grow_with_the_set(tmp_path):
    tracemalloc.start()
    generate("ms1m", 100_000, seed=1, file=tmp_path / "faces.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # the vectors alone are 205 MB in float32


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"got 'party', expected one of ms1m"):
        generate("party", 10, seed=0)
    with pytest.raises(ValueError, match="got 0, expected at least 1"):
        generate("album", 0, seed=0)
