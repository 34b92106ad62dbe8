"""Results on disk: a shard is whole or absent, and whatever a killed process leaves, no row is lost or double."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as parquet
import pytest

from remoteclip_jax.bulk.results import Results
from remoteclip_jax.bulk.rows import Row, error_row, found_row
from remoteclip_jax.bulk.shards import FORMATS, shard_names, shard_rows, write_shard
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.errors import UserError


def row(number: int) -> Row:
    """Every fifth image cannot be read; another one has notes, and another no detections."""
    if number % 5 == 4:
        return error_row(f"/photos/{number}.jpg", f"/photos/{number}.jpg: broken")
    rng = np.random.default_rng(number)
    count = number % 3
    boxes = rng.uniform(0, 600, (count, 4)).astype(np.float32)
    scores = rng.uniform(0, 1, count).astype(np.float32)
    found = Detections(boxes, scores, np.arange(count, dtype=np.int32), ("ship", "存储罐"))
    return found_row(f"/photos/{number}\udcff.jpg", (640, 480), found, ["8 bits"] if number % 5 == 1 else [])


ROWS = [row(number) for number in range(23)]


def stored(folder: Path) -> list[Row]:
    return [one for path in sorted(folder.glob("[0-9]*.[jp]*")) for one in shard_rows(path)]


@pytest.mark.parametrize("output_format", FORMATS)
def test_round_trip(output_format: str, tmp_path: Path) -> None:
    with Results(tmp_path, output_format, 10) as results:
        for one in ROWS:
            results.append(one)
        assert len(list(tmp_path.glob(f"*.{output_format}"))) == 2
        results.finish_shard()
        results.finish_shard()  # of nothing
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"00000{i}.{output_format}" for i in range(3)]
    assert stored(tmp_path) == ROWS
    again = Results(tmp_path, output_format, 10)
    assert again.done == {one["image"] for one in ROWS}
    assert again.failed == sum("error" in one for one in ROWS)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("cut", [0, 1, 40, 10_000])
def test_after_a_kill(output_format: str, cut: int, tmp_path: Path) -> None:
    """The last `cut` bytes did not reach the disk."""
    with Results(tmp_path, output_format, 10) as results:
        for one in ROWS[:17]:
            results.append(one)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(part.read_bytes()[: max(0, part.stat().st_size - cut)])
    (tmp_path / f".000001.{output_format}.1234.tmp").write_text("half of a shard")
    with Results(tmp_path, output_format, 10) as results:
        assert results.dropped == (0 < cut < 10_000)
        assert len(results.done) == {0: 17, 1: 16, 40: 16, 10_000: 10}[cut]
        for one in ROWS:
            if one["image"] not in results.done:
                results.append(one)
        results.finish_shard()
    assert stored(tmp_path) == ROWS
    assert len(list(tmp_path.iterdir())) == 3


def test_damage_in_an_unfinished_shard_drops_what_follows(tmp_path: Path) -> None:
    with Results(tmp_path, "jsonl", 10) as results:
        for one in ROWS[:5]:
            results.append(one)
    (part,) = tmp_path.glob("*.part")
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join([*lines[:3], b"\0" * 50 + b"\n", lines[4]]))
    results = Results(tmp_path, "jsonl", 10)
    assert results.done == {one["image"] for one in ROWS[:3]}
    assert results.dropped == 2


def test_a_kill_between_writing_a_shard_and_removing_its_part(tmp_path: Path) -> None:
    with Results(tmp_path, "parquet", 10) as results:
        for one in ROWS[:7]:
            results.append(one)
    write_shard(tmp_path / "000000.parquet", ROWS[:7])
    with Results(tmp_path, "parquet", 10) as results:
        for one in ROWS[7:]:
            results.append(one)
        results.finish_shard()
    assert stored(tmp_path) == ROWS


@pytest.mark.parametrize("output_format", FORMATS)
def test_errors_are_tried_again_only_if_asked_for(output_format: str, tmp_path: Path) -> None:
    readable = [one for one in ROWS if "error" not in one]
    write_shard(tmp_path / f"000000.{output_format}", ROWS[4:5])
    with Results(tmp_path, output_format, 12) as results:
        for one in [*ROWS[:4], *ROWS[5:]]:
            results.append(one)
    kept = Results(tmp_path, output_format, 12)
    assert (len(kept.done), kept.failed) == (len(ROWS), len(ROWS) - len(readable))
    with Results(tmp_path, output_format, 12, retry_errors=True) as results:
        assert (results.done, results.failed) == ({one["image"] for one in readable}, 0)
        results.finish_shard()
    assert stored(tmp_path) == readable


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_damaged_shard_is_named(output_format: str, tmp_path: Path) -> None:
    path = tmp_path / f"000003.{output_format}"
    write_shard(path, ROWS)
    assert [name for name, _ in shard_names(path)] == [one["image"] for one in ROWS]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"000003\.{output_format} is damaged .* remove it"):
        Results(tmp_path, output_format, 10)


def test_parquet_can_be_queried(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.parquet", ROWS)
    found = pc.list_flatten(parquet.read_table(tmp_path / "0.parquet")["detections"])
    labels = pc.struct_field(found, "label").to_pylist()
    assert labels == [one["label"] for row in ROWS for one in row.get("detections", ())]
    failed = parquet.read_table(tmp_path / "0.parquet", filters=~pc.field("error").is_null())
    assert failed["image"].to_pylist() == [row["image"] for row in ROWS if "error" in row]
    assert failed["detections"].null_count == len(failed)
