"""Tables in Parquet files: each file is checked and converted before any is used."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from decisions.domains.payments import WORLD
from decisions.domains.payments.parquet import has_table, parquet_reader
from decisions.domains.payments.tables import ATTEMPTS, Table, checked
from decisions.errors import DataError

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
N = 20


def attempts() -> pl.DataFrame:
    day = (START - datetime(1970, 1, 1, tzinfo=UTC)).days
    made = WORLD.environment.arrivals(day, np.arange(N, dtype=np.int64), per_day=N)
    return made.select(
        name if name in made.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in ATTEMPTS.items()
    )


def put(folder: Path, *names: str) -> list[pl.DataFrame]:
    """Writes the attempts to as many files, split evenly; what each holds."""
    parts = [
        part
        for _, part in attempts()
        .with_row_index("n")
        .group_by(pl.col("n") * len(names) // N, maintain_order=True)
    ]
    parts = [part.drop("n") for part in parts]
    for part, name in zip(parts, names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(folder / name)
    return parts


def read(folder: Path, table: Table = "attempts") -> pl.DataFrame:
    return checked(parquet_reader(folder)(table, START, START + DAY), table)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Etc/GMT-1", "America/St_Johns"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_of_another_zone_and_precision_are_converted(
    tmp_path: Path, zone: str, unit: str
) -> None:
    whole = attempts().with_columns(pl.col("observed_at").dt.truncate("1s"))
    whole.with_columns(
        pl.col("observed_at").dt.convert_time_zone(zone).dt.cast_time_unit(unit)  # type: ignore[arg-type]
    ).write_parquet(tmp_path / "attempts.parquet")
    noon = START + DAY / 2

    morning = parquet_reader(tmp_path)("attempts", START, noon)

    assert read(tmp_path).equals(whole)
    assert morning.equals(whole.filter(pl.col("observed_at") < noon))


def test_files_that_differ_in_width_precision_and_nulls_are_read_as_one_table(
    tmp_path: Path,
) -> None:
    first, second, third = put(tmp_path, *(f"attempts/{name}.parquet" for name in "abc"))
    second.with_columns(
        pl.col("hour").cast(pl.Int32),
        pl.col("observed_at").dt.cast_time_unit("ns").dt.convert_time_zone("Asia/Tokyo"),
    ).write_parquet(tmp_path / "attempts" / "b.parquet")
    third.select(reversed(third.columns)).with_columns(
        pl.lit(None).alias("retry_of"), pl.col("amount_minor").cast(pl.UInt16)
    ).write_parquet(tmp_path / "attempts" / "c.parquet")

    assert read(tmp_path).equals(pl.concat([first, second, third]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.col("hour").cast(pl.String), "hour is String, wanted Int64"),
        (pl.col("merchant").cast(pl.Categorical), "merchant is Categorical, wanted String"),
        (pl.lit(1).alias("colour"), "unexpected columns ['colour']"),
        (pl.lit(1).alias("risk"), "risk is Int32, wanted Float64"),
        (pl.col("observed_at").dt.replace_time_zone(None), "observed_at is Datetime("),
    ],
)
@pytest.mark.parametrize("nth", ["a", "b"])
def test_a_file_that_differs_is_refused_by_file_and_column(
    tmp_path: Path, nth: str, change: pl.Expr, words: str
) -> None:
    put(tmp_path, "attempts/a.parquet", "attempts/b.parquet")
    path = tmp_path / "attempts" / f"{nth}.parquet"
    pl.read_parquet(path).with_columns(change).write_parquet(path)

    with pytest.raises(DataError, match=re.escape(words)) as refusal:
        read(tmp_path)

    assert str(path) in str(refusal.value)


def test_a_file_that_lacks_a_column_or_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    _, second = put(tmp_path, "attempts/a.parquet", "attempts/b.parquet")
    path = tmp_path / "attempts" / "b.parquet"
    second.drop("risk").write_parquet(path)
    with pytest.raises(DataError, match=r"b\.parquet: missing columns \['risk'\]"):
        read(tmp_path)

    path.write_bytes(b"reference,amount")
    with pytest.raises(DataError, match=r"b\.parquet cannot be read as Parquet"):
        read(tmp_path)


def test_a_nullable_column_of_type_null_is_nulls_and_another_is_refused_by_row(
    tmp_path: Path,
) -> None:
    attempts().with_columns(retry_of=pl.lit(None)).write_parquet(tmp_path / "attempts.parquet")
    assert read(tmp_path)["retry_of"].null_count() == N

    attempts().with_columns(risk=pl.lit(None)).write_parquet(tmp_path / "attempts.parquet")
    with pytest.raises(DataError, match=r"row 0 .*column risk.*wanted a value"):
        read(tmp_path)


def test_a_row_without_a_time_is_named_and_not_passed_over(tmp_path: Path) -> None:
    third = pl.int_range(pl.len()) == 2
    attempts().with_columns(
        pl.when(~third).then("observed_at").alias("observed_at")
    ).write_parquet(tmp_path / "attempts.parquet")

    with pytest.raises(DataError, match=r"row 2 .*column observed_at.*wanted a value"):
        read(tmp_path)


def test_nested_folders_and_capital_letters_are_read(tmp_path: Path) -> None:
    put(
        tmp_path,
        "attempts/day=2026-03-01/part-0.parquet",
        "attempts/day=2026-03-02/part-0.parquet",
        "attempts/more.PARQUET",
    )
    (tmp_path / "attempts" / "_temporary").mkdir()
    (tmp_path / "attempts" / "_temporary" / "half.parquet").write_bytes(b"PAR1")
    (tmp_path / "attempts" / "_SUCCESS").write_bytes(b"")

    assert read(tmp_path).sort("reference").equals(attempts().sort("reference"))


def test_one_file_in_capital_letters_and_a_folder_named_like_a_file_are_read(
    tmp_path: Path,
) -> None:
    put(tmp_path / "one", "ATTEMPTS.PARQUET")
    put(tmp_path / "spark", "attempts.parquet/part-00000.snappy.parquet")

    assert read(tmp_path / "one").height == read(tmp_path / "spark").height == N


def test_no_file_no_folder_or_two_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither attempts\.parquet nor a folder attempts/"):
        read(tmp_path)
    (tmp_path / "attempts").mkdir()
    with pytest.raises(DataError, match="attempts holds no Parquet file"):
        read(tmp_path)
    put(tmp_path, "attempts.parquet")
    with pytest.raises(DataError, match=r"attempts and attempts\.parquet: keep one"):
        read(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        has_table(tmp_path / "nowhere", "attempts")


def test_an_empty_file_of_an_empty_day_is_no_rows(tmp_path: Path) -> None:
    first, _ = put(tmp_path, "attempts/a.parquet", "attempts/b.parquet")
    nothing = (
        attempts()
        .clear()
        .with_columns(
            pl.lit(None).alias(name) for name in ("card", "risk", "observed_at", "recurring")
        )
    )
    nothing.clear().write_parquet(tmp_path / "attempts" / "b.parquet")

    assert read(tmp_path).equals(first)
