from remoteclip_jax.commands.benchmark import run

run()
