"""Every benchmark: `python -m tests.benchmarks`. Ratios against peers, measured side by side."""

from tests.benchmarks import bench_decode, bench_srtp

bench_decode.main()
bench_srtp.main()
