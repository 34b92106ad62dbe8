"""Flags that name files and folders, for every command line."""

import os
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # they belong to the modules that define them with this one's help

REMOTE = "hf://"  # a name on the Hugging Face Hub, which is no path


class _PathParser(flags.ArgumentParser):
    """`~` is the home directory: a shell leaves it as it is in `--flag=~/x`, and nobody wants a folder called `~`."""

    syntactic_help = "a path, in which a leading ~ is the home directory"

    def parse(self, argument: str) -> str:
        if not argument.strip():
            raise ValueError("the path is empty; leave the flag out, or name a file or a folder")
        return argument if argument.startswith(REMOTE) else os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "path"


def DEFINE_path(name: str, default: str | None, help: str, **arguments: Any) -> "flags.FlagHolder[Any]":
    """As `flags.DEFINE_string`, for a path or a pattern of paths."""
    return flags.DEFINE(_PathParser(), name, default, help, serializer=flags.ArgumentSerializer(), **arguments)
