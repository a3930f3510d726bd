-- Reads JSON text: where its strings, numbers and words end, and how a refusal names the
-- place. What the values must be is told in the next part.

local byte, find, sub, gsub = string.byte, string.find, string.sub, string.gsub
local floor, tonumber, concat = math.floor, tonumber, table.concat

local MOST_PATH = 200 -- characters of a field path worth telling
local QUOTE, COLON, COMMA = 34, 58, 44
local OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST = 123, 125, 91, 93
local LOWER_F, LOWER_N, LOWER_T, LOWER_U = 102, 110, 116, 117
local ESCAPES = {} -- what may follow a backslash, but for `u` and its four digits
for escape in string.gmatch('"\\/bfnrt', ".") do
  ESCAPES[byte(escape)] = true
end
local PLUS, MINUS, POINT, ZERO, NINE, UPPER_E, LOWER_E = 43, 45, 46, 48, 57, 69, 101

-- A field's name is ASCII, and so is all that an escape can add to it.
local function unescaped(name)
  name = gsub(name, "\\\\", "\0") -- so that what follows is not taken for its escape
  name = gsub(name, "\\u00(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
  name = gsub(name, "\\(.)", "%1")
  return (gsub(name, "%z", "\\"))
end

-- One body is walked at a time and the walk never yields, so the walker's state can
-- live here. The way to the value at hand is kept as positions: of a field's name its
-- first and last character, of an element nothing and its index.
local text
local depth = 0
local name_first, name_last = {}, {}
local next_backslash -- position of the first backslash not yet passed; beyond the text if none

local function field_path()
  local parts = {}
  for level = 1, depth do
    if name_first[level] then
      parts[level] = (level > 1 and "." or "") .. unescaped(sub(text, name_first[level], name_last[level]))
    else
      parts[level] = "[" .. name_last[level] .. "]"
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

local function skip_space(position)
  local code = byte(text, position)
  while code == 32 or code == 10 or code == 13 or code == 9 do
    position = position + 1
    code = byte(text, position)
  end
  return position, code
end

local function check_escape(backslash)
  local code = byte(text, backslash + 1)
  if not ESCAPES[code] and not (code == LOWER_U and find(text, "^%x%x%x%x", backslash + 2)) then
    malformed(backslash, "a valid escape")
  end
end

-- Takes the position of the opening quote; gives that of the closing quote, and whether
-- the string has an escape. Plain searches are many times faster than one for a class.
local function string_end(start)
  local position = start + 1
  local quote, escaped = start, false
  while true do
    if quote < position then
      quote = find(text, '"', position, true)
    end
    if not quote then
      malformed(#text + 1, "the end of a string")
    end
    if next_backslash < position then
      next_backslash = find(text, "\\", position, true) or #text + 1
    end
    if quote < next_backslash then
      return quote, escaped
    end
    check_escape(next_backslash)
    escaped = true
    position = next_backslash + 2
  end
end

local function skip_digits(position)
  local start = position
  local code = byte(text, position)
  while code and code >= ZERO and code <= NINE do
    position = position + 1
    code = byte(text, position)
  end
  if position == start then
    malformed(position, "a digit")
  end
  return position, code
end

-- Takes the position of the first character; gives the position after the last.
local function number_end(start)
  local first = byte(text, start) == MINUS and start + 1 or start
  local position, code = skip_digits(first)
  if byte(text, first) == ZERO and position > first + 1 then
    malformed(first, "a number without leading zeros")
  end
  if code == POINT then
    position, code = skip_digits(position + 1)
  end
  if code == LOWER_E or code == UPPER_E then
    local sign = byte(text, position + 1)
    position = skip_digits((sign == PLUS or sign == MINUS) and position + 2 or position + 1)
  end
  return position
end

local function literal(start, word)
  if sub(text, start, start + #word - 1) ~= word then
    malformed(start, "a value")
  end
  return start + #word
end
