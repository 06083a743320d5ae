"""Every benchmark: `python -m tests.benchmarks`. Ratios against peers, measured side by side."""

from tests.benchmarks import (
    bench_captures,
    bench_conference,
    bench_decode,
    bench_http,
    bench_kms,
    bench_srtp,
)

bench_decode.main()
bench_captures.main()
bench_srtp.main()
bench_kms.main()
bench_conference.main()
bench_http.main()
