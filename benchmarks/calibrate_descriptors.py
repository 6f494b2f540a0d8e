"""Fit the fusion and the quality of an ensemble's descriptors on the development data and write them beside the ensemble file.

    python -m benchmarks.calibrate_descriptors embedded

- Say of each member: log-odds linear in the cosines, fitted on all pairs of LFW photos (about 4,000 of one person, 7.4 million of
  two) at a prior of 1 %, where strangers who look alike weigh more than at an even one.
- Threshold: the fused cosine that one pair of strangers in a million exceeds.
- Origin: half of the mean over people of the unit vectors; neutral vector: mean over people of what is left.
- Quality: chance that two photos of one person, both like this one, are recognised at that threshold, from pairs of LFW at native
  size and shrunk to 32, 24 and 16 pixels, of native with shrunk ones, and of CelebA in the wild.
The file holds no vector of a person.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np

from auto_annotator.config import ensemble_path, load_settings
from auto_annotator.fusion.descriptor_fit import fit_log_odds
from auto_annotator.fusion.descriptors import (
    DescriptorCalibration,
    MemberCalibration,
    fuse_descriptors,
    unit_rows,
)
from auto_annotator.quality import Ingredient, QualityModel, ingredients
from benchmarks.common import digest
from benchmarks.people import Described, Studio, celeba, lfw, lfw_pairs, shrunk

PRIOR = 0.01
"""Share of pairs of one person at which the say is fitted. Before centring dlib's say is 3.3 times SFace's at 0.5 and 1.6 times at
0.001; from twice to four times nothing differs beyond chance on the pairs of LFW and CelebA."""

FAR = 1e-6
"""Share of the pairs of strangers above the threshold: in an album of a thousand people about one pair of people looks alike."""

CENTRE = 0.5
"""Share of the mean that is taken off. With nothing taken off strangers have a fused cosine of .60 and centroids of large clusters
come near any face (clustering of LFW: BCubed 98.97); with half of it .25 and 99.19, fewer errors on small faces (16 px: 4.9 % EER
instead of 5.1 %), the same on large ones. With all of it dlib's vectors lose (refused at FAR 1e-5: 5 to 7 % instead of 3 %)."""

LABEL_NOISE = 1.25e-6
"""Share of LFW's pairs of "two" people that are one person under two spellings or a wrong name: the 9 highest of the development
half's 7.4 million were looked at, all were; the tenth was not. They are left out."""

STRIDE = 7
"""Every 7th pair of strangers takes part in the fit of the say; a million are plenty."""

SIZES = (32, 24, 16)
RIDGE = 0.01
"""Pull of the quality's weights towards 0: ingredients that say the same share the say."""


def pairs_of(people: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of all pairs, and whether they show one person."""
    first, second = np.triu_indices(len(people), 1)
    return first, second, people[first] == people[second]


def say(people: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Weight of pairs of one person: each photo has the same say, however many others there are of its person."""
    return np.asarray(1 / np.maximum(1, np.bincount(people)[people[rows]] - 1))


def origins(described: Described) -> dict[str, np.ndarray]:
    """What is taken off the unit vectors of each member."""
    return {name: CENTRE * mean_of_people(unit_rows(v)[0], described.people) for name, v in described.together.items()}


def centred(described: Described) -> dict[str, np.ndarray]:
    """(n, d) unit vectors of each member without its origin."""
    taken = origins(described)
    return {
        name: MemberCalibration(name=name, dimension=v.shape[1], coefficient=1.0, origin=taken[name]).units(v)[0]
        for name, v in described.together.items()
    }


def member_cosines(described: Described) -> np.ndarray:
    """(p, m) cosine of each member for all pairs."""
    return np.stack([cosines_of_all(v) for v in centred(described).values()], axis=1)


def cosines_of_all(vectors: np.ndarray) -> np.ndarray:
    """Inner products of all pairs of rows, in the order of `pairs_of`."""
    return np.asarray((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)])


