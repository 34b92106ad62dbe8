"""The command `python -m remoteclip_jax.predict`."""

if __name__ == "__main__":
    from remoteclip_jax.commands.predict import run

    run()
