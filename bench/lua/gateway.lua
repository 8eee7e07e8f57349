-- Bench (d): the gateway's job in pure ngx_lua: caller, body, limit, a line
-- before and a line after in an audit log, a token shared by the workers.

local cjson = require "cjson.safe"

local _M = {}

local audit, key, client_id, secret
local tokens = ngx.shared.tokens
local limits = ngx.shared.limits

local function read(path)
    local f = assert(io.open(path, "r"))
    local s = f:read("*l")
    f:close()
    return s
end

function _M.setup(audit_path, key_path, id, secret_path)
    key, client_id, secret = read(key_path), id, read(secret_path)
    audit = assert(io.open(audit_path, "a"))
end

local function record(r)
    r.time = ngx.now()
    r.pid = ngx.worker.pid()
    if not audit:write(cjson.encode(r), "\n") then
        return false
    end
    return audit:flush()
end

local function refuse(status, reason)
    record({ type = "refusal", reason = reason, status = status,
             request_id = ngx.var.request_id, caller = ngx.ctx.caller,
             client_addr = ngx.var.remote_addr })
    ngx.ctx.refused = true
    ngx.status = status
    ngx.header["Content-Type"] = "application/problem+json"
    ngx.print(cjson.encode({ type = "urn:lua:problem:" .. reason,
                             status = status }))
    return ngx.exit(status)
end

-- One exchange at a time; the others wait for it.
local function token()
    local t = tokens:get("token")
    if t then
        return t
    end

    for _ = 1, 60 do
        if tokens:add("lock", true, 6) then
            local res = ngx.location.capture("/_token", {
                method = ngx.HTTP_POST,
                body = ngx.encode_args({ grant_type = "client_credentials",
                    client_id = client_id, client_secret = secret }) })
            local answer = res.status == 200 and cjson.decode(res.body)
            if answer and answer.access_token then
                tokens:set("token", answer.access_token,
                    (tonumber(answer.expires_in) or 300) * 0.8)
            end
            tokens:delete("lock")
            return tokens:get("token")
        end
        ngx.sleep(0.1)
        t = tokens:get("token")
        if t then
            return t
        end
    end
end

function _M.access()
    local ctx = ngx.ctx

    ctx.started = ngx.now()
    ctx.caller = ngx.var.http_x_caller
    if not ctx.caller or ctx.caller == "" then
        return refuse(401, "no_caller")
    end
    if ngx.req.get_method() ~= "POST" then
        return refuse(405, "method")
    end
    if ngx.var.args or ngx.var.request_uri ~= "/v1/users/face/revoke" then
        return refuse(400, "bad_path")
    end
    local kind = ngx.var.content_type
    if not kind or not kind:lower():find("^application/json") then
        return refuse(415, "not_json")
    end

    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    local json = body and cjson.decode(body)
    if type(json) ~= "table" then
        return refuse(400, "body_not_json")
    end
    local user = json.user_id
    if type(user) ~= "string" or user == "" or #user > 512
        or user:find("[%z\1-\31\127]")
    then
        return refuse(400, "user_id_invalid")
    end

    local slot = ctx.caller .. ":" .. math.floor(ngx.now())
    local n = limits:incr(slot, 1, 0, 2)
    if not n or n > 100000 then
        ngx.header["Retry-After"] = 1
        return refuse(429, "limited")
    end

    ctx.user = ngx.encode_base64(ngx.hmac_sha1(key, user))
    if not record({ type = "intent", request_id = ngx.var.request_id,
                    caller = ctx.caller, operation = "face.revoke",
                    user = ctx.user, client_addr = ngx.var.remote_addr,
                    server = ngx.var.server_name, attempt = 1 })
    then
        return refuse(503, "audit_failed")
    end

    local t = token()
    if not t then
        return refuse(503, "no_token")
    end

    ngx.req.set_header("Authorization", "Bearer " .. t)
    ngx.req.set_header("X-Request-ID", ngx.var.request_id)
    ngx.header["X-Request-ID"] = ngx.var.request_id
end

function _M.log()
    local ctx = ngx.ctx
    if ctx.refused or not ctx.user then
        return
    end
    record({ type = "outcome", request_id = ngx.var.request_id,
             caller = ctx.caller, user = ctx.user, status = ngx.status,
             upstream_status = ngx.var.upstream_status,
             upstream_addr = ngx.var.upstream_addr,
             duration = ngx.now() - ctx.started })
end

return _M
