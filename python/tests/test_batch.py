"""Many texts."""

import os
import pickle
import signal
import threading

import numpy as np
import pytest

import wmdetect
from wmdetect import Error, Failure, Report

pa = pytest.importorskip("pyarrow")


def test_rows_are_what_score_says(detector, marked, tokenizer):
    texts = [marked, "short", marked.encode(), tokenizer.encode(marked), "", np.array([1, 2, 3])]
    table = detector.score_batch(texts)
    assert len(table) == 6
    for row, text in zip(table, texts, strict=True):
        assert row == detector.score(text)
    assert table[-1] == table[5]
    for index in (6, -7):
        with pytest.raises(IndexError, match="6 rows"):
            table[index]


def test_failures_stay_rows(detector, marked):
    table = detector.score_batch([marked, None, 5, "\ud800", [1, -1], marked])
    assert [type(row) for row in table] == [Report, Failure, Failure, Failure, Failure, Report]
    assert [at for at, _ in table.failures] == [1, 2, 3, 4]
    assert "found int" in table[2].error and table[2].to_dict("a")["input"] == "a"
    assert table.to_arrow()["error"].null_count == 2
    with pytest.raises(Error, match="row 1: there is no text"):
        detector.score_batch([marked, None, 5], errors="raise")
    with pytest.raises(ValueError, match='found "ignore"'):
        detector.score_batch([], errors="ignore")


def test_a_detector_for_ids_fails_row_by_row(key):
    table = wmdetect.Detector(key).score_batch(["text", [1, 2]])
    assert "hint: make the detector with tokenizer=" in table[0].error and isinstance(table[1], Report)


def arrow_columns(marked, ids):
    texts = [marked, None, "short", ""]
    for kind in (
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
    ):
        data = texts if "string" in str(kind) else [text and text.encode() for text in texts]
        yield pa.array(data, kind), texts
    yield pa.array(texts).dictionary_encode(), texts
    yield pa.chunked_array([texts[:1], [], texts[1:]], pa.string()), texts
    yield pa.array(["x", *texts, "y"])[1:5], texts
    yield pa.array([None, None], pa.null()), [None, None]
    lists = [ids, None, [], [5]]
    for kind in (pa.list_(pa.int64()), pa.large_list(pa.uint32()), pa.list_(pa.int32())):
        yield pa.array(lists, kind), lists
        yield pa.array([[1], *lists], kind)[1:], lists
    yield pa.array([ids[:3], None, ids[3:6]], pa.list_(pa.uint16(), 3))[1:], [None, ids[3:6]]


def test_arrow_columns_are_read_in_place(detector, marked, tokenizer):
    for column, texts in arrow_columns(marked, tokenizer.encode(marked)):
        table, expected = detector.score_batch(column), detector.score_batch(texts)
        assert list(table) == list(expected), column.type


def test_arrow_columns_that_are_none(detector):
    for column, message in [
        (pa.array([1.5]), "found Float64"),
        (pa.table({"text": ["a"]}), "take one column of the table"),
        (pa.array([["a"]]), "found List"),
        (pa.array([1, 2]), "found Int64"),
    ]:
        with pytest.raises(TypeError, match=message):
            detector.score_batch(column)
    table = detector.score_batch(pa.array([[1, -1], [1, None], [1, 2]]))
    assert [isinstance(row, Report) for row in table] == [False, False, True]


def test_numpy_columns(detector, marked):
    objects = np.array([marked, None, "x"], dtype=object)
    assert list(detector.score_batch(objects)) == list(detector.score_batch([marked, None, "x"]))
    assert list(detector.score_batch(np.array(["a", "b"]))) == list(detector.score_batch(["a", "b"]))
    rows = np.arange(20, dtype=np.int64).reshape(2, 10)
    assert list(detector.score_batch(rows)) == list(detector.score_batch(rows.tolist()))
    for array in (np.zeros(3), np.zeros((2, 2, 2), int), np.arange(3)):
        with pytest.raises(TypeError, match="expected an array of texts in one dimension"):
            detector.score_batch(array)


