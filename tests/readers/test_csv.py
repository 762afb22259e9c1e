"""CSV and its kin: every quirk met in public logs, and what a person is told about it."""

from __future__ import annotations

import math
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.errors import BrokenFileError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers import _lines
from lossdoctor.readers.base import Source
from lossdoctor.readers.csv import CsvReader

READER = CsvReader()


def source(data: bytes | str, name: str = "log.csv") -> Source:
    return Source(name, name, data=data if isinstance(data, bytes) else data.encode())


def read(data: bytes | str, name: str = "log.csv") -> TrainingHistory:
    assert READER.sniff(source(data, name)) > 0
    (history,) = READER.read(source(data, name))
    return history


def points(history: TrainingHistory, name: str = "loss") -> list[tuple[int, float]]:
    curve = history[name]
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


# cells


def test_an_empty_cell_is_not_logged_and_nan_is_kept() -> None:
    history = read("step,loss,val_loss\n1,2.5,\n2,nan,1.0\n3,NaN,\n4,inf,None\n5,-inf,null\n6,1.0,N/A\n")
    assert points(history, "val_loss") == [(2, 1.0)]
    values = history["loss"].values
    assert np.isnan(values[1:3]).all()
    assert values[3:5].tolist() == [math.inf, -math.inf]
    assert history.notes == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    assert points(read(end.join(["step,loss", "1,2.0", "2,1.0", ""]))) == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfstep,loss\n1,2.0\n",
        "step,loss\n1,2.0\n".encode("utf-16"),
        b"\xfe\xff" + "step,loss\n1,2.0\n".encode("utf-16-be"),
    ],
    ids=["utf-8 with a mark", "utf-16", "utf-16 big-endian"],
)
def test_encodings(data: bytes) -> None:
    assert points(read(data)) == [(1, 2.0)]


def test_latin1_names_are_taken_as_such() -> None:
    assert "précision" in read("step,précision,loss\n1,0.5,2\n2,0.6,1\n".encode("latin-1"))


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_separators(separator: str) -> None:
    text = "step,loss,lr\n1,2.0,0.1\n2,1.0,0.1\n".replace(",", separator)
    assert points(read(text)) == [(1, 2.0), (2, 1.0)]


def test_semicolons_with_a_decimal_comma() -> None:
    assert points(read("epoch;loss\n1;2,5\n2;1,25\n")) == [(1, 2.5), (2, 1.25)]


def test_quoted_cells_with_separators_and_line_ends_inside() -> None:
    history = read('step,"loss",text\n"1","2.0","a, b"\n2,1.5,"two\nlines, ""quoted"""\n3,1.0,x\n')
    assert points(history) == [(1, 2.0), (2, 1.5), (3, 1.0)]
    assert history.notes == ["columns without numbers were left out: text"]


def test_a_quote_that_is_never_closed_costs_no_row() -> None:
    history = read('step,loss,text\n1,2.0,"open\n2,1.5,b\n3,1.0,c\n')
    assert [s for s, _ in points(history)] == [1, 2, 3]
    assert any("never closed" in n for n in history.notes)


def test_text_among_numbers_is_told_with_its_line() -> None:
    history = read("step,loss\n1,2.0\n2,oops\n3,1.0\n4,oops\n")
    assert points(history) == [(1, 2.0), (3, 1.0)]
    assert history.notes == ["loss: 2 cells were not a number (first 'oops' in line 3)"]


def test_numbers_written_as_tensors_and_percent() -> None:
    history = read("step,loss,acc\n1,tensor(2.5),12%\n2,tensor(1.5),50 %\n")
    assert points(history) == [(1, 2.5), (2, 1.5)]
    assert points(history, "acc") == [(1, 12.0), (2, 50.0)]


def test_an_underscore_makes_no_number() -> None:
    assert points(read("step,loss\n1,1_0\n2,2.0\n")) == [(2, 2.0)]


def test_a_column_of_text_only_gives_a_clear_note() -> None:
    history = read("loss\nabc\ndef\n")
    assert not history.curves
    assert history.notes[0] == "no column holds numbers: the columns are loss"


# rows


