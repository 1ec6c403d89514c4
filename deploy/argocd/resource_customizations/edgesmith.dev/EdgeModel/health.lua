-- Reads the conditions in kstatus' order, so that Argo CD, Flux and `kubectl wait` say the same of an EdgeModel.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not looked at this generation of the spec yet." }
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local function holds(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local ready = conditions.Ready or { reason = "", message = "The condition Ready is missing." }
if holds("Reconciling") then
  return { status = "Progressing", message = conditions.Reconciling.message }
end
if holds("Stalled") then
  return { status = "Degraded", message = conditions.Stalled.message }
end
if holds("Ready") then
  return { status = "Healthy", message = ready.message }
end
if ready.reason == "Paused" or ready.reason == "WaitingForWindow" then
  return { status = "Suspended", message = ready.message }
end
return { status = "Progressing", message = ready.message }
