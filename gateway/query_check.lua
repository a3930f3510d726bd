-- Checks that the query of a request names fields of its message, with values that fit, by
-- the shapes that bodies are checked by.

local UNKNOWN = "The query has a parameter that does not exist."
local WRONG = "The query has a parameter of the wrong type."
local MOST_NAME = 200 -- characters of a parameter's name worth telling

local function decoded(part)
  part = gsub(part, "%+", " ")
  return (gsub(part, "%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

local function refuse_parameter(name, reason, message, violation)
  error({ reason = reason, message = message, field = sub(name, 1, MOST_NAME), violation = violation }, 0)
end

-- The shape of the field that a dotted name leads to, through messages only.
local function shape_of_parameter(message, name)
  local shape = { kind = "message", message = message }
  for part in string.gmatch(name, "[^.]+") do
    shape = shape and shape.kind == "message" and SCHEMA[shape.message][part] or nil
  end
  if not shape or shape.kind == "message" then
    refuse_parameter(name, "UNKNOWN_FIELD", UNKNOWN, "no such parameter")
  end
  return shape.kind == "repeated" and shape.of or shape
end

local function check_value(shape, content)
  if shape.kind == "bool" then
    expect(content == "true" or content == "false", "bool")
  elseif not ANY_TEXT[shape.kind] then
    check_string(shape, content)
  end
end

local function check_parameter(message, pair)
  local name, content = string.match(pair, "^([^=]*)=?(.*)$")
  name, content = decoded(name), decoded(content)
  local shape = shape_of_parameter(message, name)
  depth = 0
  local passed, failure = pcall(check_value, shape, content)
  if not passed then
    if type(failure) ~= "table" then
      error(failure, 0)
    end
    refuse_parameter(name, failure.reason, WRONG, failure.violation)
  end
end

local function check_parameters(message, query)
  for pair in string.gmatch(query, "[^&]+") do
    check_parameter(message, pair)
  end
end

-- Gives nil, or what is wrong, as `check_json` does.
local function check_query(path, message)
  local query = string.match(path, "%?(.*)$")
  if not query then
    return nil
  end
  local passed, failure = pcall(check_parameters, message, query)
  if not passed and type(failure) ~= "table" then
    error(failure, 0)
  end
  return failure
end
