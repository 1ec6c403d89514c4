-- Every revision that is on its way, by its name: later ones wait for their bakes again.
local status = obj.status or {}
-- Of another generation the status says nothing of what the spec asks for now.
if status.observedGeneration ~= obj.metadata.generation then
  return obj
end
obj.spec.rollout = obj.spec.rollout or {}
-- What was said of each entry: one that does nothing any more goes, and the list holds sixteen.
local said = {}
for _, one in ipairs(status.requests or {}) do
  said[one.request] = one.state
end
local promote = {}
local named = {}
for _, entry in ipairs(obj.spec.rollout.promote or {}) do
  if said["promote[" .. entry.revision .. "]"] ~= "Obsolete" then
    named[entry.revision] = true
    table.insert(promote, entry)
  end
end
for _, variant in ipairs(status.variants or {}) do
  local under_way = variant.state == "Canary" or variant.state == "RollingOut"
  if under_way and not named[variant.revision] then
    named[variant.revision] = true
    table.insert(promote, { revision = variant.revision })
  end
end
while #promote > 16 do
  table.remove(promote, 1)
end
obj.spec.rollout.promote = promote
return obj
