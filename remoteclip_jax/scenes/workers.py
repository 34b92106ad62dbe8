"""Generates images on all cores: one process per core, each a new interpreter that imports only this package.

The multiprocessing module is not used. Its spawned children import the caller's main module again, and JAX with it, and
need that module to be guarded. Its forked children inherit the threads of a running JAX and may hang.
"""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import remoteclip_jax.errors
from remoteclip_jax.scenes.images import write_image_and_annotation

ImageKey = tuple[str, int]  # split and index


def default_worker_count(images: int) -> int:
    """One worker per available core, or fewer for few images: starting a process takes as long as several images."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, images // 12))


def generate_images(
    output: Path,
    seed: int,
    image_size: int,
    images: Sequence[ImageKey],
    workers: int,
    image_done: Callable[[], object],
) -> None:
    """Write `images` and their annotations into `output`; `image_done()` is called after each.

    Raises:
        OSError: the disk is full.
        RuntimeError: a worker failed; the message is its last line of output.
    """
    if workers <= 1:
        for split, index in images:
            write_image_and_annotation(output, seed, image_size, split, index)
            image_done()
        return
    root = str(Path(remoteclip_jax.errors.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "remoteclip_jax.scenes.workers", str(output), str(seed), str(image_size)]
    children: list[subprocess.Popen[str]] = []
    errors: list[str] = []

    def supervise(child: subprocess.Popen[str], share: Sequence[ImageKey]) -> None:
        last_output, finished = "", 0
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("".join(f"{split} {index}\n" for split, index in share))
            child.stdin.close()
            for line in child.stdout:
                if line.startswith("done"):
                    finished += 1
                    image_done()
                else:
                    last_output = line.strip()
        except OSError as e:
            last_output = last_output or str(e)
        if child.wait() != 0 or finished < len(share):
            errors.append(
                last_output
                or f"a worker process ended with code {child.returncode} after {finished} of {len(share)} images"
            )

    try:
        threads = []
        for k in range(workers):
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
            children.append(child)
            threads.append(threading.Thread(target=supervise, args=(child, images[k::workers]), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
    if errors:
        if "No space left" in errors[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output))
        raise RuntimeError(errors[0])


def main() -> None:
    """A worker process: generates the images listed on stdin, one `split index` per line; prints `done` for each."""
    output, seed, image_size = sys.argv[1:]
    for line in sys.stdin:
        split, index = line.split()
        write_image_and_annotation(Path(output), int(seed), int(image_size), split, int(index))
        print("done", flush=True)  # fails and ends this process once the parent is gone


if __name__ == "__main__":
    main()