@pytest.mark.parametrize("texts", ["one text", b"bytes", {"a": 1}, {"a"}, 5, None])
def test_what_is_not_a_column(detector, texts):
    with pytest.raises(TypeError, match="texts: expected a list"):
        detector.score_batch(texts)


def test_prompts_go_with_their_texts(detector, tokenizer, marked):
    ids = tokenizer.encode(marked)
    texts, prompts = [ids, ids, marked], [None, ids, marked]
    table = detector.score_batch(texts, prompts)
    assert [row.scored_tokens for row in table] == [88, 0, 0]
    assert list(detector.score_batch(texts, pa.array([None, None, marked])))[2] == table[2]
    with pytest.raises(ValueError, match="prompts: expected as many as texts, 3, found 1"):
        detector.score_batch(texts, ["a"])


def test_the_table_is_an_arrow_table(detector, marked):
    texts = [marked, None, marked.replace(" ", " \u200b", 2), "x"]
    table = detector.score_batch(texts)
    arrow = pa.table(table)
    assert arrow.equals(table.to_arrow()) and arrow.equals(pa.table(pa.record_batch(table)))
    assert pa.schema(table) == arrow.schema
    for row, report in zip(arrow.to_pylist(), table, strict=True):
        said = report.to_dict()
        if isinstance(report, Failure):
            assert row.pop("error") == said["error"] and not any(row.values())
            continue
        assert row.pop("error") is None
        for name in ("spans", "normalisation"):
            found, expected = row.pop(name), said.pop(name, None)
            if name == "spans":
                found = [{k: v for k, v in span.items() if v is not None} for span in found]
                assert found == (expected or [])
            else:
                assert (found and {k: v for k, v in found.items() if v}) == expected
        scores = {k: v for k, v in row.pop("scores").items() if v is not None}
        assert scores == {k: v for k, v in said.pop("scores").items() if v is not None}
        for name, value in row.items():
            assert value == said.get(name), name
    assert list(pickle.loads(pickle.dumps(table))) == list(table)
    assert [row["input"] for row in table.to_dicts()] == ["0", "1", "2", "3"]
    assert len(pa.table(detector.score_batch([]))) == 0


def test_polars_reads_and_is_read(detector, marked):
    pl = pytest.importorskip("polars")
    column = pl.Series("text", [marked, None, "x"])
    table = detector.score_batch(column)
    frame = pl.DataFrame(table)
    assert frame["verdict"].to_list() == ["watermarked", None, "too_short"]
    assert list(frame["spans"][0][0]["tokens"]) == [0, 90]
    assert frame.filter(pl.col("p_value") < 1e-9).height == 1


def test_threads_change_nothing(detector, marked):
    texts = [marked[i : i + 300] for i in range(60)]
    tables = [list(detector.score_batch(texts, threads=threads)) for threads in (1, 2, 7, None)]
    assert all(table == tables[0] for table in tables)
    with pytest.raises(ValueError, match="at least 1"):
        detector.score_batch(texts, threads=0)


def test_ctrl_c_ends_a_batch(detector, marked):
    # A shell lets what runs in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    long = [marked * 30] * 3000
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        detector.score_batch(long)
    timer.join()
    signal.signal(signal.SIGINT, before)


def test_rows_are_those_of_the_program(detector, marked, program, key_file, tmp_path):
    import json

    texts = [marked, "short", marked[:200], "caf\u00e9 \u201cquoted\u201d " * 30]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = program("score", "--jsonl", "--json", "--key", key_file, tmp_path / "texts.jsonl", cwd=tmp_path)
    said = [json.loads(line) for line in rows.splitlines()]
    found = detector.score_batch(texts).to_dicts()
    for row in said + found:
        del row["input"]
    assert found == said
