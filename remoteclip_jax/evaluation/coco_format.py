"""A data set and what was found in it as COCO's JSON, with the user's own ids, so that anyone can score the files."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.truth import annotated_boxes, annotation, usable


class Ids(NamedTuple):
    """The id of each image and of each class."""

    images: Sequence[int | str]
    categories: Sequence[int]


def own_ids(dataset: Dataset) -> Ids:
    """Those of the user's file, whatever their type; where it has none, or an id stands for two images, positions in
    the split from 1, and labels from 1."""
    known = [example.annotations.image_id for example in dataset.examples if example.annotations is not None]
    images = known if len(set(known)) == len(dataset) else range(1, len(dataset) + 1)
    return Ids(images, dataset.category_ids or range(1, len(dataset.classes) + 1))


def plain_ids(dataset: Dataset) -> Ids:
    """Numbers from 1 that pycocotools can work with whatever the user's are: images in the order of the user's ids, by
    which pycocotools sorts detections of equal score; labels from 1."""
    own: Any = own_ids(dataset).images
    order = list(range(len(own)))
    if len({type(number) for number in own}) == 1:
        order.sort(key=own.__getitem__)
    numbers = {place: number for number, place in enumerate(order, 1)}
    return Ids([numbers[place] for place in range(len(own))], range(1, len(dataset.classes) + 1))


def coco_ground_truth(dataset: Dataset, ids: Ids | None = None) -> dict[str, Any]:
    """`dataset` in COCO's format, with `own_ids`: boxes and areas as the annotation has them, in its pixels.

    VOC's objects that need not be found have `difficult` 1, a key that pycocotools does not know.
    """
    ids = ids or own_ids(dataset)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, example in zip(ids.images, dataset.examples, strict=True):
        known = annotation(example)
        images.append({"id": image_id, "file_name": example.image.name, "width": known.width, "height": known.height})
        columns = (known.boxes, known.areas, known.labels, known.crowd, known.difficult)
        for box, area, label, crowd, difficult in zip(*(column.tolist() for column in columns), strict=True):
            item = {
                # From 1: pycocotools takes a match with annotation 0 for no match.
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": ids.categories[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            annotations.append(item | {"difficult": 1} if difficult else item)
    categories = [{"id": ids.categories[label], "name": name} for label, name in enumerate(dataset.classes)]
    description = {"description": f"split {dataset.split}"}
    return {"info": description, "images": images, "annotations": annotations, "categories": categories}


def coco_predictions(
    dataset: Dataset, detections: Sequence[Detections], ids: Ids | None = None
) -> list[dict[str, Any]]:
    """COCO's results format, with the ids and in the pixels of `coco_ground_truth`; one `Detections` an example, in
    order.

    What is not finite or has its corners the wrong way round is left out. ValueError where the number of images or
    the classes differ.
    """
    ids = ids or own_ids(dataset)
    results = []
    for image_id, example, found in zip(ids.images, dataset.examples, detections, strict=True):
        if found.classes != dataset.classes:
            raise ValueError(f"detections of image {image_id} have other classes than the data")
        keep = usable(found)
        boxes = annotated_boxes(example, annotation(example), found)
        columns = (boxes[keep], found.scores[keep], found.labels[keep])
        for box, score, label in zip(*(column.tolist() for column in columns), strict=True):
            results.append({"image_id": image_id, "category_id": ids.categories[label], "bbox": box, "score": score})
    return results
