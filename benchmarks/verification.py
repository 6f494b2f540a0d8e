"""Verification from the photo (find, align, describe): members, naive concatenation, the ensemble, peers; quality; speed.

    python -m benchmarks verification

The pairs are the 3,000 of the development half of LFW, each photo as it is and shrunk until its face is 32, 24 and 16 pixels tall;
a photo without a face is an error. Their labels hold five known errors (two people under one name), so that no honest system
exceeds 99.83 % or a TAR of .9967. The say of the members (two numbers) was fitted on the photos of these pairs, see
calibrate_descriptors for how little it depends on them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auto_annotator.alignment import align
from auto_annotator.config import load_settings
from auto_annotator.crops import Pyramid
from auto_annotator.evaluation.verification import accuracy_by_folds, equal_error_rate, error_versus_discard, tar_at_far
from auto_annotator.fusion.descriptors import fuse_descriptors, unit_rows
from auto_annotator.quality import QualityModel
from benchmarks.calibrate_descriptors import SIZES, cosines_of_all, pairs_of, trusted
from benchmarks.common import REPOSITORY, table
from benchmarks.people import Described, Pairs, Photo, Studio, bench_members, celeba, lfw, lfw_pairs, shrunk
from benchmarks.verification_peers import PEERS, peer_vectors

OUT = REPOSITORY / "out" / "benchmarks"
FARS = (1e-2, 1e-3)
ALL_PAIRS_FARS = (1e-3, 1e-4, 1e-5, 1e-6)
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3)
BATCHES, ROUNDS = (1, 8, 32), 5
OURS = "**ours: fused, mirrored**"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One row of the tables: a name and the (n, d) vectors of a set, zeros = failure to enrol."""

    name: str
    vectors: np.ndarray


def main() -> None:
    """Print all tables and write the plots."""
    settings = load_settings()
    studio = Studio(settings, bench_members)
    photos = lfw()
    pairs, native = lfw_pairs(photos), studio.faces("lfw", photos)
    sets: dict[str, tuple[str, list[Photo]]] = {"native size": ("lfw", photos)}
    sets |= {f"{px} px": (f"lfw_{px}px", shrunk(photos, native, px)) for px in SIZES}
    described = {title: studio.described(name, shown) for title, (name, shown) in sets.items()}
    results: dict[str, list[System]] = {}
    for title, data in described.items():
        results[title] = systems(data, studio) + peers(sets[title][1])
        print_pairs(f"LFW pairs from the photo, {title}", results[title], pairs)
        print_all_pairs(f"All pairs of LFW photos, {title}: % of one person refused", results[title], data)
    described["CelebA in the wild"] = studio.described("celeba", celeba())
    print_all_pairs(
        "All pairs of CelebA photos: % of one person refused",
        systems(described["CelebA in the wild"], studio),
        described["CelebA in the wild"],
    )
    print_gap(results, pairs)
    quality(described, studio)
    speed(studio, photos)
    plot_pairs(results, pairs)


def systems(data: Described, studio: Studio) -> list[System]:
    """Members with and without mirrored crops, the seed's concatenation, the ensemble."""
    rows = []
    for name, plain in data.plain.items():
        rows.append(System(name=name, vectors=unit_rows(plain)[0]))
        rows.append(System(name=f"{name}, mirrored", vectors=unit_rows(data.together[name])[0]))
    own = [m.name for m in studio.description.descriptors.members]
    rows.append(System(name="seed: raw lengths side by side", vectors=concatenated(data, own)))
    if "mobilefacenet" in data.plain:
        rows.append(System(name="seed's way, sface + mobilefacenet", vectors=concatenated(data, ["sface", "mobilefacenet"])))
    vectors = fuse_descriptors({m: data.together[m] for m in own}, studio.description.descriptors.calibration)
    return [*rows, System(name=OURS, vectors=vectors)]


def concatenated(data: Described, members: list[str]) -> np.ndarray:
    """What CatsWhoTrain/autoannotator does (bug B11): vectors side by side as they come, compared by their cosine."""
    return unit_rows(np.concatenate([data.plain[m] for m in members], axis=1))[0]


def peers(photos: list[Photo]) -> list[System]:
    """Other packages, each with its own detector and alignment; those that are not there are named under the table."""
    rows = []
    for name in PEERS:
        found = peer_vectors(name, photos)
        if isinstance(found, str):
            print(f"peer {name}: not available ({found})")
        else:
            rows.append(System(name=f"peer: {name}", vectors=found))
    return rows


