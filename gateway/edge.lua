-- What Envoy calls for each request and response of a route that asks for it: checks queries
-- and JSON bodies, refuses requests to routes that exist only to say no, marks streams as
-- what they are.
--
-- The route's filter context tells what to do: the request's `message` to check, and the
-- `field` (a field's name, or `*` for the whole message) that the body is, if there is one; `status` and `allow` to refuse, `stream` to mark.

local function shape_of_body(message, field)
  if field == "*" then
    return { kind = "message", message = message }
  end
  return SCHEMA[message][field]
end

-- Names come from the caller; what JSON must escape, and what may be no UTF-8, is masked.
local function quoted(name)
  return '"' .. string.gsub(string.gsub(name, '[%c\127-\255]', "?"), '["\\]', "\\%0") .. '"'
end

-- Fields are named as in the request message, of which the body is a part; so says gRPC too.
local function path_in_request(field, path)
  if field == "*" then
    return path
  end
  return path == "" and field or field .. "." .. path
end

local function status_json(failure, request_id)
  local details = {
    '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"' .. failure.reason .. '","domain":"agentmesh"}',
  }
  if failure.violation then
    details[#details + 1] = '{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":'
      .. quoted(failure.field) .. ',"description":' .. quoted(failure.violation) .. "}]}"
  end
  details[#details + 1] = '{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":' .. quoted(request_id) .. "}"
  return '{"code":3,"message":' .. quoted(failure.message) .. ',"details":[' .. table.concat(details, ",") .. "]}"
end

local function check_body(handle, message, field)
  local body = handle:body()
  if not body then
    return nil
  end
  local failure = check_json(body:getBytes(0, body:length()), shape_of_body(message, field))
  if failure then
    failure.field = path_in_request(field, failure.field or "")
  end
  return failure
end

local function refuse_request(handle, failure)
  -- Local replies that carry a finished body are marked, so that they are left as they are.
  handle:streamInfo():dynamicMetadata():set("agentmesh", "reply", "finished")
  handle:respond({ [":status"] = "400", ["content-type"] = "application/json" },
    status_json(failure, handle:headers():get("x-request-id") or ""))
end

local function refuse_route(handle, status, allow)
  local headers = { [":status"] = status }
  if allow ~= "" then
    headers["allow"] = allow
  end
  handle:respond(headers, "")
end

function envoy_on_request(handle)
  local context = handle:filterContext()
  local status = context:get("status")
  local message = context:get("message")
  if status then
    refuse_route(handle, status, context:get("allow"))
  elseif message then
    local field = context:get("field")
    local failure = check_query(handle:headers():get(":path"), message)
      or (field and check_body(handle, message, field))
    if failure then
      refuse_request(handle, failure)
    end
  end
end

-- The transcoder calls newline-delimited JSON plain JSON. Errors stay what they are.
function envoy_on_response(handle)
  local stream = handle:filterContext():get("stream")
  local headers = stream and handle:headers()
  if headers and headers:get(":status") == "200" then
    headers:replace("content-type", stream)
    headers:replace("cache-control", "no-store")
  end
end
