from remoteclip_jax.commands.scenes import run

if __name__ == "__main__":
    run()
