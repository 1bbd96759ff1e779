-- Walks a JSON body once, without building it, and compares every key with SHAPES.
--
-- A shape is a message's full name, or: s string, n number (or a number in a string, as proto3
-- JSON has it), b boolean, e enum (name or number), * anything. "[x" is a list of x, "{x" an object
-- whose values are x. null stands for any absent value. What it refuses, it refuses with the path
-- of the field; what it lets pass, the transcoder still has to accept.

local byte, find, sub = string.byte, string.find, string.sub
local MAX_DEPTH = 64
local QUOTE, OPEN, LIST = byte('"'), byte("{"), byte("[")

local NAMES = { s = "a string", n = "a number", b = "true or false", e = "an enum value" }

local refused -- what is wrong, set where a walk stops

local function refuse(path, problem)
  refused = { path = path, problem = problem }
  return nil
end

local function blank(text, at)
  local _, last = find(text, "^[ \t\r\n]*", at)
  return last + 1
end

-- Returns the position behind the string that opens at `at`.
local function string_end(text, at, path)
  local position = at + 1
  while true do
    local found = find(text, '["\\%c]', position)
    if not found then return refuse(path, "ends within a string") end
    local letter = byte(text, found)
    if letter == QUOTE then return found + 1 end
    if letter < 32 then return refuse(path, "holds a control character in a string") end
    position = found + 2
  end
end

local walk

local function walk_object(text, at, shape, path, depth)
  local fields, values = SHAPES[shape], nil
  if not fields then
    if shape == "*" then values = "*"
    elseif sub(shape, 1, 1) == "{" then values = sub(shape, 2)
    else return refuse(path, "must be " .. (NAMES[shape] or "a list")) end
  end
  at = blank(text, at + 1)
  if sub(text, at, at) == "}" then return at + 1 end
  while true do
    if byte(text, at) ~= QUOTE then return refuse(path, "is not valid JSON: a field name was expected") end
    local behind = string_end(text, at, path)
    if not behind then return nil end
    local key = sub(text, at + 1, behind - 2)
    local child = path == "" and key or path .. "." .. key
    local expected = values or fields[key]
    if not expected then return refuse(child, "is not a field of " .. shape) end
    at = blank(text, behind)
    if sub(text, at, at) ~= ":" then return refuse(child, "is not valid JSON: a colon was expected") end
    at = walk(text, blank(text, at + 1), expected, child, depth)
    if not at then return nil end
    at = blank(text, at)
    local letter = sub(text, at, at)
    if letter == "}" then return at + 1 end
    if letter ~= "," then return refuse(path, "is not valid JSON: a comma or } was expected") end
    at = blank(text, at + 1)
  end
end

local function walk_list(text, at, shape, path, depth)
  local item
  if shape == "*" then item = "*"
  elseif sub(shape, 1, 1) == "[" then item = sub(shape, 2)
  else return refuse(path, "must be " .. (NAMES[shape] or "an object") .. ", not a list") end
  at = blank(text, at + 1)
  if sub(text, at, at) == "]" then return at + 1 end
  local index = 0
  while true do
    at = walk(text, at, item, path .. "[" .. index .. "]", depth)
    if not at then return nil end
    at = blank(text, at)
    local letter = sub(text, at, at)
    if letter == "]" then return at + 1 end
    if letter ~= "," then return refuse(path, "is not valid JSON: a comma or ] was expected") end
    at, index = blank(text, at + 1), index + 1
  end
end

local function walk_literal(text, at, shape, path)
  local _, last = find(text, "^[%w+%-.]+", at)
  if not last then return refuse(path, "is not valid JSON: a value was expected") end
  local word = sub(text, at, last)
  if word == "null" then return last + 1 end
  local boolean = word == "true" or word == "false"
  if not boolean and not find(word, "^%-?%d+%.?%d*[eE]?[+-]?%d*$") then
    return refuse(path, "is not valid JSON: " .. sub(word, 1, 20))
  end
  if shape ~= "*" and shape ~= (boolean and "b" or "n") and (boolean or shape ~= "e") then
    return refuse(path, "must be " .. (NAMES[shape] or (sub(shape, 1, 1) == "[" and "a list") or "an object"))
  end
  return last + 1
end

function walk(text, at, shape, path, depth)
  if depth > MAX_DEPTH then return refuse(path, "is nested too deeply") end
  local letter = byte(text, at)
  if letter == OPEN then return walk_object(text, at, shape, path, depth + 1) end
  if letter == LIST then return walk_list(text, at, shape, path, depth + 1) end
  if letter ~= QUOTE then return walk_literal(text, at, shape, path) end
  if shape ~= "s" and shape ~= "n" and shape ~= "e" and shape ~= "*" then
    return refuse(path, "must be " .. (NAMES[shape] or (sub(shape, 1, 1) == "[" and "a list") or "an object"))
  end
  return string_end(text, at, path)
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
    refuse("", "must be a JSON object")
  else
    local behind = walk(text, at, message, "", 0)
    if behind and blank(text, behind) <= length then refuse("", "is not valid JSON: text behind the object") end
  end
  if refused then answer(handle) end
end
