"""`python -m remoteclip_jax.detect`; imported, the module is the function `remoteclip_jax.detect` itself."""

import sys

if __name__ == "__main__":
    from remoteclip_jax.commands.detect import run

    run()
else:  # the import system puts what is found here into the package, where the function has this name
    from remoteclip_jax.detector.inference import detect

    sys.modules[__name__] = detect  # type: ignore[assignment]
