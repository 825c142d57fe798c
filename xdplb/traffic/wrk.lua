-- SPDX-License-Identifier: MIT
-- Tells wrk's findings as JSON, on stderr: what it prints itself is rounded, for people.
function done(summary, latency, requests)
	local e = summary.errors
	io.stderr:write(string.format(
		'{"requests": %d, "seconds": %.6f, "bytes": %d, ' ..
		'"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}, ' ..
		'"latency_us": {"p50": %d, "p90": %d, "p99": %d, "p99.9": %d, "max": %d}}\n',
		summary.requests, summary.duration / 1e6, summary.bytes,
		e.connect, e.read, e.write, e.status, e.timeout,
		latency:percentile(50), latency:percentile(90), latency:percentile(99),
		latency:percentile(99.9), latency.max))
end
