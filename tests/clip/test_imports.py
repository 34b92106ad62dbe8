"""Training and inference must not import torch: it doubles the time to start, and users need not have it."""

import subprocess
import sys

from tests.command import ROOT, environment


def test_the_towers_and_their_inputs_do_not_import_torch() -> None:
    program = (
        "import sys; from remoteclip_jax.clip import model, preprocess, prompts, tokenizer, weights; "
        "tokenizer.tokenize('a'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment(), check=False).returncode == 0