def test_a_header_in_the_middle_starts_a_new_mapping() -> None:
    history = read("step,loss,lr\n1,2.0,0.1\n2,1.5,0.1\nstep,lr,loss,val_loss\n3,0.2,1.0,1.1\n")
    assert points(history) == [(1, 2.0), (2, 1.5), (3, 1.0)]
    assert points(history, "lr") == [(1, 0.1), (2, 0.1), (3, 0.2)]
    assert points(history, "val_loss") == [(3, 1.1)]
    assert history.notes == ["a header stands again in line 4, with new columns val_loss"]


def test_the_same_header_again_is_no_row() -> None:
    assert points(read("step,loss\n1,2.0\nstep,loss\n1,1.9\n")) == [(1, 2.0), (1, 1.9)]


def test_rows_wider_and_shorter_than_the_header() -> None:
    history = read("step,loss,lr\n1,2.0,0.1,7,8\n2,1.5\n3,1.0,0.1\n")
    assert points(history) == [(1, 2.0), (2, 1.5), (3, 1.0)]
    assert points(history, "lr") == [(1, 0.1), (3, 0.1)]
    assert "1 rows have more cells than the header; these cells were left out (first in line 2)" in history.notes
    assert "1 rows have fewer cells than the header (first in line 3)" in history.notes


def test_row_names_that_the_header_does_not_name() -> None:
    assert points(read("step\tloss\n1\t10\t2.0\n2\t20\t1.0\n", "r.tsv")) == [(10, 2.0), (20, 1.0)]


def test_a_cut_off_last_line_is_read_up_to_its_last_whole_cell() -> None:
    text = "step,loss,lr\n1,2.0,0.1\n2,1.2"
    history = read(text)
    assert points(history) == [(1, 2.0)]
    assert history.notes == [f"the last line is cut off at byte {len(text)} (line 3); its last cell was left out"]


def test_a_whole_last_line_without_a_line_end() -> None:
    history = read("step,loss\n1,2.0\n2,1.5")
    assert points(history) == [(1, 2.0), (2, 1.5)]
    assert history.notes == []


def test_comments_and_blank_lines() -> None:
    assert points(read("# made by hand\n\nstep,loss\n# later\n1,2.0\n\n2,1.0\n\n")) == [(1, 2.0), (2, 1.0)]


def test_a_header_in_a_comment() -> None:
    assert points(read("# step loss\n1 2.5\n2 1.5\n", "out.txt")) == [(1, 2.5), (2, 1.5)]


def test_one_column_of_numbers_is_the_loss() -> None:
    history = read("2.5\n1.5\n1.0\n", "losses.txt")
    assert points(history) == [(1, 2.5), (2, 1.5), (3, 1.0)]
    assert history.step_unit == "row"
    assert history.notes == ["there is no header: the columns are called loss"]


def test_numbers_without_a_header() -> None:
    history = read("0.5,2.5,1\n0.6,1.5,1\n")
    assert list(history.curves) == ["col1", "col2", "col3"]
    assert history.notes == [
        "there is no header: the columns are called col1, col2, col3; say which is the loss, as in"
        " --metric train_loss=col1"
    ]


@pytest.mark.parametrize("separator", [",", " ", "\t", "  "])
def test_a_first_column_that_rises_is_the_axis_of_a_headerless_table_and_one_other_the_loss(separator: str) -> None:
    history = read("\n".join(separator.join(row) for row in (("0", "2.5"), ("8", "1.5"), ("16", "1.0"))) + "\n")
    assert points(history) == [(0, 2.5), (8, 1.5), (16, 1.0)]
    assert history.roles.names == {"train_loss": ("loss",)}
    assert history.notes == ["there is no header: the columns are called step, loss"]


def test_of_several_columns_without_a_header_none_is_guessed_to_be_the_loss() -> None:
    history = read("0 0.2027 0.8718\n8 0.1348 0.9671\n16 0.1201 0.9852\n", "train_log.txt")
    assert points(history, "col2") == [(0, 0.2027), (8, 0.1348), (16, 0.1201)]
    assert history.roles.names == {}
    assert history.notes[0].endswith("step, col2, col3; say which is the loss, as in --metric train_loss=col2")
    history.set_roles({"train_loss": "col2"})
    assert history.loss[0] == 0.2027


