"""The command `python -m remoteclip_jax.detect`. An import of this module gives the function `remoteclip_jax.detect`.

Command and function have the same name, so this file must be both.
"""

import sys

if __name__ == "__main__":
    from remoteclip_jax.commands.detect import run

    run()
else:  # an import sets the package's attribute `detect` to what is in sys.modules, so that must be the function
    from remoteclip_jax.detector.searching import detect

    sys.modules[__name__] = detect  # type: ignore[assignment]
