-- Health of a Sandbox (sandyard.dev) for Argo CD.
-- A Sandbox that has come to its end is as it should be; one that is paused or suspended waits for its owner.

local resting = { Paused = true, Suspended = true }

local function condition(kind)
  for _, found in ipairs(obj.status.conditions or {}) do
    if found.type == kind then
      return found
    end
  end
  return { status = "Unknown", reason = "", message = "" }
end

local function health(status, found)
  local message = found.message or ""
  if found.reason ~= nil and found.reason ~= "" then
    message = message == "" and found.reason or found.reason .. ": " .. message
  end
  return { status = status, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "is being deleted" }
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "no operator has seen it as it is now" }
end

local ready, reconciling, stalled = condition("Ready"), condition("Reconciling"), condition("Stalled")
if reconciling.status == "True" then
  return health("Progressing", reconciling)
end
if stalled.status == "True" then
  return health("Degraded", stalled)
end
if ready.status == "False" then
  return health("Progressing", ready)
end
if resting[obj.status.phase] then
  return health("Suspended", reconciling)
end
return health("Healthy", reconciling)
