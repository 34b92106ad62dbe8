"""`python -m remoteclip_jax.scenes --output=DIR`: generate the synthetic mini_dataset."""

from absl import flags

from remoteclip_jax.commands import scenes

flags.adopt_module_key_flags(scenes)  # --help lists the flags of the main module

if __name__ == "__main__":
    scenes.run()