def trusted(scores: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Pairs without the highest ones of two names, which are label errors."""
    wrong = round(LABEL_NOISE * (~same).sum())
    kept = np.ones(len(same), bool)
    kept[np.argsort(np.where(same, -np.inf, scores))[len(same) - wrong :]] = False
    return kept


def fit_say(cosines: np.ndarray, people: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Coefficient of each member.

    Args:
        cosines: (p, m) of all pairs.
        people: (n,) who is who.
        rows: photos that may take part; None = all.
    """
    first, second, same = pairs_of(people)
    kept = trusted(cosines.mean(axis=1), same) & (same | (np.arange(len(same)) % STRIDE == 0))
    if rows is not None:
        allowed = np.zeros(len(people), bool)
        allowed[rows] = True
        kept &= allowed[first] & allowed[second]
    weights = np.where(same, say(people, first), 1.0)
    return fit_log_odds(cosines[kept], same[kept], weights[kept], prior=PRIOR)[0]


def calibrate(described: Described, cosines: np.ndarray) -> DescriptorCalibration:
    """Say, neutral vectors and threshold from LFW at native size."""
    people = described.people
    first, _, same = pairs_of(people)
    coefficients = fit_say(cosines, people)
    fused = cosines @ (coefficients / coefficients.sum())
    kept = trusted(fused, same)
    strangers = np.sort(fused[kept & ~same])
    members = []
    taken = origins(described)
    for column, (name, vectors) in enumerate(centred(described).items()):
        sample = kept & (same | (np.arange(len(same)) % STRIDE == 0))
        weights = np.where(same, say(people, first), 1.0)[sample]
        slope, offset = fit_log_odds(cosines[sample][:, [column]], same[sample], weights, prior=PRIOR)
        members.append(
            MemberCalibration(
                name=name,
                dimension=vectors.shape[1],
                coefficient=round(float(coefficients[column]), 3),
                slope=round(float(slope[0]), 3),
                offset=round(offset, 3),
                origin=taken[name],
                neutral=mean_of_people(vectors, people),
            )
        )
    return DescriptorCalibration(
        members=tuple(members),
        threshold=round(float(strangers[len(strangers) - 1 - int(FAR * len(strangers))]), 4),
        slope=round(float(coefficients.sum()), 3),
    )


def mean_of_people(units: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Mean over people of their mean unit vector; photos without a vector left out."""
    known = units.any(axis=1)
    sums = np.zeros((people.max() + 1, units.shape[1]))
    np.add.at(sums, people[known], units[known])
    counts = np.bincount(people[known], minlength=len(sums))
    return np.asarray((sums[counts > 0] / counts[counts > 0, None]).mean(axis=0), np.float32)


def fit_quality(sets: Mapping[str, Described], calibration: DescriptorCalibration) -> QualityModel:
    """The quality from pairs of one person within each set, and of native with shrunk photos."""
    vectors = {name: fuse_descriptors(d.together, calibration) for name, d in sets.items()}
    values = {name: ingredients(d.measures) for name, d in sets.items()}
    names = list(values["lfw"])
    typical = {n: float(np.nanmedian(values["lfw"][n])) for n in names}
    table = {k: np.stack([np.where(np.isnan(v[n]), 0, v[n] - typical[n]) for n in names], axis=1) for k, v in values.items()}
    x, accepted, weights = [], [], []
    for a, b in [*((name, name) for name in sets), *(("lfw", name) for name in sets if name.startswith("lfw_"))]:
        people = sets[a].people
        first, second, same = pairs_of(people)
        first, second = first[same], second[same]
        if a != b:
            first, second = np.concatenate([first, second]), np.concatenate([second, first])
        x.append(table[a][first] + table[b][second])
        accepted.append(np.einsum("ij,ij->i", vectors[a][first], vectors[b][second]) > calibration.threshold)
        weights.append(say(people, first))
    w, y = np.concatenate(weights), np.concatenate(accepted)
    coefficients, constant = fit_log_odds(np.concatenate(x), y, w, ridge=RIDGE)
    share = float((w * y).sum() / w.sum())
    return QualityModel(
        constant=constant + float(np.log(share / (1 - share))),
        # two faces add up in a pair, and both are this one
        ingredients={n: Ingredient(weight=2 * float(c), typical=typical[n]) for n, c in zip(names, coefficients, strict=True)},
    )


def stability(described: Described, cosines: np.ndarray) -> list[float]:
    """Say of the last member over that of the first, fitted without the photos of each fold of the pairs."""
    pairs = lfw_pairs(described.photos)
    ratios = []
    for fold in np.unique(pairs.folds):
        rows = np.setdiff1d(np.arange(len(described.photos)), pairs.rows[pairs.folds == fold])
        coefficients = fit_say(cosines, described.people, rows)
        ratios.append(float(coefficients[-1] / coefficients[0]))
    return ratios


def write(name: str, calibration: DescriptorCalibration) -> str:
    """Write the file beside the ensemble file; rows of numbers stay on one line."""
    path = ensemble_path(name).with_name(f"{name}.descriptors.json")
    text = re.sub(r"\[[^][{}]*\]", lambda m: " ".join(m[0].split()), json.dumps(calibration.to_json(), indent=1))
    path.write_text(text + "\n")
    return path.name


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ensemble", nargs="?", default="embedded")
    name = parser.parse_args(arguments).ensemble
    studio, photos, wild = Studio(load_settings().model_copy(update={"ensemble": name})), lfw(), celeba()
    native = studio.faces("lfw", photos)
    sets = {"lfw": studio.described("lfw", photos)}
    sets |= {f"lfw_{px}px": studio.described(f"lfw_{px}px", shrunk(photos, native, px)) for px in SIZES}
    sets["celeba"] = studio.described("celeba", wild)
    cosines = member_cosines(sets["lfw"])
    calibration = calibrate(sets["lfw"], cosines)
    quality = fit_quality(sets, calibration)
    provenance = {
        "about": "fused log-odds = sum of coefficient * cosine; threshold: fused cosine that one pair of strangers in a million"
        " exceeds; slope, offset: log-odds of a member alone; origin: taken off the unit vectors; neutral: mean over people of what"
        " is left; quality: see auto_annotator.quality",
        "command": f"python -m benchmarks.calibrate_descriptors {name}",
        "data": "LFW and CelebA in the wild, development halves",
        "data_sha256": digest([p.path for p in (*photos, *wild)]),
    }
    done = DescriptorCalibration(
        members=calibration.members,
        threshold=calibration.threshold,
        slope=calibration.slope,
        quality=quality.to_json(),
        provenance=provenance,
    )
    print(f"wrote {write(name, done)}: say {[m.coefficient for m in done.members]}, threshold {done.threshold}")
    print(
        f"say of the last over the first member without each fold: {', '.join(f'{r:.2f}' for r in stability(sets['lfw'], cosines))}"
    )
    print(json.dumps(quality.to_json()))


if __name__ == "__main__":
    main()
