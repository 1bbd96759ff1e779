-- Walks a JSON body once, without building it, and compares every key with SHAPES.
--
-- A shape is a message's full name, or: s string, n number (or a number in a string, as proto3
-- JSON has it), b boolean, e enum (name or number), * anything. "[x" is a list of x, "{x" an object
-- whose values are x. null stands for any absent value. What it refuses, it refuses with the path
-- of the field; what it lets pass, the transcoder still has to accept.

-- Every step is linear in the body, whatever the body holds: this runs on the thread that serves
-- everybody else. So no pattern here can be matched in more than one way (`%d+%.?%d*` takes n^2 steps
-- for n digits), characters of a string are looked at one by one, which LuaJIT compiles, and the
-- path of a field is put together only when something is refused.

local byte, find, sub = string.byte, string.find, string.sub
local MAX_DEPTH = 64
local QUOTE, BACKSLASH, OPEN, LIST = byte('"'), byte("\\"), byte("{"), byte("[")

local NAMES = { s = "a string", n = "a number", b = "true or false", e = "an enum value" }

local refused -- what is wrong, set where a walk stops

local function refuse(problem)
  refused = { path = "", problem = problem }
  return nil
end

-- What was refused lies within the field or the element `name`.
local function within(name)
  local inner = refused.path
  local between = (inner == "" or sub(inner, 1, 1) == "[") and "" or "."
  refused.path = name .. between .. inner
  return nil
end

local function unlike(shape, otherwise)
  return refuse("must be " .. (NAMES[shape] or otherwise))
end

local function composite(shape)
  return sub(shape, 1, 1) == "[" and "a list" or "an object"
end

local function blank(text, at)
  local _, last = find(text, "^[ \t\r\n]*", at)
  return last + 1
end

-- Returns the position behind the string that opens at `at`.
local function string_end(text, at)
  local position, length = at + 1, #text
  while position <= length do
    local letter = byte(text, position)
    if letter == QUOTE then return position + 1 end
    if letter < 32 then return refuse("holds a control character in a string") end
    position = position + (letter == BACKSLASH and 2 or 1)
  end
  return refuse("ends within a string")
end

local walk

local function walk_object(text, at, shape, depth)
  local fields, values = SHAPES[shape], nil
  if not fields then
    if shape == "*" then values = "*"
    elseif sub(shape, 1, 1) == "{" then values = sub(shape, 2)
    else return unlike(shape, "a list") end
  end
  at = blank(text, at + 1)
  if sub(text, at, at) == "}" then return at + 1 end
  while true do
    if byte(text, at) ~= QUOTE then return refuse("is not valid JSON: a field name was expected") end
    local behind = string_end(text, at)
    if not behind then return nil end
    local key = sub(text, at + 1, behind - 2)
    local expected = values or fields[key]
    if not expected then refuse("is not a field of " .. shape) return within(key) end
    at = blank(text, behind)
    if sub(text, at, at) ~= ":" then refuse("is not valid JSON: a colon was expected") return within(key) end
    at = walk(text, blank(text, at + 1), expected, depth)
    if not at then return within(key) end
    at = blank(text, at)
    local letter = sub(text, at, at)
    if letter == "}" then return at + 1 end
    if letter ~= "," then return refuse("is not valid JSON: a comma or } was expected") end
    at = blank(text, at + 1)
  end
end

local function walk_list(text, at, shape, depth)
  local item
  if shape == "*" then item = "*"
  elseif sub(shape, 1, 1) == "[" then item = sub(shape, 2)
  else return refuse("must be " .. (NAMES[shape] or "an object") .. ", not a list") end
  at = blank(text, at + 1)
  if sub(text, at, at) == "]" then return at + 1 end
  local index = 0
  while true do
    at = walk(text, at, item, depth)
    if not at then return within("[" .. index .. "]") end
    at = blank(text, at)
    local letter = sub(text, at, at)
    if letter == "]" then return at + 1 end
    if letter ~= "," then return refuse("is not valid JSON: a comma or ] was expected") end
    at, index = blank(text, at + 1), index + 1
  end
end

-- Matches one part after the other, each as far as it goes: nothing is tried twice.
local function is_number(word)
  local _, last = find(word, "^%-?%d+")
  if not last then return false end
  local _, fraction = find(word, "^%.%d*", last + 1)
  last = fraction or last
  local _, exponent = find(word, "^[eE][+-]?%d*", last + 1)
  return (exponent or last) == #word
end

local function walk_literal(text, at, shape)
  local _, last = find(text, "^[%w+%-.]+", at)
  if not last then return refuse("is not valid JSON: a value was expected") end
  local word = sub(text, at, last)
  if word == "null" then return last + 1 end
  local boolean = word == "true" or word == "false"
  if not boolean and not is_number(word) then return refuse("is not valid JSON: " .. sub(word, 1, 20)) end
  if shape ~= "*" and shape ~= (boolean and "b" or "n") and (boolean or shape ~= "e") then
    return unlike(shape, composite(shape))
  end
  return last + 1
end

function walk(text, at, shape, depth)
  if depth > MAX_DEPTH then return refuse("is nested too deeply") end
  local letter = byte(text, at)
  if letter == OPEN then return walk_object(text, at, shape, depth + 1) end
  if letter == LIST then return walk_list(text, at, shape, depth + 1) end
  if letter ~= QUOTE then return walk_literal(text, at, shape) end
  if shape ~= "s" and shape ~= "n" and shape ~= "e" and shape ~= "*" then
    return unlike(shape, composite(shape))
  end
  return string_end(text, at)
end

local function quote(text)
  local cut = sub(text, 1, 200):gsub('[%c"\\\128-\255]', "?")
  return '"' .. cut .. '"'
end

local function answer(handle)
  local path = refused.path == "" and "body" or refused.path
  local message = path .. ": " .. refused.problem
  handle:respond(
    { [":status"] = "400", ["content-type"] = "application/json" },
    '{"code":3,"message":' .. quote(message) .. ',"details":['
      .. '{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
      .. '"reason":"INVALID_ARGUMENT","domain":"soma"},'
      .. '{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":'
      .. quote(path) .. ',"description":' .. quote(refused.problem) .. "}]}]}"
  )
end

function envoy_on_request(handle)
  local body = handle:body(true)
  local length = body:length()
  if length == 0 then return end
  local text = body:getBytes(0, length)
  local message = handle:filterContext():get("message")
  local at = blank(text, 1)
  refused = nil
  if byte(text, at) ~= OPEN then
    refuse("must be a JSON object")
  else
    local behind = walk(text, at, message, 0)
    if behind and blank(text, behind) <= length then refuse("is not valid JSON: text behind the object") end
  end
  if refused then answer(handle) end
end
