from remoteclip_jax.commands.benchmark import run

if __name__ == "__main__":
    run()
