"""Prompts: the sentences whose embeddings represent the classes (zero-shot prompting, Radford et al. 2021)."""

import os
from collections.abc import Sequence
from pathlib import Path

from remoteclip_jax.clip.template_sets import TEMPLATE_SETS
from remoteclip_jax.errors import UserError

# The template with the best zero-shot accuracy of RemoteCLIP RN50 on WHU-RS19 (95.52 %).
TEMPLATE = "a satellite photo of a {}."

# Names that DIOR and WHU-RS19 write as one word. As one word they are rare tokens that the text tower hardly knows.
_COMPOUNDS = {
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
    """A class name in plain words: ``Expressway-Service-area`` → ``expressway service area``."""
    parts = class_name.replace("-", " ").replace("_", " ").lower().split()
    return " ".join(_COMPOUNDS.get(part, part) for part in parts)


def prompts(class_names: Sequence[str], templates: Sequence[str] = (TEMPLATE,)) -> list[list[str]]:
    """The sentences of each class, one for each template: ``result[class][template]``."""
    # Not str.format: class names and templates may contain other braces.
    return [[template.replace("{}", words(name)) for template in templates] for name in class_names]


def parse_templates(value: str) -> list[str]:
    """The templates that ``--templates`` gives: those of a set in `TEMPLATE_SETS` or of a file, or one template with
    exactly one ``{}``.

    UserError if it is none of these, and as for `read_templates`.
    """
    if value in TEMPLATE_SETS:
        return list(TEMPLATE_SETS[value])
    path = Path(os.path.expanduser(value))
    if os.path.isfile(path):  # unlike Path.is_file, it raises nothing for names that are too long
        return read_templates(path)
    if value.count("{}") != 1:
        raise UserError(
            f"--templates={value}: a template needs exactly one {{}}, for the class, such as {TEMPLATE!r}; "
            "nor is there a file of this name with one template on each line, nor a set of templates; the sets are "
            f"{', '.join(TEMPLATE_SETS)}"
        )
    return [value]


def read_templates(path: Path) -> list[str]:
    """The templates in a text file: one on each line, with exactly one ``{}``. Blank lines are skipped.

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
        raise UserError(
            f"{path}: there is no prompt template in this file; write one on each line, such as {TEMPLATE!r}"
        )
    return templates
