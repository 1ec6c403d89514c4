-- Every revision that is on its way, by its name: later ones wait for their bakes again.
obj.spec.rollout = obj.spec.rollout or {}
local promote = obj.spec.rollout.promote or {}
local named = {}
for _, entry in ipairs(promote) do
  named[entry.revision] = true
end
for _, variant in ipairs(obj.status.variants) do
  local under_way = variant.state == "Canary" or variant.state == "RollingOut"
  if under_way and not named[variant.revision] then
    named[variant.revision] = true
    table.insert(promote, { revision = variant.revision })
  end
end
obj.spec.rollout.promote = promote
return obj
