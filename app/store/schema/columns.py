"""What all tables are made of: the metadata that knows them, and columns that many of them have."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows itself only where the type is spelt INTEGER.
Number = BigInteger().with_variant(Integer(), "sqlite")


def id_column(name: str, *rest: object, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    """Return a column for an id."""
    return Column(name, String(80), *rest, primary_key=primary_key, nullable=nullable)  # type: ignore[arg-type]


def of_run(*, primary_key: bool = False) -> Column[str]:
    """Return a column for the id of the run to which a row belongs, and with which it goes."""
    return id_column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=primary_key)
