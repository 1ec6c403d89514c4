-- Each profile's nodes go back to the revision that held its steps last before the one they are to run.
obj.spec.rollout = obj.spec.rollout or {}
local there = { Canary = true, RollingOut = true, Complete = true, Degraded = true, Paused = true, WaitingForWindow = true }
local back = {}
local left = {}
for _, variant in ipairs(obj.status.variants) do
  local previous = nil
  for _, revision in ipairs(obj.status.revisions) do
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
for _, entry in ipairs(obj.spec.rollout.rollbackTo or {}) do
  if not left[entry.from] then
    table.insert(back, entry)
  end
end
obj.spec.rollout.rollbackTo = back
return obj
