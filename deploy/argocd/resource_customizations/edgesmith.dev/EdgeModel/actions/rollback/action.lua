-- Each profile's nodes go back to the revision that held its steps last before the one they are to run.
local status = obj.status or {}
-- Of another generation the status says nothing of what the spec asks for now.
if status.observedGeneration ~= obj.metadata.generation then
  return obj
end
obj.spec.rollout = obj.spec.rollout or {}
local there = { Canary = true, RollingOut = true, Complete = true, Degraded = true, Paused = true, WaitingForWindow = true }
local back = {}
local left = {}
for _, variant in ipairs(status.variants or {}) do
  local previous = nil
  for _, revision in ipairs(status.revisions or {}) do
    local other = revision.profile == variant.profile and revision.name ~= variant.revision
    if other and revision.provenTime ~= nil and not revision.rolledBack then
      if previous == nil or revision.provenTime > previous.provenTime then
        previous = revision
      end
    end
  end
  if there[variant.state] and previous ~= nil then
    left[variant.revision] = true
    table.insert(back, { from = variant.revision, revision = previous.name })
  end
end
-- What was said of each entry: one that does nothing any more goes, and the list holds sixteen.
local said = {}
for _, one in ipairs(status.requests or {}) do
  said[one.request] = one.state
end
local entries = {}
for _, entry in ipairs(obj.spec.rollout.rollbackTo or {}) do
  if not left[entry.from] and said["rollbackTo[" .. entry.from .. "]"] ~= "Obsolete" then
    table.insert(entries, entry)
  end
end
for _, entry in ipairs(back) do
  table.insert(entries, entry)
end
while #entries > 16 do
  table.remove(entries, 1)
end
obj.spec.rollout.rollbackTo = entries
return obj
