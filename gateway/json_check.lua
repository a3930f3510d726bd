-- Checks the JSON body of a request against the message it stands for, in one pass, and
-- refuses requests to routes that exist only to say no.
--
-- The route's filter context tells which of the two: `message` and `field` (a field's
-- name, or `*` for the whole message), or `status` and `allow`. SCHEMA, put before this
-- text, has for each message the shape of each field: its kind, and what the kind needs.

local byte, find, sub, gsub, match = string.byte, string.find, string.sub, string.gsub, string.match
local floor, tonumber, concat = math.floor, tonumber, table.concat

local MOST_DEPTH = 64
local MOST_PATH = 200 -- characters of a field path worth telling
local QUOTE, BACKSLASH, COLON, COMMA = 34, 92, 58, 44
local OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST = 123, 125, 91, 93
local LOWER_F, LOWER_N, LOWER_T, MINUS, ZERO, NINE = 102, 110, 116, 45, 48, 57

local INTEGERS = {
  int32 = { -2 ^ 31, 2 ^ 31 - 1 },
  uint32 = { 0, 2 ^ 32 - 1 },
  int64 = { -2 ^ 63, 2 ^ 63 },
  uint64 = { 0, 2 ^ 64 },
}
local NOT_FINITE = { NaN = true, Infinity = true, ["-Infinity"] = true }
local EXPECTED = {
  string = "a string",
  bytes = "a base64 string",
  bool = "true or false",
  double = "a number",
  int32 = "a 32-bit integer",
  uint32 = "a 32-bit integer, 0 or more",
  int64 = "a 64-bit integer, as a number or a string",
  uint64 = "a 64-bit integer, 0 or more, as a number or a string",
  enum = "the name or number of an enum value",
  message = "an object",
  object = "an object",
  list = "an array",
  repeated = "an array",
  map = "an object",
  timestamp = 'a time such as "2030-01-31T12:00:00Z"',
  duration = 'a duration in seconds such as "1.5s"',
}

-- One body is walked at a time and the walk never yields, so the walker's state can
-- live here: the body, the names and indexes on the way to the value, and their number.
local text
local path = {}
local depth = 0

local function field_path()
  local parts = {}
  for level = 1, depth do
    local step = path[level]
    if type(step) == "number" then
      parts[level] = "[" .. step .. "]"
    else
      parts[level] = (level > 1 and "." or "") .. step
    end
  end
  return sub(concat(parts), 1, MOST_PATH)
end

local function refuse(reason, message, violation)
  error({ reason = reason, message = message, field = field_path(), violation = violation }, 0)
end

local function malformed(position, expected)
  local message = "The request body is not valid JSON: expected " .. expected
  if position > #text then
    refuse("MALFORMED_JSON", message .. " but the body ends.")
  end
  refuse("MALFORMED_JSON", message .. " at byte " .. position .. ".")
end

local function wrong_type(expected)
  refuse("INVALID_ARGUMENT", "The request body has a value of the wrong type.", "must be " .. expected)
end

local function unknown_field()
  refuse("UNKNOWN_FIELD", "The request body has a field that does not exist.", "no such field")
end

local function skip_space(position)
  local code = byte(text, position)
  while code == 32 or code == 10 or code == 13 or code == 9 do
    position = position + 1
    code = byte(text, position)
  end
  return position, code
end

