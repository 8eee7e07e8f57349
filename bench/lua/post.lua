-- wrk: revokes for a thousand users in turn; one line of figures at the end.

local requests = {}
local n = 0

function init(args)
    for i = 1, 1000 do
        requests[i] = wrk.format("POST", "/v1/users/face/revoke", {
            ["Host"] = "gateway.bench",
            ["Content-Type"] = "application/json",
            ["X-Caller"] = "CN=payments,O=Example",
        }, string.format('{"user_id":"user-%016d"}', i))
    end
end

function request()
    n = n % 1000 + 1
    return requests[n]
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("FIGURES %d %d %d %d %d\n", summary.requests,
        summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
