-- Checks that a JSON text is what a message may be, in one pass: `check_json` gives what is
-- wrong with it, or nothing. SCHEMA, put before this text, has for each message the shape
-- of each field: its kind, and what the kind needs.

-- Each level of a free-form object is three messages deep on the wire, and services decode
-- at most 100; 32 levels leave room for the messages around a request.
local MOST_DEPTH = 32
local MOST_SCALAR = 64 -- characters of a number, time or name; the patterns below suit no long text

local INTEGERS = {
  int32 = { -2 ^ 31, 2 ^ 31 - 1 },
  uint32 = { 0, 2 ^ 32 - 1 },
  int64 = { -2 ^ 63, 2 ^ 63 },
  uint64 = { 0, 2 ^ 64 },
}
local ANY_TEXT = { string = true, bytes = true, value = true }
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

local function wrong_type(expected)
  refuse("INVALID_ARGUMENT", "The request body has a value of the wrong type.", "must be " .. expected)
end

local function unknown_field()
  refuse("UNKNOWN_FIELD", "The request body has a field that does not exist.", "no such field")
end

local value -- value(position, shape): checks the value there, gives the position after it

local function enter(first, last)
  depth = depth + 1
  name_first[depth], name_last[depth] = first, last
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
    enter(position + 1, last - 1)
    local shape = every
    if fields then
      local name = sub(text, position + 1, last - 1)
      shape = fields[escaped and unescaped(name) or name]
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
  enter(false, 0)
  while true do
    position, code = skip_space(value(position, every))
    if code == CLOSE_LIST then
      depth = depth - 1
      return position + 1
    elseif code ~= COMMA then
      malformed(position, "a comma or the end of the array")
    end
    name_last[depth] = name_last[depth] + 1
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
  if #content > MOST_SCALAR then
    wrong_type(EXPECTED[kind])
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
    if kind and not ANY_TEXT[kind] then
      local content = sub(text, position + 1, last - 1)
      check_string(shape, escaped and unescaped(content) or content)
    end
    return last + 1
  elseif code == LOWER_T or code == LOWER_F then
    local after = literal(position, code == LOWER_T and "true" or "false")
    expect(not kind or kind == "bool" or kind == "value", kind)
    return after
  elseif code == MINUS or (code and code >= ZERO and code <= NINE) then
    local after = number_end(position)
    expect(not kind or accepts_number(kind), kind)
    if INTEGERS[kind] then
      check_number(kind, sub(text, position, after - 1))
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
  local position, code = skip_space(1)
  expect(code ~= LOWER_N or shape.kind ~= "message", "message")
  position = skip_space(value(position, shape))
  if position <= #text then
    malformed(position, "the end of the body")
  end
end

-- Gives nil, or a table of `reason`, `message`, and for faults of a field `field` and
-- `violation`. Fails only by an error of its own.
local function check_json(body, shape)
  text = body
  depth = 0
  next_backslash = 0
  local passed, failure = pcall(check, shape)
  text = nil
  if not passed and type(failure) ~= "table" then
    error(failure, 0)
  end
  return failure
end
