"""Names from other people's files stand in a report as they are, and do nothing there."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from remoteclip_jax.evaluation.markup import Picture, block, code, table, text
from remoteclip_jax.evaluation.page import write_page
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.reporting import write_report

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](../../other.png)",
    "![x](../outside.png)",
    "[click](javascript:alert(1))",
    "<javascript:alert(1)>",
    "a | b",
    "``` `x`` `",
    "*b* _i_ ~~s~~",
    "line\nbreak\r\n# head",
    "&lt;script&gt;",
    "\\",
    "`",
    "trojan\u202egpj.exe",
    "\x1b[31mred",
    "bad\udcffbyte",
    "1. one",
    "- dash",
    "# hash",
    "---",
    "2)",
    "[ref]: http://example.com",
    '" onload="alert(1)',
    "</title><script>alert(2)</script>",
    "storage_tank",
    "船",
)


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def shown(value: str) -> str:
    """How `value` has to read: on one line, what is hidden escaped."""
    escapes = {"\u202e": r"\u202e", "\x1b": r"\x1b", "\udcff": r"\udcff"}
    return " ".join("".join(escapes.get(c, c) for c in value).split())


def check(page: Page) -> None:
    """Nothing runs, nothing is asked for, and the page says so itself."""
    assert not {tag for tag, _ in page.tags} & {"script", "a", "iframe", "object", "embed", "link", "form", "svg"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "img":
            assert attributes.keys() == {"alt", "src"}
            assert str(attributes["src"]).startswith("data:image/")
    policies = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


@pytest.mark.parametrize("value", HOSTILE)
def test_text_and_code_read_as_they_were_written(value: str) -> None:
    parser = MarkdownIt("commonmark").enable("table")  # with all that the page itself does without
    for markdown in (str(text(value)), f"before {text(value)} after", f"- {text(value)}", table(["h"], [[value]])):
        page = Page(parser.render(markdown))
        assert shown(value) in page.words
        assert not {tag for tag, _ in page.tags} & {"script", "img", "a", "code", "em", "strong", "h1", "ol", "pre"}
    for markdown in (code(value), table(["h", "i"], [[code(value), "x"]])):
        page = Page(parser.render(markdown))
        assert [tag for tag, _ in page.tags].count("code") == 1
        assert "".join(shown(value).split()) in "".join(page.words.replace(r"\n", "").replace(r"\r", "").split())
    page = Page(parser.render(block(f"x {value}\ny")))
    assert [tag for tag, _ in page.tags] == ["pre", "code"]


def test_ordinary_values_are_left_alone() -> None:
    for value in ("storage_tank", "0.001", "-0.5", "1e-4", "Expressway-Service-area", "golf field (2)", "a.b/c"):
        assert text(value) == value


def run_of(task: str, tmp_path: Path, workdir: str) -> RunDirectory:
    """A run directory as training and evaluation leave it, with hostile names wherever there is room for one."""
    run = RunDirectory(tmp_path / workdir)
    (run.checkpoints / "3").mkdir(parents=True)
    paths = {"data_dir": "/data/" + HOSTILE[0] + HOSTILE[2], "weights": HOSTILE[6], "text_embeddings": HOSTILE[3]}
    new_config({"task": task, "preset": "tiny", **paths, "classes": HOSTILE[4]}).save(run.config)
    row = {"step": 3, "epoch": 1, "loss": 1.0, "learning_rate": 0.1, "iterations_per_sec": 2.0, "seconds": 5.0}
    more = {"<b>_loss": 0.5} if task == "detect" else {"val_loss": 1.0, "val_top1": 0.5, "val_top5": 0.7}
    run.metrics.write_text(json.dumps({**row, **more}) + "\n")
    summary = {
        "classes": HOSTILE,
        "images": {HOSTILE[1]: 3},
        "notes": HOSTILE,
        "parameters": {"visual": 10},
        "device": HOSTILE[0],
        "versions": {"jax": HOSTILE[2]},
    }
    run.summary.write_text(json.dumps(summary))
    folder = run.evaluation("![x](..)")
    folder.mkdir(parents=True)
    figures = dict.fromkeys(
        (
            "map",
            "map_50",
            "map_75",
            "map_small",
            "map_medium",
            "map_large",
            "voc_map_50",
            "top1",
            "top5",
            "loss",
            "base_map_50",
            "novel_map_50",
            "harmonic_map_50",
        ),
        0.5,
    )
    result = {
        **figures,
        "images": 3,
        "data_dir": HOSTILE[2],
        "views": [64, 128],
        "novel": HOSTILE,
        "per_class": {name: {"map": 0.5, "map_50": 0.5, "objects": 1} for name in HOSTILE},
    }
    (folder / "metrics.json").write_text(json.dumps(result))
    for name in ("precision_recall.png", "best-1.jpg"):
        (folder / name).write_bytes(b"picture")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "best-2.jpg").symlink_to(tmp_path / "secret.jpg")
    return run


@pytest.mark.parametrize("task", ["align", "detect"])
@pytest.mark.parametrize("workdir", ["<script>alert(1)<", "![x](..)", "a`b [1]"])
def test_reports_of_hostile_runs(task: str, workdir: str, tmp_path: Path) -> None:
    run = run_of(task, tmp_path, workdir)
    write_report(run)
    written = (run.root / "report.html").read_text()
    page = Page(written)
    check(page)
    for name in HOSTILE:
        assert shown(name) in " ".join(page.words.split())
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == (3 if task == "detect" else 1)  # the one that is a link out of the run is left out
    assert "c2VjcmV0" not in written
    # The same in report.md, read by any other program that follows CommonMark.
    check_markdown = Page(MarkdownIt("commonmark").enable("table").render(run.report.read_text()))
    tags = [tag for tag, _ in check_markdown.tags]
    assert not {"script", "a"} & set(tags)
    assert tags.count("img") == (4 if task == "detect" else 1)


def test_a_page_holds_the_programs_own_pictures_alone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.root.mkdir()
    for path in (tmp_path / "other.png", run.root / "mine.png", run.root / "stray.png"):
        path.write_bytes(path.name.encode())
    parts: list[Any] = [f"![x]({name})\n" for name in ("stray.png", "../other.png", str(tmp_path / "other.png"))]
    parts += ["<script>alert(1)</script>\n\n[a](http://example.com) <b onclick=x> ![x](http://example.com/x.png)\n"]
    write_page(run, [*parts, Picture(run.root / "mine.png", "mine"), Picture(run.root / "gone.png", "gone")])
    page = Page((run.root / "report.html").read_text())
    check(page)
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert pictures == ["data:image/png;base64,bWluZS5wbmc="]
    assert "gone" in page.words
