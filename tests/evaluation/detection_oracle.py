"""The WIDER FACE rule walked box by box: what the vectorised measures must equal."""

import numpy as np

from auto_annotator.evaluation.labels import LabelledPicture, Truth
from auto_annotator.types import Faces


def overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])  # noqa: E731
    return w * h / (area(a) + area(b) - w * h)


def judged(detections, truths, iou=0.5):
    """[(score, hit)] over all pictures, detections of faces that do not count left out."""
    rows = []
    for faces, truth in zip(detections, truths, strict=True):
        taken = set()
        order = sorted(range(len(faces)), key=lambda i, f=faces: -f.scores[i])
        for i in order:
            overlaps = [overlap(faces.boxes[i], b) for b in truth.boxes]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= iou:
                if not truth.counts[best]:
                    continue
                rows.append((float(faces.scores[i]), best not in taken))
                taken.add(best)
            else:
                rows.append((float(faces.scores[i]), False))
    return rows


def average_precision(rows, faces):
    """Precision at every distinct score, the best of all lower ones, summed over the recall gained."""
    points = []
    for score in sorted({s for s, _ in rows}, reverse=True):
        shown = [hit for s, hit in rows if s >= score]
        points.append((sum(shown) / faces, sum(shown) / len(shown)))
    total, before = 0.0, 0.0
    for number, (recall, _) in enumerate(points):
        total += (recall - before) * max(p for _, p in points[number:])
        before = recall
    return total


def scene(seed, pictures=4, ties=True):
    """Random detections near, on and far from random faces, some of which do not count."""
    rng = np.random.default_rng(seed)
    detections, truths = [], []
    for _ in range(pictures):
        n = int(rng.integers(0, 5))
        corners = rng.integers(0, 60, (n, 2)).astype(float)
        boxes = np.concatenate([corners, corners + rng.integers(6, 30, (n, 2))], axis=1)
        near = np.repeat(boxes, 2, axis=0)
        near = near + rng.normal(0, 2, near.shape) if n else near
        far = rng.integers(0, 60, (3, 2)).astype(float)
        found = np.concatenate([near, np.concatenate([far, far + 8], axis=1)])
        scores = rng.random(len(found))
        detections.append(Faces.of(found, np.round(scores, 1) if ties else scores))
        truths.append(Truth(boxes=boxes.astype(np.float32), counts=rng.random(n) < 0.7))
    return detections, truths


def labelled(boxes, tmp_path="x.png", **more):
    return LabelledPicture(path=tmp_path, boxes=np.array(boxes, np.float32).reshape(-1, 4), **more)


def official(detections, truths):
    """The official script's loop over 1,000 scores, picture by picture."""
    grown = [Faces.of(d.boxes + np.float32([0, 0, 1, 1]), d.scores) for d in detections]
    boxes = [Truth(boxes=t.boxes + np.float32([0, 0, 1, 1]), counts=t.counts) for t in truths]
    scores = np.concatenate([d.scores for d in detections]).astype(float)
    rows = [((s - scores.min()) / (scores.max() - scores.min()), hit) for s, hit in judged(grown, boxes)]
    faces = sum(int(t.counts.sum()) for t in truths)
    recall, precision = [0.0], [0.0]
    for step in range(1, 1001):
        shown = [hit for s, hit in rows if s >= 1 - step / 1000]
        recall.append(sum(shown) / faces)
        precision.append(sum(shown) / len(shown) if shown else 0.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))
