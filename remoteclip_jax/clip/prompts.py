"""Class names turned into the sentences whose embeddings stand for them (zero-shot prompting, Radford et al. 2021)."""

import os
from collections.abc import Sequence
from pathlib import Path

from remoteclip_jax.errors import UserError

# The one template with the best zero-shot accuracy of RemoteCLIP RN50 on WHU-RS19 (95.52 %).
TEMPLATE = "a satellite photo of a {}."

# Names that DIOR and WHU-RS19 write as one word. Left together they are rare tokens that the text tower hardly knows.
_GLUED = {
    "baseballfield": "baseball field",
    "basketballcourt": "basketball court",
    "footballfield": "football field",
    "golffield": "golf field",
    "groundtrackfield": "ground track field",
    "railwaystation": "railway station",
    "storagetank": "storage tank",
    "tenniscourt": "tennis court",
    "trainstation": "train station",
}


def words(class_name: str) -> str:
    """A class name as one would say it: ``Expressway-Service-area`` → ``expressway service area``."""
    parts = class_name.replace("-", " ").replace("_", " ").lower().split()
    return " ".join(_GLUED.get(part, part) for part in parts)


def prompts(class_names: Sequence[str], templates: Sequence[str] = (TEMPLATE,)) -> list[list[str]]:
    """For each class its sentences, one for each template: ``result[class][template]``."""
    # Not str.format: a class name or a template may hold other braces.
    return [[template.replace("{}", words(name)) for template in templates] for name in class_names]


def parse_templates(value: str) -> list[str]:
    """What a user names with ``--templates``: the templates of a file, or one template, with exactly one ``{}``.

    UserError where it is neither, and as for `read_templates`.
    """
    path = Path(os.path.expanduser(value))
    if os.path.isfile(path):  # of which no name is too long
        return read_templates(path)
    if value.count("{}") != 1:
        raise UserError(
            f"--templates={value}: a template needs exactly one {{}}, for the class, such as {TEMPLATE!r}; "
            "nor is there a file of this name, with one template a line"
        )
    return [value]


def read_templates(path: Path) -> list[str]:
    """The templates in a text file, one a line, each with exactly one ``{}``; blank lines are skipped.

    UserError, naming the file and the line, for anything else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not a UTF-8 text file ({e.reason} at byte {e.start})") from e
    except OSError as e:
        raise UserError(f"{path}: cannot read the prompt templates: {e.strerror}") from e
    templates = []
    for number, line in enumerate(lines, start=1):
        template = line.strip()
        if template and template.count("{}") != 1:
            raise UserError(f"{path}, line {number}: a template needs exactly one {{}}, for the class: {template!r}")
        if template:
            templates.append(template)
    if not templates:
        raise UserError(f"{path}: no prompt template in this file; write one a line, such as {TEMPLATE!r}")
    return templates
