-- wrk: revokes with a key in X-Key, of KEYS keys: "random", or "turn" by turn
-- from the key after FROM on.  Arguments: random|turn KEYS [FROM].  One line of
-- figures at the end; the last is the key that was sent last, by turn.

local thread, keys, turn
local head = "POST /v1/users/face/revoke HTTP/1.1\r\nHost: gateway.bench\r\n"
    .. "Content-Type: application/json\r\nContent-Length: 31\r\n"
    .. "X-Caller: CN=payments,O=Example\r\nX-Key: key-"
local tail = '\r\n\r\n{"user_id":"user-000000000001"}'

function setup(t)
    thread = t
end

function init(args)
    turn = args[1] == "turn"
    keys = tonumber(args[2])
    last = tonumber(args[3] or 0)    -- global, so that done() can ask for it
    math.randomseed(os.time())
end

function request()
    if turn then
        last = last % keys + 1
        return head .. last .. tail
    end
    return head .. math.random(keys) .. tail
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("FIGURES %d %d %d %d %d %d\n", summary.requests,
        summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout,
        thread:get("last")))
end
