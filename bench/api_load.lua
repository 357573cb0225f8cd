-- For wrk: requests of a file (path, tab, token), one after the other; figures as one line of JSON.
local prepared, n = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    local path, token = line:match("^(%S+)\t(.*)$")
    local headers = {}
    if token ~= "" then headers["Authorization"] = token end
    prepared[#prepared + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  n = n % #prepared + 1
  return prepared[n]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(99), errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
