local paused = obj.spec.paused == true
local stalled = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    stalled = stalled or (condition.type == "Stalled" and condition.status == "True")
  end
end

return {
  pause = { disabled = paused, iconClass = "fa fa-fw fa-pause-circle" },
  resume = { disabled = not paused, iconClass = "fa fa-fw fa-play-circle" },
  retry = { disabled = not stalled, iconClass = "fa fa-fw fa-redo" },
}