-- Takes the position of the opening quote; gives that of the closing quote, and whether
-- the string has an escape.
local function string_end(start)
  local position = start + 1
  local escaped = false
  while true do
    position = find(text, '["\\]', position)
    if not position then
      malformed(#text + 1, "the end of a string")
    elseif byte(text, position) == QUOTE then
      return position, escaped
    end
    escaped = true
    if not find(text, '^["\\/bfnrt]', position + 1) and not find(text, "^u%x%x%x%x", position + 1) then
      malformed(position, "a valid escape")
    end
    position = position + 2
  end
end

-- A field's name is ASCII, and so is all that an escape can add to it.
local function unescaped(name)
  name = gsub(name, "\\u00(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
  return (gsub(name, "\\(.)", "%1"))
end

-- Takes the position of the first character; gives the position after the last, and its text.
local function number_token(start)
  local _, last = find(text, "^%-?%d+%.?%d*[eE]?[+-]?%d*", start)
  local token = last and sub(text, start, last)
  local whole = token
    and (match(token, "^%-?%d+$") or match(token, "^%-?%d+%.%d+$") or match(token, "^%-?%d+%.?%d*[eE][+-]?%d+$"))
  if not whole or find(token, "^%-?0%d") or find(token, "%.[eE]") then
    malformed(start, "a number")
  end
  return last + 1, token
end

local function literal(start, word)
  if sub(text, start, start + #word - 1) ~= word then
    malformed(start, "a value")
  end
  return start + #word
end

local value -- value(position, shape): checks the value there, gives the position after it

local function enter(step)
  depth = depth + 1
  path[depth] = step
  if depth > MOST_DEPTH then
    refuse("INVALID_ARGUMENT", "The request body is nested too deeply.", "nested deeper than " .. MOST_DEPTH .. " levels")
  end
end

-- `fields` gives the shape by name, `every` the shape of all; without either, anything goes.
local function object(position, fields, every)
  local code
  position, code = skip_space(position + 1)
  if code == CLOSE_OBJECT then
    return position + 1
  end
  while true do
    if code ~= QUOTE then
      malformed(position, "a field name in quotes")
    end
    local last, escaped = string_end(position)
    local name = sub(text, position + 1, last - 1)
    if escaped then
      name = unescaped(name)
    end
    enter(name)
    local shape = every
    if fields then
      shape = fields[name]
      if not shape then
        unknown_field()
      end
    end
    position, code = skip_space(last + 1)
    if code ~= COLON then
      malformed(position, "a colon")
    end
    position, code = skip_space(value(skip_space(position + 1), shape))
    depth = depth - 1
    if code == CLOSE_OBJECT then
      return position + 1
    elseif code ~= COMMA then
      malformed(position, "a comma or the end of the object")
    end
    position, code = skip_space(position + 1)
  end
end

local function list(position, every)
  local code
  position, code = skip_space(position + 1)
  if code == CLOSE_LIST then
    return position + 1
  end
  enter(0)
  while true do
    position, code = skip_space(value(position, every))
    if code == CLOSE_LIST then
      depth = depth - 1
      return position + 1
    elseif code ~= COMMA then
      malformed(position, "a comma or the end of the array")
    end
    path[depth] = path[depth] + 1
    position = skip_space(position + 1)
  end
end

local function check_number(kind, token)
  local number = tonumber(token)
  local bounds = INTEGERS[kind]
  if not number or (bounds and (number ~= floor(number) or number < bounds[1] or number > bounds[2])) then
    wrong_type(EXPECTED[kind])
  end
end

local function check_string(shape, content)
  local kind = shape.kind
  if kind == "string" or kind == "bytes" or kind == "value" then
    return
  elseif kind == "enum" then
    if not shape.names[content] then
      wrong_type(EXPECTED.enum)
    end
  elseif kind == "timestamp" then
    if not find(content, "^%d%d%d%d%-%d%d%-%d%d[Tt]%d%d:%d%d:%d%d%.?%d*[Zz%d:+-]+$") then
      wrong_type(EXPECTED.timestamp)
    end
  elseif kind == "duration" then
    if not find(content, "^%-?%d+%.?%d*s$") then
      wrong_type(EXPECTED.duration)
    end
  elseif kind == "double" and NOT_FINITE[content] then
    return
  elseif (kind == "double" or INTEGERS[kind]) and find(content, "^%-?%d[%d.eE+-]*$") then
    check_number(kind, content)
  else
    wrong_type(EXPECTED[kind])
  end
end

local function accepts_number(kind)
  return kind == "value" or kind == "double" or kind == "enum" or INTEGERS[kind]
end

local function expect(is_right, kind)
  if not is_right then
    wrong_type(EXPECTED[kind])
  end
end

local function checked_object(position, shape)
  local kind = shape and shape.kind
  if kind == "message" then
    return object(position, SCHEMA[shape.message])
  elseif kind == "map" then
    return object(position, nil, shape.of)
  end
  expect(not kind or kind == "object" or kind == "value", kind)
  return object(position)
end

local function checked_list(position, shape)
  local kind = shape and shape.kind
  if kind == "repeated" then
    return list(position, shape.of)
  end
  expect(not kind or kind == "list" or kind == "value", kind)
  return list(position)
end

-- Strings, numbers and words. Without a shape, anything goes.
local function checked_scalar(position, code, shape)
  local kind = shape and shape.kind
  if code == QUOTE then
    local last, escaped = string_end(position)
    if kind and kind ~= "string" then
      local content = sub(text, position + 1, last - 1)
      check_string(shape, escaped and unescaped(content) or content)
    end
    return last + 1
  elseif code == LOWER_T or code == LOWER_F then
    local after = literal(position, code == LOWER_T and "true" or "false")
    expect(not kind or kind == "bool" or kind == "value", kind)
    return after
  elseif code == MINUS or (code and code >= ZERO and code <= NINE) then
    local after, token = number_token(position)
    expect(not kind or accepts_number(kind), kind)
    if INTEGERS[kind] then
      check_number(kind, token)
    end
    return after
  end
  return malformed(position, "a value")
end

function value(position, shape)
  local code = byte(text, position)
  if code == OPEN_OBJECT then
    return checked_object(position, shape)
  elseif code == OPEN_LIST then
    return checked_list(position, shape)
  elseif code == LOWER_N then
    return literal(position, "null")
  end
  return checked_scalar(position, code, shape)
end

local function check(shape)
  local position = skip_space(1)
  if position > #text then
    return
  end
  position = skip_space(value(position, shape))
  if position <= #text then
    malformed(position, "the end of the body")
  end
end

local function shape_of_body(message, field)
  if field == "*" then
    return { kind = "message", message = message }
  end
  return SCHEMA[message][field]
end

-- Names come from the caller; what JSON must escape, and what may be no UTF-8, is masked.
local function quoted(name)
  return '"' .. gsub(gsub(name, '[%c\127-\255]', "?"), '["\\]', "\\%0") .. '"'
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
  return '{"code":3,"message":' .. quoted(failure.message) .. ',"details":[' .. concat(details, ",") .. "]}"
end

local function check_body(handle, message, field)
  local body = handle:body()
  if not body then
    return
  end
  text = body:getBytes(0, body:length())
  depth = 0
  local passed, failure = pcall(check, shape_of_body(message, field))
  text = nil
  if passed then
    return
  end
  if type(failure) ~= "table" then
    error(failure, 0)
  end
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
  if status then
    refuse_route(handle, status, context:get("allow"))
  else
    check_body(handle, context:get("message"), context:get("field"))
  end
end
