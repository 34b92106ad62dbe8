"""Drawing on all cores: one process a core, each a fresh interpreter that knows nothing but this package.

Not multiprocessing: its spawned children import the caller's main module again, and with it JAX, and need it guarded;
its forked ones inherit the threads of a running JAX and may hang.
"""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import remoteclip_jax.errors
from remoteclip_jax.scenes.picture import draw_files

Task = tuple[str, int]


def default_workers(tasks: int) -> int:
    """One for each core at hand, fewer for small drawings: a process costs as much to start as some images to draw."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, tasks // 12))


def draw_all(
    output: Path, seed: int, image_size: int, tasks: Sequence[Task], workers: int, done: Callable[[], object]
) -> None:
    """Draw the images of `tasks` (split, index); `done()` is called after each."""
    if workers <= 1:
        for split, index in tasks:
            draw_files(output, seed, image_size, split, index)
            done()
        return
    root = str(Path(remoteclip_jax.errors.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "remoteclip_jax.scenes.workers", str(output), str(seed), str(image_size)]
    children: list[subprocess.Popen[str]] = []
    errors: list[str] = []

    def attend(child: subprocess.Popen[str], share: Sequence[Task]) -> None:
        said, at = "", 0
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("".join(f"{split} {index}\n" for split, index in share))
            child.stdin.close()
            for line in child.stdout:
                if line.startswith("done"):
                    at += 1
                    done()
                else:
                    said = line.strip()
        except OSError as e:
            said = said or str(e)
        if child.wait() != 0 or at < len(share):
            errors.append(
                said or f"a drawing process ended with code {child.returncode} after {at} of {len(share)} images"
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
            threads.append(threading.Thread(target=attend, args=(child, tasks[k::workers]), daemon=True))
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
    """A worker: draws the images named on stdin, one `split index` a line, and says `done` for each."""
    output, seed, image_size = sys.argv[1:]
    for line in sys.stdin:
        split, index = line.split()
        draw_files(Path(output), int(seed), int(image_size), split, int(index))
        print("done", flush=True)  # fails, and ends this process, when nobody listens any more


if __name__ == "__main__":
    main()
