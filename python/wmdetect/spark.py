"""Scores a column of a Spark DataFrame, on all executors.

The tasks of a worker share one detector. Keys and the tokenizer travel as the names of files, never as secrets: either
paths that all executors have, or files that `SparkContext.addFile` has sent to them.
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple, TYPE_CHECKING

import wmdetect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyspark.sql import DataFrame

__all__ = ["COLUMNS", "score"]

#: The columns that `score` adds, with their Spark types. docs/reference/json.md says what they mean; `error` is
#: null but where a text could not be scored.
COLUMNS = {
    "verdict": "string",
    "p_value": "double",
    "log10_p": "double",
    "p_kind": "string",
    "key_id": "string",
    "scheme": "string",
    "detector": "string",
    "score": "double",
    "tokens": "bigint",
    "scored_tokens": "bigint",
    "effective_tokens": "bigint",
    "required_tokens": "bigint",
    "keys_tried": "bigint",
    "warnings": "array<string>",
    "error": "string",
}


class _Settings(NamedTuple):
    """What a detector is made of, on any machine."""

    keys: str
    tokenizer: str | None
    fpr: float
    method: str | None
    normalise: bool
    ignore: str | None
    channel: int | None


def score(
    df: DataFrame,
    keys: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    *,
    column: str = "text",
    columns: Sequence[str] = tuple(COLUMNS),
    prefix: str = "",
    fpr: float = 1e-3,
    method: str | None = None,
    normalise: bool = True,
    ignore: str | os.PathLike[str] | None = None,
    channel: int | None = None,
) -> DataFrame:
    """Returns `df` with the verdicts on a column of texts, or of token ids, in further columns.

    Every row stays a row: a text that cannot be scored has an `error`, and null in the other new columns.

    Args:
        df: Any DataFrame.
        keys: The name of a key file, or of a directory of key files, on the executors.
        tokenizer: The name of the tokenizer's file or directory there, or `default`, which is that of wmgen's default
            model; none for columns of token ids.
        column: The column with the texts: strings, binary, or arrays of token ids.
        columns: Which of `COLUMNS` to add.
        prefix: What the names of the new columns begin with.
        fpr: The share of unmarked texts that may be called watermarked.
        method: The statistic that decides; that of the key's scheme if not given.
        normalise: Whether invisible characters and decomposed letters are undone.
        ignore: The name of an ignore file on the executors.
        channel: The channel of the texts, where all have the same and it is known.

    Raises:
        wmdetect.Error: The DataFrame has no such column, or already one that would be added.

    """
    from pyspark.sql.types import _parse_datatype_string

    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise wmdetect.Error(
            f"columns to add: expected names out of {', '.join(COLUMNS)}, found {unknown[0]!r}"
        )
    if column not in df.columns:
        raise wmdetect.Error(f"column to score: expected one of {', '.join(df.columns)}, found {column!r}")
    taken = [prefix + name for name in columns if prefix + name in df.columns]
    if taken:
        raise wmdetect.Error(
            f"columns to add: expected names that the DataFrame does not have, found {taken[0]!r} in it\n"
            "prefix= puts something before the names"
        )
    settings = _Settings(
        os.fspath(keys),
        None if tokenizer is None else os.fspath(tokenizer),
        fpr,
        method,
        normalise,
        None if ignore is None else os.fspath(ignore),
        channel,
    )
    added = ", ".join(f"`{prefix}{name}` {COLUMNS[name]}" for name in columns)
    schema = _parse_datatype_string(added) if columns else df.schema[:0]
    schema = type(df.schema)([*df.schema.fields, *schema.fields])
    return df.mapInArrow(_scorer(settings, column, tuple(columns), prefix), schema)


def _scorer(
    settings: _Settings, column: str, columns: tuple[str, ...], prefix: str
) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Returns what a task does with its batches. It is pickled, so it has settings and no detector."""

    def rows(batches: Iterable[Any]) -> Iterator[Any]:
        detector = _detector(settings)
        for batch in batches:
            yield _scored(detector, batch, column, columns, prefix)

    return rows


def _scored(
    detector: wmdetect.Detector, batch: Any, column: str, columns: tuple[str, ...], prefix: str
) -> Any:
    """Returns a record batch with the columns that are asked for, in Spark's types."""
    import pyarrow as pa

    # A task has one core.
    table = pa.record_batch(detector.score_batch(batch.column(column), threads=1))
    types = {
        "string": pa.string(),
        "double": pa.float64(),
        "bigint": pa.int64(),
        "array<string>": pa.list_(pa.string()),
    }
    added = [table.column(name).cast(types[COLUMNS[name]]) for name in columns]
    names = [*batch.schema.names, *(prefix + name for name in columns)]
    return pa.RecordBatch.from_arrays([*batch.columns, *added], names=names)


@functools.lru_cache(maxsize=8)
def _detector(settings: _Settings) -> wmdetect.Detector:
    """Returns the detector of these settings, which the tasks of a worker share."""
    keys = _file(settings.keys)
    options: dict[str, Any] = {} if settings.method is None else {"method": settings.method}
    return wmdetect.Detector(
        wmdetect.Keyring.open(keys) if os.path.isdir(keys) else wmdetect.Key.read(keys),
        _tokenizer(settings.tokenizer),
        fpr=settings.fpr,
        normalise=settings.normalise,
        ignore=None if settings.ignore is None else _file(settings.ignore),
        channel=settings.channel,
        **options,
    )


def _tokenizer(name: str | None) -> wmdetect.Tokenizer | None:
    """Returns the tokenizer of this name, which is a file, a directory or `default`; none for columns of token ids."""
    if name is None:
        return None
    return wmdetect.Tokenizer.default() if name == "default" else wmdetect.Tokenizer.open(_file(name))


def _file(name: str) -> str:
    """Returns the path of a file on this executor: as it is named, or one that `SparkContext.addFile` has sent."""
    if os.path.exists(name):
        return name
    from pyspark import SparkFiles

    return str(SparkFiles.get(name))
