"""DIOR on disk, as its authors pack it and as people rearrange it: read in full, or refused with the file named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.data.reading import default_classes, read_dataset, recognised_format, split_names
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import (
    SHIP,
    SIZE,
    truncate,
    voc_xml,
    write_flat,
    write_image,
    write_lines,
    write_noise,
    write_official,
    write_voc,
)
from tests.shared_data import SHARED, make_report, requires_reports, requires_shared

OFFICIAL = {
    "train": ["00001", "00002"],
    "val": ["00003"],
    "trainval": ["00001", "00002", "00003"],
    "test": ["11726", "11727"],
}
SHIP_BOX = [0.3, 0.45, 0.4, 0.5]  # of `SHIP`


def stems(root: Path, split: str) -> list[str]:
    return [example.image.stem for example in read_dataset(root, split).examples]


def move_splits_to_main(root: Path) -> None:
    (root / "ImageSets/Main").rename(root / "Main")


def move_annotations_up(root: Path) -> None:
    (root / "Annotations/Horizontal Bounding Boxes").rename(root / "hbb")
    for path in (root / "hbb").iterdir():
        path.rename(root / "Annotations" / path.name)


def join_images(root: Path) -> None:
    (root / "JPEGImages-trainval").rename(root / "JPEGImages")
    for path in (root / "JPEGImages-test").iterdir():
        path.rename(root / "JPEGImages" / path.name)


def link_directories(root: Path) -> None:
    for name in ("JPEGImages-trainval", "JPEGImages-test", "Annotations/Horizontal Bounding Boxes", "ImageSets/Main"):
        elsewhere = root.parent / "elsewhere" / name
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(elsewhere)
        (root / name).symlink_to(elsewhere)


def link_files(root: Path) -> None:
    for i, path in enumerate([*root.glob("JPEGImages-*/*.jpg"), *root.glob("Annotations/H*/*.xml")]):
        elsewhere = root.parent / f"blobs/{i}"
        elsewhere.parent.mkdir(exist_ok=True)
        path.rename(elsewhere)
        path.symlink_to(elsewhere)


def leave_out_trainval(root: Path) -> None:
    (root / "ImageSets/Main/trainval.txt").unlink()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: None,
        move_splits_to_main,
        move_annotations_up,
        join_images,
        link_directories,
        link_files,
        leave_out_trainval,
    ],
)
def test_the_official_layout_and_its_variants(tmp_path: Path, change) -> None:
    root = write_official(tmp_path / "DIOR")
    change(root)
    assert recognised_format(root) == "dior"
    assert default_classes(root) == DIOR_CLASSES
    assert split_names(root) == ("train", "val", "trainval", "test")
    for split, expected in OFFICIAL.items():
        dataset = read_dataset(root, split)
        assert [example.image.stem for example in dataset.examples] == expected
        assert (dataset.split, dataset.classes, dataset.notes, dataset.has_boxes) == (split, DIOR_CLASSES, (), True)
        for example in dataset.examples:
            assert (example.width, example.height) == (SIZE, SIZE)
            assert example.labels.tolist() == [DIOR_CLASSES.index("ship")]
            np.testing.assert_allclose(example.boxes, [SHIP_BOX], atol=1e-6)


def test_the_flat_layout(tmp_path: Path) -> None:
    root = write_flat(write_flat(tmp_path, "b", "a"), "c", split="val")
    assert split_names(root) == ("train", "val", "trainval")
    assert {split: stems(root, split) for split in split_names(root)} == {
        "train": ["b", "a"],
        "val": ["c"],
        "trainval": ["b", "a", "c"],
    }


def test_synthetic_data(synthetic_data: Path) -> None:
    for split, count in (("train", 24), ("val", 10), ("trainval", 34), ("test", 10)):
        dataset = read_dataset(synthetic_data, split)
        assert (len(dataset), dataset.notes) == (count, ())
        assert all(len(example.labels) for example in dataset.examples)


@pytest.mark.parametrize(
    "content",
    [
        b"a\r\nb\r\n",
        b"\xef\xbb\xbfa\nb\n",
        b"\n a \n\n\tb",
        b"a.jpg\nb.jpg\n",
        b"a.JPG\nb.tif\n",
        b"images/a.jpg\nJPEGImages\\b.png\n",
    ],
)
def test_split_files_from_editors_and_scripts(tmp_path: Path, content: bytes) -> None:
    root = write_flat(tmp_path, "a", "b")
    (root / "splits/train.txt").write_bytes(content)
    assert stems(root, "train") == ["a", "b"]


def test_dots_in_names_and_extensions_in_capitals(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "P0001.v2", "scene.1")
    (root / "images/scene.1.jpg").rename(root / "images/scene.1.JPEG")
    assert stems(root, "train") == ["P0001.v2", "scene.1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"../images/a\n", "'../images/a' leads out of the data directory"),
        (b"/etc/passwd\n", "'/etc/passwd' leads out"),
        (b"..\\a\n", "leads out"),
        (b"..\n", "leads out"),
        (b"a\nb\na\n", "'a' occurs 2 times"),
        (b"a\na.jpg\n", "'a' occurs 2 times"),
        (b"a\nmissing\n", "there is no image 'missing'.*looked in images"),
        (b"a\x00\n", "there is no image"),
        ("a\n".encode("utf-16"), "not a text file"),
    ],
)
def test_bad_split_files(tmp_path: Path, content: bytes, message: str) -> None:
    root = write_flat(tmp_path, "a", "b")
    (root / "splits/train.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"splits/train.txt: .*{message}"):
        read_dataset(root, "train")


def test_an_image_in_two_splits_is_refused_in_trainval(tmp_path: Path) -> None:
    root = write_flat(write_flat(tmp_path, "a", "b"), "b", split="val")
    with pytest.raises(UserError, match=r"val.txt: 'b' is in .*train.txt too"):
        read_dataset(root, "trainval")


def test_an_empty_and_a_missing_split(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a")
    (root / "splits/val.txt").write_text("\n\n")
    with pytest.raises(UserError, match="the split 'val' is empty"):
        read_dataset(root, "val")
    with pytest.raises(UserError, match="has no split 'test'; it has train, val, trainval"):
        read_dataset(root, "test")


@pytest.mark.parametrize("dataset_format", ["auto", "dior", "coco", "yolo", "folder"])
def test_a_directory_that_is_not_a_data_set(tmp_path: Path, dataset_format: str) -> None:
    with pytest.raises(UserError, match=r"no data set here; expected .*SPLIT|images/"):
        read_dataset(tmp_path, "train", dataset_format)
    with pytest.raises(UserError, match="nowhere: no such directory"):
        read_dataset(tmp_path / "nowhere", "train", dataset_format)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--dataset_format=via is unknown; known: auto, dior, coco, yolo, dota, folder"):
        read_dataset(write_flat(tmp_path, "a"), "train", "via")


def test_oriented_boxes_alone_are_not_enough(tmp_path: Path) -> None:
    root = write_official(tmp_path)
    (root / "Annotations/Horizontal Bounding Boxes").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"no annotations \(\*.xml\)"):
        read_dataset(root, "train")


def test_class_names_in_other_spellings_and_unknown_ones(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a")
    names = ("Expressway-Service-Area", "GolfField", "train station", "Ship")
    write_voc(root / "annotations/a.xml", [(name, 1, 1, 9, 9) for name in names])
    labels = read_dataset(root, "train").examples[0].labels
    found = [DIOR_CLASSES[i] for i in labels]
    assert found == ["Expressway-Service-area", "golffield", "trainstation", "ship"]
    assert labels.dtype == np.int32
    with pytest.raises(UserError, match=r"/a.xml: unknown class 'Expressway-Service-Area'; .* nearest .* is 'boat'"):
        read_dataset(root, "train", classes=("boat",))


def test_boxes_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", "b", "c")
    bad = [("dam", 5, 5, 5, 9), ("dam", 9, 5, 5, 9), ("dam", 50, 50, 60, 60)]
    write_voc(root / "annotations/b.xml", [bad[0], ("airport", 30, -5, 60, 20), bad[1]])
    write_voc(root / "annotations/c.xml", [bad[2]])
    dataset = read_dataset(root, "train")
    assert dataset.notes == ("train: 3 boxes without area dropped (first in b.xml)",)
    assert [example.labels.tolist() for example in dataset.examples] == [[13], [1], []]
    np.testing.assert_allclose(dataset.examples[1].boxes, [[0.875, 0.25, 0.25, 0.5]], atol=1e-6)
    assert dataset.examples[2].boxes.shape == (0, 4)


def test_boxes_are_relative_to_the_size_that_they_refer_to(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "half", "no_size")
    write_image(root / "images/half.jpg", size=(SIZE // 2, SIZE // 2))
    write_voc(root / "annotations/no_size.xml", [SHIP], size=None)
    dataset = read_dataset(root, "train")
    for example in dataset.examples:
        np.testing.assert_allclose(example.boxes, [SHIP_BOX], atol=1e-6)
        assert (example.annotations.width, example.annotations.height) == (SIZE, SIZE)
    assert [note[:9] for note in dataset.notes] == ["train: 1 "]
    assert "stated pixels; scaled (first in half.jpg)" in dataset.notes[0]
    write_voc(root / "annotations/half.xml", [SHIP], size=(SIZE * 2, SIZE))
    with pytest.raises(UserError, match=r"half.xml: says 80x40 pixels for .*half.jpg, which has 20x20"):
        read_dataset(root, "train")


def test_boxes_rotate_with_the_exif_orientation(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    Image.new("RGB", (80, 60)).save(root / "images/a.jpg", exif=exif)
    write_voc(root / "annotations/a.xml", [("ship", 70, 10, 80, 30)], size=(80, 60))
    dataset = read_dataset(root, "train")
    example = dataset.examples[0]
    assert (example.width, example.height) == (60, 80)
    np.testing.assert_allclose(example.boxes * [60, 80, 60, 80], [[40, 75, 20, 10]], atol=1e-4)
    assert "boxes rotated too" in dataset.notes[0]


def test_the_data_may_have_a_list_of_their_own_classes(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a")
    write_lines(root / "classes.txt", "tug boat", "", "ship", "ship")
    assert default_classes(root) == ("tug boat", "ship")
    assert read_dataset(root, "train").examples[0].labels.tolist() == [1]


def test_difficult_objects_are_ignored_but_kept_for_evaluation(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", "b")
    text = voc_xml([("ship", 1.25, 2, 11.125, 50), ("dam", 5, 6, 9, 10)])
    (root / "annotations/b.xml").write_text(text.replace("<bndbox>", "<difficult>1</difficult><bndbox>", 1))
    dataset = read_dataset(root, "train")
    assert dataset.notes == ("train: 1 difficult objects, ignored in training and in evaluation (first in b.xml)",)
    example = dataset.examples[1]
    assert (example.labels.tolist(), example.ignored_labels.tolist()) == ([6], [13])
    np.testing.assert_allclose(example.ignored, [[(1.25 + 11.125) / 80, 21 / 40, 9.875 / 40, 38 / 40]], atol=1e-6)
    annotations = example.annotations
    assert [one.annotations.image_id for one in dataset.examples] == [1, 2]
    assert annotations.boxes.tolist() == [[1.25, 2, 9.875, 48], [5, 6, 4, 4]]  # in double precision, not clipped
    assert annotations.areas.tolist() == [9.875 * 48, 16]
    assert (annotations.labels.tolist(), annotations.difficult.tolist()) == ([13, 6], [True, False])


def test_an_image_without_annotation_is_background(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", "b", "c")
    for name in "bc":
        (root / f"annotations/{name}.xml").unlink()
    dataset = read_dataset(root, "train")
    assert [len(example.labels) for example in dataset.examples] == [1, 0, 0]
    assert dataset.notes == ("train: 2 images without an annotation file, read as background (first in b.jpg)",)


@requires_reports
def test_boxes_stay_in_image_pixels_if_another_size_is_stated(tmp_path: Path) -> None:
    dataset = read_dataset(make_report("19", tmp_path) / "data", "train")
    true = {example.image.name: example for example in read_dataset(SHARED / "gdit_airport", "train").examples}
    for example in dataset.examples:
        np.testing.assert_array_equal(example.boxes, true[example.image.name].boxes)
    assert "8 images of another size than stated" in dataset.notes[0]
    assert "left as they are" in dataset.notes[0]


def dangling_link(root: Path) -> None:
    (root / "images/b.jpg").unlink()
    (root / "images/b.jpg").symlink_to(root / "images/gone.jpg")


def circular_link(root: Path) -> None:
    (root / "images/b.jpg").unlink()
    (root / "images/b.jpg").symlink_to(root / "images/b.jpg")


def image_directory(root: Path) -> None:
    (root / "images/b.jpg").unlink()
    (root / "images/b.jpg").mkdir()


def annotation_directory(root: Path) -> None:
    (root / "annotations/b.xml").unlink()
    (root / "annotations/b.xml").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (annotation_directory, "annotations/b.xml: Is a directory"),
        (lambda root: (root / "annotations/b.xml").write_text(voc_xml()[:90]), "annotations/b.xml: broken XML"),
        (lambda root: (root / "images/b.jpg").unlink(), "splits/train.txt: there is no image 'b'"),
        (dangling_link, "images/b.jpg: no such image"),
        (circular_link, "images/b.jpg: cannot be read"),
        (image_directory, "images/b.jpg: cannot be read as an image .*directory"),
        (lambda root: (root / "images/b.jpg").write_bytes(b""), "images/b.jpg: cannot be read as an image"),
        (lambda root: (root / "images/b.jpg").write_text("a picture"), "images/b.jpg: cannot be read as an image"),
    ],
)
def test_damage_is_reported_before_training(tmp_path: Path, damage, message: str) -> None:
    root = write_flat(tmp_path, "a", "b", "c")
    damage(root)
    with pytest.raises(UserError, match=message):
        read_dataset(root, "train")


def test_a_truncated_image_has_an_intact_header(tmp_path: Path) -> None:
    """So reading the data set succeeds, and the error comes when the pixels are read (see test_pipeline)."""
    root = write_flat(tmp_path, "a")
    truncate(write_noise(root / "images/a.jpg", SIZE))
    assert len(read_dataset(root, "train")) == 1


def test_unlisted_files_are_not_read(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a")
    (root / "images/broken.jpg").write_bytes(b"")
    (root / "annotations/broken.xml").write_bytes(b"")
    write_lines(root / "splits/classes.txt", "ship")
    assert stems(root, "train") == ["a"]


@requires_shared
def test_the_splits_of_the_original_experiment(tmp_path: Path) -> None:
    """Real annotations and splits, with placeholder images."""
    for name in ("annotations", "splits"):
        (tmp_path / name).symlink_to(SHARED / "dior_mini" / name)
    for path in (SHARED / "dior_mini/annotations").glob("*.xml"):
        write_image(tmp_path / f"images/{path.stem}.jpg", size=(8, 8))
    datasets = {split: read_dataset(tmp_path, split) for split in ("train", "val", "test", "trainval")}
    assert {split: len(dataset) for split, dataset in datasets.items()} == {
        "train": 70,
        "val": 15,
        "test": 15,
        "trainval": 85,
    }
    examples = [example for split in ("trainval", "test") for example in datasets[split].examples]
    assert sum(len(example.labels) for example in examples) == 602
    assert len({example.image for example in examples}) == 100


@requires_shared
@pytest.mark.parametrize(("split", "images", "boxes", "empty"), [("train", 236, 3408, 3), ("val", 50, 777, 0)])
def test_real_images_of_an_airport(split: str, images: int, boxes: int, empty: int) -> None:
    dataset = read_dataset(SHARED / "gdit_airport", split)
    counts = [len(example.labels) for example in dataset.examples]
    dropped = sum(int(note.split()[1]) for note in dataset.notes)
    assert (len(counts), sum(counts) + dropped, counts.count(0)) == (images, boxes, empty)
    assert {(example.width, example.height) for example in dataset.examples} == {(600, 600)}
    assert {label for example in dataset.examples for label in example.labels} == {DIOR_CLASSES.index("airplane")}
