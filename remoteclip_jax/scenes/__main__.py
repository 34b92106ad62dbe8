from remoteclip_jax.commands.scenes import run

run()