def pair_scores(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(p,) cosines, NaN where a photo has no vector."""
    scores = np.einsum("ij,ij->i", vectors[rows[:, 0]], vectors[rows[:, 1]])
    return np.where(vectors.any(axis=1)[rows].all(axis=1), scores, np.nan)


def print_pairs(title: str, rows: list[System], pairs: Pairs) -> None:
    """Accuracy by folds, TAR, EER, failures."""
    lines = []
    for system in rows:
        scores = pair_scores(system.vectors, pairs.rows)
        accuracy = accuracy_by_folds(scores, pairs.same, pairs.folds)
        tars = [f"{tar_at_far(scores, pairs.same, far):.4f}" for far in FARS]
        eer = f"{100 * equal_error_rate(scores, pairs.same):.2f}"
        percent = f"{100 * accuracy.mean:.2f} ± {100 * accuracy.spread:.2f}"
        lines.append((system.name, percent, int((~accuracy.right).sum()), *tars, eer, int(np.isnan(scores).sum())))
    header = ["system", "accuracy %", "errors", *(f"TAR at FAR {far:g}" for far in FARS), "EER %", "pairs without a face"]
    print(table(title, header, lines))


def print_all_pairs(title: str, rows: list[System], data: Described) -> None:
    """Refusals at small rates of false accepts, which 3,000 pairs cannot show."""
    same = pairs_of(data.people)[2]
    lines = []
    for system in rows:
        scores = cosines_of_all(system.vectors)
        kept = trusted(scores, same)
        strangers = np.sort(scores[kept & ~same])[::-1]
        at = [strangers[int(far * len(strangers))] for far in ALL_PAIRS_FARS]
        cells = [
            f"{100 * (scores[same] <= t).mean():.2f}" if far * len(strangers) >= 1 else "-"
            for far, t in zip(ALL_PAIRS_FARS, at, strict=True)
        ]
        lines.append((system.name, *cells))
    print(table(f"{title} ({int(same.sum())} of one person)", ["system", *(f"at FAR {far:g}" for far in ALL_PAIRS_FARS)], lines))


def print_gap(results: Mapping[str, list[System]], pairs: Pairs) -> None:
    """How much of what SFace loses on small faces the ensemble wins back."""

    def of(title: str, name: str) -> tuple[float, float]:
        vectors = next(s.vectors for s in results[title] if name in s.name)
        scores = pair_scores(vectors, pairs.rows)
        return accuracy_by_folds(scores, pairs.same, pairs.folds).mean, 1 - equal_error_rate(scores, pairs.same)

    lines = []
    for name in ("opencv", "sface, mirrored"):
        base = of("native size", name)
        for px in SIZES:
            before, after = of(f"{px} px", name), of(f"{px} px", OURS)
            closed = (f"{(a - b) / (n - b):.0%}" for n, b, a in zip(base, before, after, strict=True))
            lines.append((name, f"{px} px", *closed))
    header = ["gap of", "size", "closed, by accuracy", "closed, by 1 - EER"]
    print(table("Gap to its own native size that the ensemble closes", header, lines))
    print("(`sface, mirrored` already has the ensemble's landmarks, bicubic crops and three looks at small faces)")


def quality(described: Mapping[str, Described], studio: Studio) -> None:
    """Error versus discard: our quality, blur, detection score; also for a mix of all sizes."""
    calibration = studio.description.descriptors.calibration
    model = QualityModel.from_json(calibration.quality)
    own = [m.name for m in calibration.members]
    columns = {}
    for title, data in described.items():
        vectors = fuse_descriptors({m: data.together[m] for m in own}, calibration)
        columns[title] = vectors, model(data.measures), data.sharp, data.faces.scores.astype(float), data.people
    columns["a mix of the four sizes"] = mix([columns[t] for t in described if t != "CelebA in the wild"])
    lines, curves = [], {}
    for title, (vectors, ours, sharp, detected, people) in columns.items():
        first, second, same = pairs_of(people)
        scores = cosines_of_all(vectors)
        kept = trusted(scores, same) & (same | (np.arange(len(same)) % 3 == 0))
        rows = np.stack([first, second], axis=1)[kept]
        for name, value in (("quality", ours), ("blur score", sharp), ("detection score", detected)):
            # only photos of people with two photos can be missed
            curve = discard(scores[kept], same[kept], rows, np.nan_to_num(np.asarray(value, float)))
            curves[title, name] = curve
            lines.append((title, name, *(f"{100 * r:.2f}" for r in curve), f"{1 - curve[2] / curve[0]:.0%}"))
    header = ["set", "ordered by", *(f"{s:.0%} dropped" for s in SHARES), "less error at 10 %"]
    print(table("% of pairs of one person refused at FAR 0.001 when the worst faces are dropped", header, lines))
    plot_discard(curves)


def discard(scores: np.ndarray, same: np.ndarray, rows: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Error versus discard; shares are of the photos that have a partner."""
    partnered = np.unique(rows[same])
    value = value.copy()
    alone = np.setdiff1d(np.arange(len(value)), partnered)
    value[alone] = np.inf
    share = len(partnered) / len(np.unique(rows))
    return error_versus_discard(scores, same, rows, value, shares=[s * share for s in SHARES], far=1e-3)


def mix(columns: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Each photo at one of the sizes, drawn once."""
    draw = np.random.default_rng(0).integers(0, len(columns), len(columns[0][0]))
    return tuple(np.stack(values)[draw, np.arange(len(draw))] for values in zip(*columns, strict=True))


def speed(studio: Studio, photos: list[Photo]) -> None:
    """Milliseconds per face: each member by batch, and the whole description of a photo's face."""
    faces = studio.faces("lfw", photos)
    lines = []
    for member in studio.members:
        crops = []
        for row in range(max(BATCHES)):
            image = photos[row].load()
            matrix = align(faces.select([row]), member.template, width=image.shape[1], height=image.shape[0]).matrices[0]
            crops.append(Pyramid(image).crop(matrix, member.template.size, cubic=True))
        cells = []
        for batch in BATCHES:
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                member.recogniser.describe(crops[:batch])
                times.append((time.perf_counter() - start) / batch)
            cells.append(f"{1e3 * min(times):.1f}")
        lines.append((member.name, *cells))
    describe = studio.description
    shown = [(p.load(), faces.select([row])) for row, p in enumerate(photos[: max(BATCHES)])]
    start = time.perf_counter()
    for image, face in shown:
        describe(image, face)
    whole = 1e3 * (time.perf_counter() - start) / len(shown)
    lines.append((f"the ensemble: align, {len(describe.members)} members, mirrored, fuse, quality", f"{whole:.1f}", "-", "-"))
    title = f"Milliseconds per face on {describe.device} (one crop, not mirrored), best of {ROUNDS}"
    print(table(title, ["member", *(f"batch {b}" for b in BATCHES)], lines))


def plot_pairs(results: Mapping[str, list[System]], pairs: Pairs) -> None:
    """TAR over FAR by size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(5 * len(results), 4), squeeze=False)
    for axis, (title, rows) in zip(axes[0], results.items(), strict=True):
        for system in rows:
            scores = np.nan_to_num(pair_scores(system.vectors, pairs.rows), nan=-2.0)
            cuts = np.sort(scores[~pairs.same])[::-1]
            accepted = [(scores[pairs.same] > cut).mean() for cut in cuts]
            axis.plot(np.arange(len(cuts)) / len(cuts), accepted, label=system.name.strip("*"), lw=2 if system.name == OURS else 1)
        axis.set(xscale="log", xlabel="FAR", ylabel="TAR", title=title)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    save(figure, "verification_roc.png")


def plot_discard(curves: Mapping[tuple[str, str], np.ndarray]) -> None:
    """Error versus discard by set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    titles = list(dict.fromkeys(title for title, _ in curves))
    figure, axes = pyplot.subplots(1, len(titles), figsize=(4 * len(titles), 3.5), squeeze=False)
    for axis, title in zip(axes[0], titles, strict=True):
        for (of, name), curve in curves.items():
            if of == title:
                axis.plot(SHARES, 100 * curve, marker="o", label=name)
        axis.set(title=title, xlabel="share of faces dropped", ylabel="% refused at FAR 0.001", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    save(figure, "verification_discard.png")


def save(figure: object, name: str) -> None:
    """Write a plot under out/benchmarks."""
    OUT.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT / name, dpi=110, bbox_inches="tight")  # type: ignore[attr-defined]
    print(f"plot: {(OUT / name).relative_to(REPOSITORY)}")
