
function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "200" then headers:replace(":status", "201") end
end
