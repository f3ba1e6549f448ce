//! DuckDB index over records: ingest, migrations, queries, Parquet.