@pytest.mark.parametrize(
    "rows",
    ["0,4\n1,5\n2,6\n", "10,0.4\n5,0.5\n2,0.6\n", "0.5,0.4\n1.5,0.5\n2.5,0.6\n", "1700000000,0.4\n1700000060,0.5\n"],
)
def test_whole_numbers_are_no_loss_and_what_does_not_rise_no_step(rows: str) -> None:
    assert "loss" not in read(rows).curves


def test_the_losses_of_a_gan_are_adversarial_and_counted_by_batch() -> None:
    history = read("Epoch,Batch,Gen Loss,Disc Loss\n0,0,0.72,1.39\n0,1,0.75,1.30\n1,0,0.81,1.22\n1,1,0.83,1.2\n")
    assert set(history.roles.adversarial) == {"Gen Loss", "Disc Loss"}
    assert "train_loss" not in history.roles.names
    assert history["Gen Loss"].steps.tolist() == [0, 1, 2, 3]


def test_a_table_of_fixed_width_counts_its_iterations_and_knows_actor_and_critic() -> None:
    names = ("Iteration", "Samples", "Train_Return", "Critic_Loss", "Actor_Loss")
    rows = [(50 * i, 2000 * i + 7, -100.0 + i, 0.011 / (i + 1), -0.6 + 0.01 * i) for i in range(6)]
    text = "".join("".join(f"{c:<25}" for c in row) + "\n" for row in (names, *rows))
    history = read(text, "log.txt")
    assert history.step_unit == "step"
    assert history["Critic_Loss"].steps.tolist() == [0, 50, 100, 150, 200, 250]
    assert set(history.roles.adversarial) == {"Train_Return", "Critic_Loss", "Actor_Loss"}


def test_an_index_column_without_a_name() -> None:
    history = read(",loss\n0,2.5\n1,1.5\n")
    assert points(history) == [(0, 2.5), (1, 1.5)]
    assert history.step_unit == "row"


def test_equal_names_stay_apart() -> None:
    assert list(read("step,loss,loss\n1,2.5,3\n2,1.5,2\n").curves) == ["loss", "loss (2)"]


def test_thousands_of_points_on_one_step_are_kept() -> None:
    text = "step,loss\n" + "".join(f"{0 if i < 2000 else i},{i}\n" for i in range(2100))
    history = read(text)
    assert len(history["loss"]) == 2100
    assert (history["loss"].steps[:2000] == 0).all()


def test_a_step_that_never_moves_is_no_axis() -> None:
    history = read("step,loss\n0,3\n0,2\n0,1\n")
    assert points(history) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert history.step_unit == "row"
    assert "step is 0 in every row" in history.notes[0]


def test_a_column_filled_for_the_first_steps_only() -> None:
    rows = [f"{i},{2.0 if i < 100 else ''},{i}" for i in range(150)]
    history = read("global_step,loss,val_loss\n" + "\n".join(rows) + "\n")
    assert len(history["loss"]) == 100
    assert len(history["val_loss"]) == 150


# axes and times


@pytest.mark.parametrize(
    ("header", "unit", "first"),
    [
        ("epoch,global_step,loss", "step", 100),
        ("epoch,current_steps,loss", "step", 100),
        ("step,iteration,loss", "step", 1),
        ("epoch,val,loss", "epoch", 1),
        ("tokens,val,loss", "token", 1),
        ("round,val,loss", "step", 1),
        ("a,b,loss", "row", 1),
    ],
)
def test_the_axis_is_chosen_by_name(header: str, unit: str, first: int) -> None:
    history = read(f"{header}\n1,100,2.0\n2,200,1.5\n3,300,1.0\n")
    assert history.step_unit == unit
    assert history["loss"].steps[0] == first


def test_epochs_stay_as_a_curve_beside_steps() -> None:
    history = read("epoch,step,loss\n0,10,2.0\n0,20,1.5\n1,30,1.0\n")
    assert points(history, "epoch") == [(10, 0.0), (20, 0.0), (30, 1.0)]
    assert "step" not in history


def test_a_counter_that_starts_anew_each_epoch_is_counted_on() -> None:
    history = read("epoch,batch,loss\n1,1,5\n1,2,4\n1,3,3\n2,1,2\n2,2,1\n2,3,0\n")
    assert [s for s, _ in points(history)] == [1, 2, 3, 4, 5, 6]
    assert "batch starts anew in each epoch; steps are counted on, 3 to an epoch" in history.notes


