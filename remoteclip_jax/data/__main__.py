from remoteclip_jax.commands.data import run

if __name__ == "__main__":
    run()
