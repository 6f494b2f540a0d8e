"""Projects, tasks, jobs, labels and issues as CVAT's API shows them."""

from __future__ import annotations

from fake_cvat.store import JSON, MOMENT, Comment, Issue, Job, Label, Project, Store, Task

USER: JSON = {"url": "/api/users/1", "id": 1, "username": "annotator", "first_name": "Anno", "last_name": "Tator"}


def attribute_json(label: Label) -> list[JSON]:
    """The attributes of a label."""
    return [
        {
            "id": a.id,
            "name": a.name,
            "mutable": a.mutable,
            "input_type": a.input_type,
            "default_value": a.default_value,
            "values": list(a.values),
        }
        for a in label.attributes.values()
    ]


def label_json(label: Label, owner: Project | Task | None = None) -> JSON:
    """A label with its points; `owner` adds whose it is."""
    out: JSON = {
        "id": label.id,
        "name": label.name,
        "color": label.color,
        "attributes": attribute_json(label),
        "type": label.type,
        "sublabels": [
            {
                "id": point.id,
                "name": point.name,
                "color": point.color,
                "attributes": attribute_json(point),
                "type": point.type,
                "has_parent": True,
            }
            for point in label.sublabels.values()
        ],
        "parent_id": label.parent,
        "has_parent": label.parent is not None,
    }
    if label.type == "skeleton":
        out["svg"] = label.svg
    if owner is not None:
        out["project_id" if isinstance(owner, Project) else "task_id"] = owner.id
    return out


def _dates() -> JSON:
    return {"created_date": MOMENT, "updated_date": MOMENT, "assignee_updated_date": None}


def _storages() -> JSON:
    return {"source_storage": None, "target_storage": None}


def project_json(store: Store, project: Project, base: str) -> JSON:
    """A project."""
    tasks = [t for t in store.tasks.values() if t.project == project.id]
    return _dates() | {
        "url": f"{base}/api/projects/{project.id}",
        "id": project.id,
        "name": project.name,
        "owner": USER,
        "assignee": None,
        "guide_id": None,
        "bug_tracker": "",
        "task_subsets": sorted({t.subset for t in tasks if t.subset}),
        "status": "annotation",
        "dimension": "2d" if tasks else None,
        "organization": project.organization,
        "organization_id": project.organization,
        "tasks": {"count": len(tasks), "url": f"{base}/api/tasks?project_id={project.id}"},
        "labels": {"url": f"{base}/api/labels?project_id={project.id}"},
        **_storages(),
    }


def task_json(store: Store, task: Task, base: str) -> JSON:
    """A task."""
    jobs = [j for j in task.jobs if j.type == "annotation" and j.parent_job is None]
    return _dates() | {
        "url": f"{base}/api/tasks/{task.id}",
        "id": task.id,
        "name": task.name,
        "project_id": task.project,
        "project_name": store.projects[task.project].name if task.project is not None else None,
        "mode": "" if not task.size else "interpolation" if task.video else "annotation",
        "media_type": "video" if task.video else "image",
        "owner": USER,
        "assignee": None,
        "bug_tracker": "",
        "overlap": 0,
        "segment_size": task.segment_size,
        "initial_replicas": len({j.parent_job for j in task.jobs if j.parent_job is not None}),
        "status": "annotation",
        "data_chunk_size": task.chunk_size if task.size else None,
        "data_compressed_chunk_type": "imageset",
        "data_original_chunk_type": "video" if task.video else "imageset",
        "data_cloud_storage_id": None,
        "guide_id": None,
        "size": task.size,
        "image_quality": 70,
        "data": task.id if task.size else None,
        "dimension": "2d",
        "subset": task.subset,
        "organization": task.organization,
        "organization_id": task.organization,
        "validation_mode": "gt" if any(j.type == "ground_truth" for j in task.jobs) else None,
        "jobs": {
            "completed": sum(j.state == "completed" for j in jobs),
            "validation": sum(j.stage == "validation" for j in jobs),
            "count": len(task.jobs),
            "url": f"{base}/api/jobs?task_id={task.id}",
        },
        "labels": {"url": f"{base}/api/labels?task_id={task.id}"},
        **_storages(),
    }


def job_json(store: Store, job: Job, base: str) -> JSON:
    """A job."""
    task = store.tasks[job.task]
    return _dates() | {
        "url": f"{base}/api/jobs/{job.id}",
        "id": job.id,
        "task_id": task.id,
        "task_name": task.name,
        "project_id": task.project,
        "project_name": store.projects[task.project].name if task.project is not None else None,
        "assignee": None,
        "guide_id": None,
        "dimension": "2d",
        "mode": "interpolation" if task.video else "annotation",
        "media_type": "video" if task.video else "image",
        "bug_tracker": "",
        "status": "annotation",
        "stage": job.stage,
        "state": job.state,
        "type": job.type,
        "frame_count": len(job.frames) if job.frames is not None else job.stop - job.start + 1,
        "start_frame": job.start,
        "stop_frame": job.stop,
        "data_chunk_size": task.chunk_size,
        "data_compressed_chunk_type": "imageset",
        "data_original_chunk_type": "video" if task.video else "imageset",
        "organization": task.organization,
        "parent_job_id": job.parent_job,
        "replicas_count": sum(j.parent_job == job.id for j in task.jobs),
        "issues": {"count": sum(i.job == job.id for i in store.issues.values()), "url": f"{base}/api/issues?job_id={job.id}"},
        "labels": {"url": f"{base}/api/labels?job_id={job.id}"},
        **_storages(),
    }


def meta_json(task: Task, job: Job | None = None) -> JSON:
    """The data of a task or of the frames of one job; a video has one entry for all frames."""
    first, last = (job.start, job.stop) if job else (0, task.size - 1)
    numbers = [n for n in range(first, last + 1) if job is None or job.holds(n)]
    listed = numbers[:1] if task.video else numbers
    return {
        "chunks_updated_date": MOMENT,
        "chunk_size": task.chunk_size,
        "size": len(numbers),
        "image_quality": 70,
        "start_frame": first,
        "stop_frame": last,
        "frame_filter": "",
        "frames": [_frame_json(task, n) for n in listed],
        "deleted_frames": sorted(n for n in task.deleted_frames if job is None or job.holds(n)),
        "included_frames": list(job.frames) if job and job.frames is not None else None,
        "chapters": None,
        "storage": "local",
        "cloud_storage_id": None,
    }


def _frame_json(task: Task, number: int) -> JSON:
    width, height = task.frames.size(number)
    name = "video.mp4" if task.video and not task.frames.names else task.frames.name(number)
    return {"width": width, "height": height, "name": name, "related_files": 0, "has_related_context": False}


def issue_json(store: Store, issue: Issue, base: str = "") -> JSON:
    """An issue."""
    count = sum(c.issue == issue.id for c in store.comments.values())
    return {
        "id": issue.id,
        "frame": issue.frame,
        "position": list(issue.position),
        "job": issue.job,
        "owner": USER,
        "assignee": USER if issue.assignee == USER["id"] else None,
        "created_date": MOMENT,
        "updated_date": MOMENT,
        "resolved": issue.resolved,
        "comments": {"count": count, "url": f"{base}/api/comments?issue_id={issue.id}"},
    }


def comment_json(store: Store, comment: Comment, base: str = "") -> JSON:
    """A comment."""
    return {
        "id": comment.id,
        "issue": comment.issue,
        "owner": USER,
        "message": comment.message,
        "created_date": MOMENT,
        "updated_date": MOMENT,
    }
