-- Turns {"code", "message", "details"} of a failure into OpenAI's {"error": {...}}.

local TYPES = {
  ["400"] = "invalid_request_error", ["401"] = "authentication_error",
  ["403"] = "permission_error", ["404"] = "invalid_request_error",
  ["413"] = "invalid_request_error", ["429"] = "rate_limit_error",
}

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if tonumber(status) < 400 or headers:get("content-type") ~= "application/json" then return end
  local body = handle:body(true)
  local text = body:getBytes(0, body:length())
  local message = string.match(text, '"message":"(.-[^\\])"') or "the request failed"
  local reason = string.match(text, '"reason":"([%w_]+)"') or "INTERNAL"
  local shaped = '{"error":{"message":"' .. message .. '","type":"' .. (TYPES[status] or "server_error")
    .. '","param":null,"code":"' .. string.lower(reason) .. '"}}'
  body:setBytes(shaped)
  -- Waiting for the body ended the life of `headers`.
  handle:headers():replace("content-length", tostring(#shaped))
end
