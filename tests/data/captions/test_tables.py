"""Captions in CSV and TSV."""

from pathlib import Path

import pytest

from remoteclip_jax.data.captions.reading import caption_splits, read_captions
from remoteclip_jax.data.captions.tables import read_caption_table
from remoteclip_jax.errors import UserError
from tests.data.captions.sample_captions import pairs
from tests.data.sample_datasets import write_image

ROWS = 'filepath,title\na.jpg,a ship\nb.jpg,"a dam, seen from above"\na.jpg,one ship\n'
EXPECTED = {"a.jpg": ("a ship", "one ship"), "b.jpg": ("a dam, seen from above",)}


def table(root: Path, content: str | bytes, name: str = "captions.csv") -> Path:
    for image in ("a.jpg", "b.jpg"):
        write_image(root / image)
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root / name


def test_rows_of_an_image_are_gathered(tmp_path: Path) -> None:
    dataset = read_captions(table(tmp_path, ROWS), "train")
    assert pairs(dataset) == EXPECTED
    assert dataset.layout == "captions in CSV (columns 'filepath' and 'title')"
    assert not any("listed" in note for note in dataset.notes)


@pytest.mark.parametrize(
    "content",
    [
        ROWS.replace("\n", "\r\n"),
        "\ufeff" + ROWS,
        ROWS + "\n\n",
        ROWS.removesuffix("\n"),
        '"filepath","title"\n' + ROWS.split("\n", 1)[1],
        ROWS.replace('"a dam, seen from above"', "a dam, seen from above").replace(",", "\t").replace("dam\t", "dam,"),
        ROWS.replace(",", ";").replace("dam;", "dam,"),
        "Title,more,Image\na ship,,a.jpg\n\"a dam, seen from above\",1,b.jpg\none ship,'',a.jpg\n",
    ],
)
def test_spellings(tmp_path: Path, content: str) -> None:
    assert pairs(read_captions(table(tmp_path, content), "train")) == EXPECTED


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("filename,caption", "'filename' and 'caption'"),
        ("caption,image", "'image' and 'caption'"),
        ("path,text", "'path' and 'text'"),
        ("image,caption,filepath,title", "'filepath' and 'title'"),
    ],
)
def test_the_columns_used_are_said(tmp_path: Path, header: str, columns: str) -> None:
    assert columns in read_caption_table(table(tmp_path, header + "\n"), None).layout


def test_tsv(tmp_path: Path) -> None:
    content = 'title\tfilepath\na ship, at sea\ta.jpg\n"two\tships"\ta.jpg\nsay "ahoy"\tb.jpg\n'
    dataset = read_captions(table(tmp_path, content, "captions.tsv"), "train")
    assert pairs(dataset) == {"a.jpg": ("a ship, at sea", "two\tships"), "b.jpg": ('say "ahoy"',)}
    assert dataset.layout.startswith("captions in TSV")


def test_line_breaks_in_quotes(tmp_path: Path) -> None:
    content = 'filepath,title\r\na.jpg,"a ship\r\nand ""a"" dam"\r\nb.jpg,x\r\n'
    assert pairs(read_captions(table(tmp_path, content), "train"))["a.jpg"] == ('a ship\r\nand "a" dam',)
    broken = 'filepath,title\na.jpg,"a ship\nand a dam"\nb.jpg,x,y\n'
    with pytest.raises(UserError, match=r"captions\.csv, line 4: 3 columns, but the first line has 2"):
        read_captions(table(tmp_path, broken), "train")


def test_a_column_of_splits(tmp_path: Path) -> None:
    content = "filepath,title,split\na.jpg,a ship,train\nb.jpg,a dam,valid\nb.jpg,one dam,valid\na.jpg,again,test\n"
    path = table(tmp_path, content)
    assert caption_splits(path) == ("train", "valid", "test")
    assert pairs(read_captions(path, "train")) == {"a.jpg": ("a ship",)}
    assert pairs(read_captions(path, "val")) == {"b.jpg": ("a dam", "one dam")}


def test_unicode(tmp_path: Path) -> None:
    write_image(tmp_path / "港口/é 1.png")
    content = "filepath,title\n港口/e\u0301 1.png,一个港口。\n"
    dataset = read_captions(table(tmp_path, content), "train")
    assert pairs(dataset) == {"é 1.png": ("一个港口。",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg,a ship\n", "first line must name a column of images .* but it is 'a.jpg,a ship'"),
        ("\n", "first line must name"),
        ("\n" + ROWS, "first line must name .* but it is ''"),
        ("filepath,size\na.jpg,7\n", "first line must name"),
        (ROWS + "a.jpg\n", r"captions\.csv, line 5: 1 columns, but the first line has 2"),
        (ROWS + "a.jpg,a ship, at sea\n" + ROWS, "line 5: 3 columns"),
        (ROWS + 'a.jpg,"a" ship\n' + ROWS, "line 5: a broken row"),
        (ROWS + 'a.jpg,"a ship\n' + ROWS.replace('"', "") * 2, "line 5: a broken row"),
        (ROWS + 'a.jpg,"a ship\n' + ROWS.replace('"', "") * 5000, "line 5: a broken row"),
        (ROWS + ",a ship\n", "line 5: the column 'filepath' is empty"),
        (ROWS + "a.jpg,a\0ship\n", "line 5: a NUL character"),
        (ROWS.encode() + b"a.jpg,caf\xe9\n", "line 5: not a text in UTF-8; save it as UTF-8"),
        (ROWS.encode("utf-16"), r"captions\.csv: not a text in UTF-8; save it as UTF-8"),
        ("", "the file is empty"),
        ("filepath,title\n", "there is no image in it"),
    ],
)
def test_broken_tables(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = table(tmp_path, content)
    with pytest.raises(UserError, match=message) as error:
        read_captions(path, "train")
    assert str(path) in str(error.value)


def test_every_row_of_many_is_read(tmp_path: Path) -> None:
    rows = "".join(f"img/{i // 5}.jpg,caption {i}\n" for i in range(100_000))
    content = read_caption_table(table(tmp_path, "filepath,title\n" + rows), None)
    assert len(content.records) == 20_000
    assert content.records[-1].captions == tuple(f"caption {i}" for i in range(99_995, 100_000))
