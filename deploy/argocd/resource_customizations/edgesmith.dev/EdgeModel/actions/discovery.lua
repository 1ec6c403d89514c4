local rollout = obj.spec.rollout or {}
local status = obj.status or {}

local stalled = false
for _, condition in ipairs(status.conditions or {}) do
  stalled = stalled or (condition.type == "Stalled" and condition.status == "True")
end

local function names(entries, revision)
  for _, entry in ipairs(entries or {}) do
    if entry.revision == revision then
      return true
    end
  end
  return false
end

-- What actions/rollback goes back to: it must have held its steps.
local function has_previous(variant)
  for _, revision in ipairs(status.revisions or {}) do
    local other = revision.profile == variant.profile and revision.name ~= variant.revision
    if other and revision.provenTime ~= nil and not revision.rolledBack then
      return true
    end
  end
  return false
end

local under_way = { Canary = true, RollingOut = true }
local there = { Canary = true, RollingOut = true, Complete = true, Degraded = true, Paused = true, WaitingForWindow = true }
local promotes, goes_back = false, false
-- Of another generation the status says nothing of what the spec asks for now.
local looked = status.observedGeneration == obj.metadata.generation
for _, variant in ipairs(status.variants or {}) do
  promotes = promotes or (under_way[variant.state] and not names(rollout.promote, variant.revision))
  local went_back = names(rollout.rollbackTo, variant.revision)
  goes_back = goes_back or (there[variant.state] and not went_back and has_previous(variant))
end

return {
  pause = { disabled = rollout.paused == true, iconClass = "fa fa-fw fa-pause-circle" },
  promote = { disabled = not (looked and promotes), iconClass = "fa fa-fw fa-fast-forward" },
  resume = { disabled = rollout.paused ~= true, iconClass = "fa fa-fw fa-play-circle" },
  retry = { disabled = not stalled, iconClass = "fa fa-fw fa-redo" },
  rollback = { disabled = not (looked and goes_back), iconClass = "fa fa-fw fa-undo" },
}
