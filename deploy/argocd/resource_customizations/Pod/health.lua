-- Argo CD's own health of pods, but for pods of EdgeModels: on a node that is away they are as when last heard of.
local spec, status = obj.spec or {}, obj.status or {}

local function found(code, message)
  return { status = code, message = message }
end

local function holds(type)
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == type then
      return condition.status == "True"
    end
  end
  return false
end

local function hampered(reason)
  return reason:sub(1, 3) == "Err" or reason:sub(-5) == "Error" or reason:sub(-7) == "BackOff"
end

local function last_words(container)
  local ended = (container.state or {}).terminated
  if ended == nil then
    return nil
  end
  if (ended.message or "") ~= "" then
    return ended.message
  end
  if ended.reason == "OOMKilled" then
    return ended.reason
  end
  if (ended.exitCode or 0) ~= 0 then
    return "container \"" .. container.name .. "\" failed with exit code " .. ended.exitCode
  end
  return nil
end

local containers = status.containerStatuses or {}
if spec.restartPolicy == "Always" then
  local messages = {}
  for _, container in ipairs(containers) do
    local waiting = (container.state or {}).waiting
    if waiting ~= nil and hampered(waiting.reason or "") then
      table.insert(messages, waiting.message or "")
    end
  end
  if #messages > 0 then
    return found("Degraded", table.concat(messages, ", "))
  end
end

if status.phase == "Pending" then
  return found("Progressing", status.message)
end
if status.phase == "Succeeded" then
  return found("Healthy", status.message)
end
if status.phase == "Failed" then
  if (status.message or "") ~= "" then
    return found("Degraded", status.message)
  end
  for _, list in ipairs({ status.initContainerStatuses or {}, containers }) do
    for _, container in ipairs(list) do
      local words = last_words(container)
      if words ~= nil then
        return found("Degraded", words)
      end
    end
  end
  return found("Degraded", nil)
end
if status.phase == "Running" and spec.restartPolicy == "Always" then
  if holds("Ready") then
    return found("Healthy", status.message)
  end
  -- Of a node that is away, the cluster takes this one condition back. Only its kubelet says how the containers are.
  local ours = (obj.metadata.labels or {})["edgesmith.dev/model"] ~= nil
  if ours and holds("ContainersReady") then
    return found("Healthy", "Ready when its node was last heard of.")
  end
  for _, container in ipairs(containers) do
    if (container.lastState or {}).terminated ~= nil then
      return found("Degraded", status.message)
    end
  end
  return found("Progressing", status.message)
end
if status.phase == "Running" and (spec.restartPolicy == "OnFailure" or spec.restartPolicy == "Never") then
  return found("Progressing", status.message)
end
return found("Unknown", status.message)
