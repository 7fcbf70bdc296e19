"""Writes the example's weather, partitioned by month: as a Delta table into a folder, or as objects into a bucket.

`folder FOLDER`, or `bucket ENDPOINT BUCKET KEY SECRET`; each argument more leaves a row out.
"""

import pathlib
import sys

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import write_deltalake
from pyarrow import fs

data = pathlib.Path(__file__).parents[2] / "examples" / "data" / "weather.parquet"
weather = pq.read_table(data)
match sys.argv[1:]:
    case ["folder", folder]:
        write_deltalake(folder, weather, partition_by=["month"])
    case ["bucket", endpoint, bucket, key, secret, *less]:
        weather = weather.slice(len(less))
        store = fs.S3FileSystem(access_key=key, secret_key=secret, endpoint_override=endpoint, region="us-east-1")
        by_month = ds.partitioning(pa.schema([weather.schema.field("month")]), flavor="hive")
        ds.write_dataset(
            weather, f"{bucket}/weather", filesystem=store, format="parquet", partitioning=by_month,
            existing_data_behavior="overwrite_or_ignore", create_dir=False,
        )
