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
    """What `--templates` says: one template, or a file of them (see `read_templates`).

    UserError for a file that is not there, and for a template without exactly one ``{}``.
    """
    path = Path(value).expanduser()
    exists = os.path.exists(path)  # which takes a sentence of any length, unlike Path.exists
    if value.count("{}") == 1 and not exists:
        return [value]
    # What has a brace is no file's name, nor are several words without an extension.
    if not exists and ("{" in value or "}" in value or (" " in value and not path.suffix[1:].isalnum())):
        raise UserError(f"--templates={value!r}: a template needs exactly one {{}}, for the class, as in {TEMPLATE!r}")
    return read_templates(path)


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
