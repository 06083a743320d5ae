"""Every benchmark: `python -m tests.benchmarks`. Ratios against peers, measured side by side.

With `--growth`: what work costs as it grows.
"""

import sys

from tests.benchmarks import (
    bench_captures,
    bench_conference,
    bench_decode,
    bench_http,
    bench_kms,
    bench_relay,
    bench_srtp,
    growth_kms,
    growth_media,
)

if sys.argv[1:] == ["--growth"]:
    growth_media.main()
    growth_kms.main()
else:
    bench_decode.main()
    bench_captures.main()
    bench_srtp.main()
    bench_kms.main()
    bench_conference.main()
    bench_relay.main()
    bench_http.main()
