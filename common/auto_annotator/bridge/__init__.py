"""The bridge to CVAT projects: pull faces, plan identities, push, verify, undo; cvat-sdk is the only way to the server."""
