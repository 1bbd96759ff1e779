local SHAPES = {
  ["soma.orchestrator.v1.CreateSessionRequest"] = {["persona"]="s", ["requestId"]="s", ["request_id"]="s"},
  ["soma.orchestrator.v1.StreamTurnRequest"] = {["input"]="soma.orchestrator.v1.TurnInput"},
  ["soma.orchestrator.v1.TurnInput"] = {["text"]="s"},
}