def test_batches_counted_from_zero() -> None:
    history = read("epoch,batch,loss\n0,0,5\n0,1,4\n1,0,3\n1,1,2\n")
    assert [s for s, _ in points(history)] == [0, 1, 2, 3]


def test_fractional_epochs_without_steps_count_rows() -> None:
    history = read("epoch,loss\n0.1,3\n0.2,2\n0.3,1\n")
    assert history.step_unit == "row"
    assert points(history, "epoch") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_rows_without_a_step_stand_at_the_last_one() -> None:
    assert points(read("step,loss,val_loss\n10,2,\n,,3\n20,1,\n"), "val_loss") == [(10, 3.0)]


def test_two_runs_one_after_the_other_keep_their_order() -> None:
    history = read("step,loss\n1,3\n2,2\n1,3\n2,1\n")
    assert [s for s, _ in points(history)] == [1, 2, 1, 2]


@pytest.mark.parametrize("stamp", ["1700000000.5", "1700000000500", "2023-11-14T22:13:20.500000+00:00"])
def test_wall_times(stamp: str) -> None:
    history = read(f"step,timestamp,loss\n1,{stamp},2\n2,{stamp},1\n")
    times = history["loss"].times
    assert times is not None
    assert times[0] == pytest.approx(1_700_000_000.5)
    assert "timestamp" not in history


def test_elapsed_seconds_are_neither_metric_nor_wall_time() -> None:
    history = read("epoch,time,loss\n1,1.5,2\n2,3.0,1\n")
    assert history["loss"].times is None
    assert list(history.curves) == ["loss"]


# label columns


def test_a_split_column_marks_the_metrics() -> None:
    history = read("epoch,phase,loss\n1,train,2.0\n1,val,2.1\n2,train,1.0\n2,val,1.2\n")
    assert points(history, "train/loss") == [(1, 2.0), (2, 1.0)]
    assert points(history, "val/loss") == [(1, 2.1), (2, 1.2)]
    assert history.roles.primary("val_loss") == "val/loss"


def test_a_long_table() -> None:
    history = read("step,metric,value\n1,loss,2.0\n1,lr,0.1\n2,loss,1.0\n2,lr,0.2\n")
    assert points(history, "loss") == [(1, 2.0), (2, 1.0)]
    assert points(history, "lr") == [(1, 0.1), (2, 0.2)]


def test_a_run_column_gives_several_runs() -> None:
    a, b = READER.read(source("run,step,loss\na,1,2\na,2,1\nb,1,3\nb,2,4\na,3,0\n"))
    assert (a.name, b.name) == ("a", "b")
    assert points(a) == [(1, 2.0), (2, 1.0), (3, 0.0)]
    assert points(b) == [(1, 3.0), (2, 4.0)]


# what is not for this reader


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\x00\x01\x02" * 50,
        b'{"loss": 1}\n{"loss": 2}\n',
        b"Epoch 1, loss: 0.5\nEpoch 2, loss: 0.4\n",
        b"step:1/100 train_loss:10.9 time:12ms\nstep:2/100 train_loss:9.9 time:12ms\n",
        b"import torch, numpy\nx = 3, 4\nfor i in range(3):\n    print(i, x)\n",
        b"The quick brown fox, the lazy dog.\nAnother line, of text.\n",
    ],
)
def test_other_things_are_left_alone(data: bytes) -> None:
    assert READER.sniff(source(data, "train.log")) == 0


def test_a_line_without_end_stops_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_lines, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "long.csv"
    with path.open("wb") as stream:
        stream.write(b"step,loss\n1,2.0\n")
        for _ in range(24):
            stream.write(b"7" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(BrokenFileError, match=r"line 3 \(byte 16\): this line is longer than 1 MiB"):
        READER.read(Source.from_path(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20  # of a file of 24 MiB


def test_a_damaged_gzip_is_read_up_to_the_damage() -> None:
    import gzip

    rng = random.Random(0)
    text = "step,loss\n" + "".join(f"{i},{rng.random()}\n" for i in range(20_000))
    packed = gzip.compress(text.encode())
    history = read(packed[: len(packed) // 2])
    assert 5_000 < len(history["loss"]) < 15_000
    assert any("damaged" in n for n in history.notes)
