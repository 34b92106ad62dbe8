"""Flags for paths, used by all command lines."""

import os
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # the flags belong to the modules that define them through this one

HUB_PREFIX = "hf://"  # begins a name on the Hugging Face Hub, which is not a path


class _PathParser(flags.ArgumentParser):
    """Expands `~` to the home directory, because a shell does not do so in `--flag=~/x`."""

    syntactic_help = "a path, in which a leading ~ is the home directory"

    def parse(self, argument: str) -> str:
        if not argument.strip():
            raise ValueError("the path is empty; leave the flag out, or name a file or a folder")
        return argument if argument.startswith(HUB_PREFIX) else os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "path"


def DEFINE_path(name: str, default: str | None, help: str, **arguments: Any) -> "flags.FlagHolder[Any]":
    """Like `flags.DEFINE_string`, for a path or a glob pattern of paths."""
    return flags.DEFINE(_PathParser(), name, default, help, serializer=flags.ArgumentSerializer(), **arguments)
