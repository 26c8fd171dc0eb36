"""Download LIBERO's asset repository; runs as a program of its own: `python -P hub.py REPOSITORY FOLDER`.

The hub's client fixes its caches when it is imported, and would keep them under HOME; in a process of its own they can
be put elsewhere. Progress bars go to standard error. The one line on standard output is JSON: `{"revision", "files",
"digests"}` with the size in bytes and the digest of every file that the repository says it has, or `{"error"}`. A
digest is "sha256:HEX", or "git:HEX" for a small file, of which the repository knows only git's SHA-1.
"""

from __future__ import annotations

import json
import sys


def fetch(repository: str, folder: str) -> dict[str, object]:
    """Download the newest revision of the data set `repository` into `folder`; an interrupted one goes on."""
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().dataset_info(repository, files_metadata=True)
    snapshot_download(repository, repo_type="dataset", revision=info.sha, local_dir=folder)
    digests = {f.rfilename: f"sha256:{f.lfs.sha256}" if f.lfs else f"git:{f.blob_id}" for f in info.siblings}
    return {"revision": info.sha, "files": {file.rfilename: file.size for file in info.siblings}, "digests": digests}


if __name__ == "__main__":
    try:
        answer = fetch(sys.argv[1], sys.argv[2])
    except Exception as error:  # whatever it is, the parent process explains it
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(answer))
